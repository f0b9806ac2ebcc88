"""Print a summary of a folder of shards, and draw it where that is asked for; imports nothing heavy."""

from functools import partial
from pathlib import Path

from cosmogan.shards.show import show


def summarise(folder: Path, figure: Path | None = None) -> None:
    """Print what a folder of shards holds, and draw slabs and the voxel PDF.

    Parameters
    ----------
    folder : of shards
    figure : the file that is drawn, .png or .pdf; None: no figure
    """
    if figure is None:
        return show(folder)
    from cosmogan.reporting import figures_shards  # imports matplotlib

    return show(folder, partial(figures_shards.write, figure))
