"""A generative emulator of the cosmic web: from GADGET-2 snapshots to a validated 3D generator."""

from typing import Any

__version__ = "0.1.0"
__all__ = ["load_generator", "shards", "statistics"]


def load_generator(path: Any = "pretrained", device: str = "cpu") -> Any:
    """Read a released generator: ``load_generator(path).sample(n, seed=…)`` is (n, m, m, m) densities.

    Parameters
    ----------
    path : of the ``.safetensors`` file, its ``.json`` beside it; or ``pretrained``: the one in the package
    device : ``cpu``, ``cuda`` or ``cuda:1``

    Returns
    -------
    cosmogan.gan.released.Released

    Raises
    ------
    ValueError
        when a file is missing, damaged, or not a generator's; the message names it.
    """
    from cosmogan.config import PRETRAINED
    from cosmogan.gan import released  # loads torch, which preprocessing does without

    return released.load(PRETRAINED if path == "pretrained" else path, device)
