"""The report's figures in the paper's order. A new one is a function, runs in, `Drawn` out, and a line here."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cosmogan.reporting import (
    figures_bispectra,
    figures_conditions,
    figures_covariance,
    figures_density,
    figures_minkowski,
    figures_samples,
    figures_selection,
    figures_sequence,
    figures_spectra,
    figures_training,
    figures_volumes,
    style,
)
from cosmogan.reporting.exhibit import Drawn, Table
from cosmogan.reporting.runs import Missing, Run


@dataclass(frozen=True)
class Entry:
    """One figure of the report."""

    name: str  # of its files
    paper: str  # which figure of the paper it is; empty: the paper has none
    title: str
    draw: Callable[[Sequence[Run]], Drawn]  # raises Missing when a run lacks what it shows
    several: bool = True  # whether it draws several runs together
    beside: bool = False  # whether it draws a single run's other sets too: mocks, samples as trained
    compared: str = ""  # which figures of the paper it is besides where it does


CATALOGUE = (
    Entry("scaling", "2", "Scaling of the density", figures_density.scaling),
    Entry("losses", "3", "Losses", figures_training.losses, several=False),
    Entry("selection", "", "Which generator was released", figures_selection.released, several=False),
    Entry("volumes", "4", "Volumes", figures_volumes.volumes),
    Entry("slices", "4", "Slabs", figures_volumes.slices, several=False),
    Entry("voxel-pdf", "5", "Voxel PDF", figures_density.voxel_pdf, beside=True),
    Entry("mean-density", "6", "Mean density of a subvolume", figures_density.mean_density),
    Entry("peaks", "", "Peaks", figures_density.peaks, beside=True),
    Entry("minkowski", "", "Minkowski functionals", figures_minkowski.functionals, beside=True),
    Entry("power", "7", "Power spectrum", figures_spectra.power, beside=True, compared="16, 17"),
    Entry("cross-power", "8", "Cross power of random pairs", figures_spectra.cross_power, compared="17"),
    Entry("covariance", "9, 10", "Covariance and correlation of the power spectrum", figures_covariance.covariance),
    Entry("variance", "9, 10", "Variance of the power spectrum", figures_covariance.variance, beside=True),
    Entry("bispectrum", "11", "Bispectrum", figures_bispectra.bispectrum, beside=True),
    Entry("reduced-bispectrum", "11", "Reduced bispectrum", figures_bispectra.reduced),
    Entry("growth", "12", "Power along the redshift", figures_conditions.growth_of_power, several=False),
    Entry("conditions", "12", "Power at every condition", figures_conditions.ratios, several=False),
    Entry("sequence", "13", "A volume that forms", figures_sequence.sequence, several=False),
    Entry("steps", "13", "Steps along the redshift", figures_sequence.steps, several=False),
    Entry("rejection", "14", "Power of the accepted samples", figures_spectra.rejection, several=False),
    Entry("latent-norm", "15", "Norms of the latent vectors", figures_samples.latent_norm),
    Entry("neighbours", "", "Nearest neighbours: is a sample a copy?", figures_samples.neighbours),
    Entry("diversity", "", "Diversity", figures_samples.diversity),
)


@style.styled
def drawn(entry: Entry, runs: Sequence[Run]) -> Drawn | str:
    """Draw an entry, or return why it is left out."""
    try:
        return entry.draw([*runs, *runs[0].beside()] if entry.beside and len(runs) == 1 else runs)
    except Missing as missing:
        return str(missing)


def heading(entry: Entry, several: bool = False) -> str:
    """Return an entry's title with the numbers that it has in the paper, of one run or of several."""
    numbers = ", ".join(filter(None, (entry.paper, entry.compared if several else "")))
    if not numbers:
        return entry.title
    return f"{entry.title} (the paper's figure{'s' if ',' in numbers else ''} {numbers})"


def files(drawn: Drawn) -> dict[str, bytes]:
    """Return a figure's files: the image, the vector graphic and, where it has numbers, the table."""
    numbers = {".csv": csv_text(drawn.table).encode()} if drawn.table else {}
    moving = {".gif": drawn.moving} if drawn.moving else {}
    image = style.png(drawn.figure)
    return {".pdf": style.pdf(drawn.figure), ".png": image, **numbers, **moving}


def csv_text(table: Table) -> str:
    """Return a table as comma-separated values below a line of the columns' names."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table)
    for row in zip(*table.values(), strict=True):
        writer.writerow(f"{cell:.8g}" if isinstance(cell, float | np.floating) else cell for cell in row)
    return buffer.getvalue()
