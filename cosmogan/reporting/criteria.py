"""List the criteria of a run: what the paper reached, what this run reached, what N-body reaches against itself.

A new criterion is a function that returns its `Row`, its tolerance above it, and a line in `rows`. How far two sets are
from each other is measured by `cosmogan.statistics.criteria`.
"""

import math
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from cosmogan.shards.statistics_file import Tree
from cosmogan.statistics import criteria as distances
from cosmogan.statistics.criteria import Distance, Resamples

PAPER, BEYOND, DEMO = "the paper's claims", "beyond the paper", "goals for a run of the demo's size"
GROUPS = (PAPER, BEYOND, DEMO)
DEMO_CELLS = 16  # per side of a subvolume of the demos
# k ≤ 3 of the paper is this fraction of its Nyquist wavenumber, π per Mpc; its k ≤ 5 reaches into the corners.
BELOW_NYQUIST = 0.95
FIXED = ("power", "power_all", "voxel_pdf")  # what a calibration on training boxes makes right by construction


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    group: str
    goal: str
    paper: str  # what the paper reached
    distance: Distance
    limit: float
    unit: str  # "%", "×", "σ" or "ρ/ρ̄"
    fixed: bool = False  # whether the generator's calibration makes it right by construction

    @property
    def passed(self) -> bool:
        """Whether the value is within the limit."""
        return self.distance.value <= self.limit

    @property
    def within_noise(self) -> bool:
        """Whether generated samples are no further from N-body than one half of N-body is from the other."""
        return self.distance.value <= self.distance.floor


def words(value: float, unit: str) -> str:
    """Return a value with its unit; a dash when there is none."""
    if not math.isfinite(value):
        return "—" if math.isnan(value) else "nowhere"
    percent = f"{100 * value:.1f} %" if value < 1 else f"{100 * value:.0f} %"
    return {"%": percent, "×": f"× {value:.2f}", "σ": f"{value:.2f} σ"}.get(unit, f"{value:.3g}")


def rows(tree: Tree, calibrated: bool = False) -> list[Row]:
    """Evaluate the criteria of a run on its statistics.

    Parameters
    ----------
    tree : the file of statistics
    calibrated : whether the samples are of a calibrated generator
    """
    resamples = _resamples(tree)
    spectra = _spectra(tree, resamples)
    table = [
        *spectra,
        *_cross_power(tree),
        *_densities(tree, resamples),
        *_beyond(tree, resamples),
        *_copies(tree),
        *(_demo(tree, resamples) if tree["subvolume"] == DEMO_CELLS else []),
    ]
    return [replace(row, fixed=calibrated and row.name in FIXED) for row in table]


def rows_beside(tree: Tree) -> list[Row]:
    """Evaluate another set than the generated one, which has no pairs and was not searched for copies."""
    resamples = _resamples(tree)
    return [*_spectra(tree, resamples), *_densities(tree, resamples), *_beyond(tree, resamples)]


def _resamples(tree: Tree) -> Resamples:
    density = tree["mean_density"]["nbody"]["samples"][:, 0]
    return Resamples.of(tree["boxes"], tree.get("along"), density, tree["n_generated"], tree["seed"])


def count(table: list[Row], group: str) -> str:
    """Return how many of a group's goals are met, in words: of all, and of those that no calibration fixes."""
    of_group = [row for row in table if row.group == group]
    met = f"{group}: {sum(row.passed for row in of_group)} of {len(of_group)} met"
    free = [row for row in of_group if not row.fixed]
    return met if len(free) == len(of_group) else f"{met} ({sum(row.passed for row in free)} of {len(free)} without †)"


def groups(table: list[Row]) -> list[str]:
    """Return the groups that have distances."""
    return [group for group in GROUPS if any(row.group == group for row in table)]


def better(table: list[Row], others: list[Row]) -> tuple[list[str], list[str]]:
    """Return the names of the criteria in which a set is nearer to N-body than another, and of all that both have."""
    theirs = {row.name: row.distance.value for row in others}
    shared = [row for row in table if row.name in theirs]
    return [row.name for row in shared if row.distance.value < theirs[row.name]], [row.name for row in shared]


MEAN_POWER, MEAN_POWER_EVERYWHERE, VARIANCE_OF_POWER = 0.05, 0.10, 0.25


