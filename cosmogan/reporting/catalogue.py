"""The report's figures in the paper's order. A new one is a function, runs in, `Drawn` out, and a line here."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cosmogan.reporting import (
    figures_bispectra,
    figures_boxes,
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
    reading: str  # how to read it, and what good looks like
    draw: Callable[[Sequence[Run]], Drawn]  # raises Missing when a run lacks what it shows
    several: bool = True  # whether it draws several runs together
    beside: bool = False  # whether it draws a single run's other sets too: mocks, samples as trained
    compared: str = ""  # which figures of the paper it is besides where it does


CATALOGUE = (
    Entry(
        "scaling",
        "2",
        "Scaling of the density",
        "A choice, not a result: the curve in colour is steepest at the densities that the networks resolve best.",
        figures_density.scaling,
    ),
    Entry(
        "losses",
        "3",
        "Losses",
        "Good: both losses level off, and neither score stays at 0 or 1.",
        figures_training.losses,
        several=False,
    ),
    Entry(
        "selection",
        "",
        "Which generator was released",
        "Good: the star is among the lowest points, and later epochs are no better.",
        figures_selection.released,
        several=False,
    ),
    Entry(
        "volumes",
        "4",
        "Volumes",
        "Good: filaments, knots and voids are alike, and you cannot tell which volumes are generated.",
        figures_volumes.volumes,
    ),
    Entry(
        "slices",
        "4",
        "Slabs",
        "Good: you cannot tell the rows apart, and no slab is like another.",
        figures_volumes.slices,
        several=False,
    ),
    Entry(
        "voxel-pdf",
        "5",
        "Voxel PDF",
        "Good: points lie on the black line, and ratios below lie within the grey band.",
        figures_density.voxel_pdf,
        beside=True,
    ),
    Entry(
        "mean-density",
        "6",
        "Mean density of a subvolume",
        "Good: the medians agree to within the grey band, and the widths are alike.",
        figures_density.mean_density,
    ),
    Entry(
        "peaks",
        "",
        "Peaks",
        "Good: points lie on the black line, and ratios below lie within the grey band.",
        figures_density.peaks,
        beside=True,
    ),
    Entry(
        "minkowski",
        "",
        "Minkowski functionals",
        "Good: lines lie on the black one, and differences below lie within the grey band or ±10 %.",
        figures_minkowski.functionals,
        beside=True,
    ),
    Entry(
        "power",
        "7",
        "Power spectrum",
        "Good: lines lie on the black one, and ratios below lie within the grey band or ±5 % up to Nyquist.",
        figures_spectra.power,
        beside=True,
        compared="16, 17",
    ),
    Entry(
        "cross-power",
        "8",
        "Cross power of random pairs",
        "Good: all points scatter around zero, as N-body's do: samples share nothing.",
        figures_spectra.cross_power,
        compared="17",
    ),
    Entry(
        "covariance",
        "9, 10",
        "Covariance and correlation of the power spectrum",
        "Good: the panels of differences look like the noise floor's, with no large patch of one colour.",
        figures_covariance.covariance,
    ),
    Entry(
        "variance",
        "9, 10",
        "Variance of the power spectrum",
        "Good: points lie within the grey band or ±25 % up to Nyquist.",
        figures_covariance.variance,
        beside=True,
    ),
    Entry(
        "bispectrum",
        "11",
        "Bispectrum",
        "Good: lines lie on the black one, and ratios in the small panels lie within the grey band or ±10 %.",
        figures_bispectra.bispectrum,
        beside=True,
    ),
    Entry(
        "reduced-bispectrum",
        "11",
        "Reduced bispectrum",
        "Good: lines lie on the black one, and ratios in the small panels lie within the grey band or ±10 %.",
        figures_bispectra.reduced,
    ),
    Entry(
        "growth",
        "12",
        "Power along the redshift",
        "Good: each curve lies on its grey one. At small k both panels agree, as growth is linear there.",
        figures_conditions.growth_of_power,
        several=False,
    ),
    Entry(
        "conditions",
        "12",
        "Power at every condition",
        "Good: all lines lie within the grey band, those not trained on as much as the others.",
        figures_conditions.ratios,
        several=False,
    ),
    Entry(
        "sequence",
        "13",
        "A volume that forms",
        "Good: knots and filaments stay where they are and become denser as the redshift falls.",
        figures_sequence.sequence,
        several=False,
    ),
    Entry(
        "steps",
        "13",
        "Steps along the redshift",
        "Good: both curves are smooth, and no point stands out.",
        figures_sequence.steps,
        several=False,
    ),
    Entry(
        "boxes",
        "",
        "Whole boxes beside their simulations",
        "Good: ratios of P(k) and of the scatter are near 1; the mean of draws correlates better than the quick run.",
        figures_boxes.refinement,
        several=False,
    ),
    Entry(
        "box-slabs",
        "",
        "A slab of a box",
        "Good: filaments and clumps are as sharp as the simulation's, and no seam or pattern of tiles is to be seen.",
        figures_boxes.slabs,
        several=False,
    ),
    Entry(
        "rejection",
        "14",
        "Power of the accepted samples",
        "Good: ratios of the accepted samples lie nearer to zero than those of all samples.",
        figures_spectra.rejection,
        several=False,
    ),
    Entry(
        "latent-norm",
        "15",
        "Norms of the latent vectors",
        "Good: the histogram of what was drawn follows the latent prior; a shift shows what was accepted.",
        figures_samples.latent_norm,
    ),
    Entry(
        "neighbours",
        "",
        "Nearest neighbours: is a sample a copy?",
        "Good: the histograms lie on the black ones, and nothing lies beyond the dashed line.",
        figures_samples.neighbours,
    ),
    Entry(
        "diversity",
        "",
        "Diversity",
        "Good: the point lies within the grey band; far to its left, samples repeat themselves.",
        figures_samples.diversity,
    ),
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
