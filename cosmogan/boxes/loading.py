"""Read a released generator of any kind."""

from pathlib import Path

from cosmogan.boxes import generator as boxes
from cosmogan.boxes.generator import BoxGenerator
from cosmogan.gan import fetched, local_generator, released
from cosmogan.gan.released import Released


def load(name: Path | str, device: str, sha256: str | None) -> Released | BoxGenerator:
    """Read a generator of subvolumes or of boxes; arguments as `cosmogan.load_generator`."""
    path = fetched.find(str(name), sha256)
    kind = boxes if local_generator.is_local(path) else released
    return kind.load(path, device, sha256)
