"""A generative emulator of the cosmic web: from GADGET-2 snapshots to a validated 3D generator."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cosmogan.boxes.generator import BoxGenerator
    from cosmogan.gan.released import Released

__version__ = "0.1.0"
__all__ = ["load_generator", "shards", "statistics"]


def load_generator(
    name: Path | str = "web-32", device: str = "cpu", sha256: str | None = None
) -> "Released | BoxGenerator":
    """Read a released generator: ``load_generator(name).sample(n, seed=…)`` is (n, m, m, m) densities.

    One that draws boxes has ``box(box_size, n_mesh, seed)`` instead, (n_mesh, n_mesh, n_mesh).

    Parameters
    ----------
    name : of a generator in the package, ``web-32`` or ``web-64``; or the path of a ``.safetensors`` file with its
        ``.json`` beside it; or the address of both, ``https://….safetensors``, which are downloaded once into the
        cache, ``~/.cache/cosmogan`` or that of ``XDG_CACHE_HOME``; weights of more than 2 GB are refused; or
        ``hf:organisation/name@revision`` on the Hugging Face Hub, with huggingface_hub and its cache
    device : ``cpu``, ``cuda`` or ``cuda:1``
    sha256 : the checksum that the weights must have; None: that which the ``.json`` states. The ``.json`` itself, the
        generator's settings, is not checked

    Returns
    -------
    cosmogan.gan.released.Released, or cosmogan.boxes.generator.BoxGenerator

    Raises
    ------
    ValueError
        when there is none of that name, or a file is missing, damaged, or not a generator's, or cannot be downloaded,
        or is not the one meant; the message names it.
    """
    from cosmogan.boxes import loading  # loads torch, which preprocessing does without

    return loading.load(name, device, sha256)