def _spectra(tree: Tree, resamples: Resamples) -> list[Row]:
    """Evaluate the power; criteria without a bin, as in volumes of few cells, are left out."""
    power = tree["power"]
    k = power["k"]
    real, fake = _samples(power)
    everywhere = Row(
        "power_all",
        PAPER,
        f"mean P(k) within {100 * MEAN_POWER_EVERYWHERE:.0f} % at all k, corners of Fourier space included "
        f"(k ≤ {k[-1]:.2f} h/Mpc)",
        "within 10 % for k ≤ 5 Mpc⁻¹ = 1.6 Nyquist",
        distances.evaluate(distances.worst_mean, real, fake, resamples),
        MEAN_POWER_EVERYWHERE,
        "%",
    )
    low = k <= BELOW_NYQUIST * power["k_nyquist"]
    if not low.any():
        return [everywhere]
    upto = f"up to {BELOW_NYQUIST:g} Nyquist (k ≤ {k[low][-1]:.2f} h/Mpc)"
    mean = Row(
        "power",
        PAPER,
        f"mean P(k) within {100 * MEAN_POWER:.0f} % {upto}",
        "within 5 % for k ≤ 3 Mpc⁻¹ = 0.95 Nyquist",
        distances.evaluate(distances.worst_mean, real[:, low], fake[:, low], resamples),
        MEAN_POWER,
        "%",
    )
    variance = Row(
        "variance",
        PAPER,
        f"variance of P(k) within {100 * VARIANCE_OF_POWER:.0f} % {upto}",
        "5 to 25 % for k ≤ 3 Mpc⁻¹",
        distances.evaluate(distances.worst_variance, real[:, low], fake[:, low], resamples),
        VARIANCE_OF_POWER,
        "%",
    )
    return [mean, everywhere, variance]


CROSS_POWER = 2.0  # standard errors


def _cross_power(tree: Tree) -> list[Row]:
    """Evaluate the cross power, where there are bins below Nyquist."""
    cross = tree["cross_power"]
    inside = cross["k"] <= cross["k_nyquist"]
    if not inside.any():
        return []
    generated, nbody = (cross[name]["samples"][:, inside] for name in ("generated_generated", "nbody_nbody"))
    return [
        Row(
            "cross_power",
            PAPER,
            f"cross power of generated pairs like zero up to Nyquist: within {CROSS_POWER:g} σ, rms over k",
            "not zero for k ≥ 0.5 Mpc⁻¹",
            Distance(distances.significance(generated), math.nan, distances.significance(nbody)),
            CROSS_POWER,
            "σ",
        )
    ]


MEDIAN_DENSITY = 0.05
LOWEST_DENSITY = 0.1  # ρ/ρ̄ down to which the voxel PDFs agree


def _densities(tree: Tree, resamples: Resamples) -> list[Row]:
    pdf, density = tree["pdf_unscaled"], tree["mean_density"]
    agreement = partial(distances.lowest_agreement, lower_edges=pdf["edges"][:-1])
    return [
        Row(
            "mean_density",
            PAPER,
            f"median of a subvolume's mean density within {100 * MEDIAN_DENSITY:.0f} %",
            "+5 % (Student-t prior), +12 % (Gaussian)",
            distances.evaluate(distances.median_shift, *_samples(density), resamples),
            MEDIAN_DENSITY,
            "%",
        ),
        Row(
            "voxel_pdf",
            PAPER,
            f"mean voxel PDF within {100 * distances.PDF_AGREES:.0f} % from the densest voxels down to "
            f"ρ/ρ̄ = {LOWEST_DENSITY:g}",
            "agrees in the upper four decades, fails below ρ/ρ̄ ≈ 0.1",
            distances.evaluate(agreement, *_samples(pdf), resamples),
            LOWEST_DENSITY,
            "ρ/ρ̄",
        ),
    ]


PEAK_COUNTS = 0.20


def _beyond(tree: Tree, resamples: Resamples) -> list[Row]:
    where = f"where N-body's mean is known to {100 * distances.KNOWN:.0f} %"
    return [
        *_bispectra(tree, resamples),
        _beyond_paper(
            "peaks",
            f"mean number of density peaks within {100 * PEAK_COUNTS:.0f} % at every height {where}",
            distances.evaluate(distances.worst_known, *_samples(tree["peaks"]), resamples),
            PEAK_COUNTS,
        ),
        *_minkowski(tree, resamples),
    ]


def _beyond_paper(name: str, goal: str, distance: Distance, limit: float) -> Row:
    """Return the row of a criterion that the paper does not have, a fraction."""
    return Row(name, BEYOND, goal, "—", distance, limit, "%")


MINKOWSKI = 0.10  # of each functional's largest value


def _minkowski(tree: Tree, resamples: Resamples) -> list[Row]:
    if "minkowski" not in tree:  # in files of earlier versions
        return []
    group = tree["minkowski"]
    measure = partial(distances.worst_scaled, parts=group["order"])
    return [
        _beyond_paper(
            "minkowski",
            f"Minkowski functionals of the densest cells within {100 * MINKOWSKI:.0f} % of their largest value at "
            "every threshold",
            distances.evaluate(measure, *_samples(group), resamples),
            MINKOWSKI,
        )
    ]


MEAN_BISPECTRUM = 0.20


def _bispectra(tree: Tree, resamples: Resamples) -> list[Row]:
    """Evaluate the bispectra, where the volumes can show a triangle."""
    pairs = sorted(name for name in tree if name.startswith("bispectrum_"))
    if not pairs:
        return []
    real, fake = (
        np.stack([tree[name][label]["samples"].sum(axis=1) for name in pairs], axis=1)
        for label in ("nbody", "generated")
    )
    return [
        Row(
            "bispectrum",
            BEYOND,
            f"mean B, summed over angles, within {100 * MEAN_BISPECTRUM:.0f} % for every pair (k1, k2)",
            "medians and bands alike by eye",
            distances.evaluate(distances.worst_mean, real, fake, resamples),
            MEAN_BISPECTRUM,
            "%",
        )
    ]


COPIES = 0.0  # of the generated volumes
LOST_DIVERSITY = 0.20


def _copies(tree: Tree) -> list[Row]:
    nearest, diversity = tree["neighbours"], tree["diversity"]
    ratio = diversity["generated"] / diversity["nbody"]
    error = ratio * math.hypot(*(diversity[f"{name}_error"] / diversity[name] for name in ("generated", "nbody")))
    whose = {"training": "training", "nbody": "reference"}[nearest["compared_with"]]
    return [
        _beyond_paper(
            "copies",
            f"no generated volume is a copy of a {whose} volume, in any of the 48 orientations",
            _share(tree, "training"),
            COPIES,
        ),
        _beyond_paper(
            "repeats", "no generated volume is a copy of another generated one", _share(tree, "peers"), COPIES
        ),
        _beyond_paper(
            "diversity",
            f"effective number of different volumes (of {diversity['n']}) at most {100 * LOST_DIVERSITY:.0f} % "
            "below N-body's",
            Distance(max(1 - ratio, 0.0), error, diversity["floor"]),
            LOST_DIVERSITY,
        ),
    ]


def _share(tree: Tree, kind: str) -> Distance:
    """Return the fraction of generated and of real volumes that are copies of others."""
    nearest = tree["neighbours"]
    shares = [
        float((nearest[name].get(kind, np.zeros(1)) > nearest["threshold"]).mean()) for name in ("generated", "nbody")
    ]
    return Distance(shares[0], math.nan, shares[1])


DEMO_DENSITY, DEMO_POWER = 0.05, 1.3  # a fraction; a factor


def _demo(tree: Tree, resamples: Resamples) -> list[Row]:
    density = Row(
        "demo_density",
        DEMO,
        f"mean density within {100 * DEMO_DENSITY:.0f} %",
        "—",
        distances.evaluate(distances.worst_mean, *_samples(tree["mean_density"]), resamples),
        DEMO_DENSITY,
        "%",
    )
    power = tree["power"]
    inside = power["k"] <= power["k_nyquist"]
    if not inside.any():
        return [density]
    real, fake = (samples[:, inside] for samples in _samples(power))
    distance = distances.evaluate(distances.worst_factor, real, fake, resamples)
    goal = f"mean P(k) within a factor {DEMO_POWER:g} up to Nyquist"
    return [Row("demo_power", DEMO, goal, "—", distance, DEMO_POWER, "×"), density]


def _samples(group: Tree) -> tuple[np.ndarray, np.ndarray]:
    return group["nbody"]["samples"], group["generated"]["samples"]
