"""The report's figures with their titles and captions: what is drawn, and what is seen in this run."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cosmogan.reporting import figures_density, figures_selection, figures_statistics, figures_training
from cosmogan.reporting.verdict import Row, words
from cosmogan.results import Tree

BANDS = "Lines are medians, bands hold 16 to 84 % of the samples."
NOISE = (
    "The grey band is the noise floor: one half of the N-body boxes against the other, "
    "16 to 84 % of the ways to halve them."
)


@dataclass(frozen=True)
class Shown:
    """A figure of the report."""

    name: str  # of the image file
    title: str
    caption: str
    figure: Figure


def everything(
    tree: Tree,
    judged: list[Row],
    records: list[dict[str, Any]],
    scores: dict[str, Any],
    judged_samples: dict[str, np.ndarray],
) -> Iterator[Shown]:
    """Yield all figures in the paper's order; those of training and sampling only when there is a record of it.

    Parameters
    ----------
    tree : the file of statistics
    judged : the verdict
    records : of ``metrics.jsonl``; may be empty
    scores : of ``scores.json``; may be empty
    judged_samples : of ``rejection.npz``; empty when nothing was rejected
    """
    if records:
        yield _training(records)
    yield from _densities(tree)
    yield from _spectra(tree, {row.name: words(row.found.value, row.unit) for row in judged})
    yield _bispectra(tree)
    if scores.get("candidates"):
        yield _selection(scores)
    if judged_samples:
        yield _rejection(judged_samples)


def _training(records: list[dict[str, Any]]) -> Shown:
    rate = np.mean([record.get("gate_rate", np.nan) for record in records])
    caption = (
        "As the paper's figure 3. Losses say that training is in balance, not that it has converged. "
        f"The discriminator took {100 * rate:.0f} % of its steps; the others were skipped because it knew fakes too "
        "well. Faint: means over some steps; clear: a running mean of those."
    )
    return Shown("training", "Training", caption, figures_training.training(records))


def _densities(tree: Tree) -> Iterator[Shown]:
    slabs = tree["examples"]
    yield Shown(
        "slices",
        "Slabs of N-body (above) and generated subvolumes (below)",
        f"In place of the paper's figure 4: slabs {tree['subvolume_size'] / 8:.3g} Mpc/h thick, an eighth of the depth"
        ", of random subvolumes, on one logarithmic scale. The N-body ones are held out.",
        figures_density.slices(slabs["nbody"], slabs["generated"], tree["subvolume_size"]),
    )
    yield Shown(
        "voxel-pdf",
        "Voxel PDF",
        f"As the paper's figure 5, scaled by eq. (5) with κ = {tree['kappa']:g} and unscaled. Lines and points are "
        "means over subvolumes; band and bars are the standard deviation of single subvolumes. Below: the ratio of "
        f"the means. Voxels below 10⁻⁴: {_empty(tree, 'nbody')} of N-body, {_empty(tree, 'generated')} of generated.",
        figures_density.voxel_pdf(tree["pdf_scaled"], tree["pdf_unscaled"]),
    )
    real, fake = (tree["mean_density"][name]["samples"][:, 0] for name in ("nbody", "generated"))
    yield Shown(
        "mean-density",
        "Mean density of a subvolume",
        f"As the paper's figure 6. Medians {np.median(real):.3f} (N-body) and {np.median(fake):.3f} (generated), "
        f"{100 * (np.median(fake) / np.median(real) - 1):+.1f} %; standard deviations {real.std(ddof=1):.3f} and "
        f"{fake.std(ddof=1):.3f}. The paper found +5 %.",
        figures_density.mean_density(real, fake),
    )


def _empty(tree: Tree, name: str) -> str:
    return f"{100 * max(1 - tree['pdf_unscaled'][name]['mean'].sum(), 0):.2g} %"


def _spectra(tree: Tree, found: dict[str, str]) -> Iterator[Shown]:
    power, floor = tree["power"], tree["noise_floor"]
    yield Shown(
        "power",
        "Power spectrum",
        f"As the paper's figure 7. {BANDS} Below: the ratio of the means, with its standard error, and the training "
        f"boxes' ratio, which the generator could at best learn. {NOISE} The ratio is off by at most "
        f"{found['power']} up to 0.95 Nyquist. Beyond Nyquist only corners of Fourier space are left.",
        figures_statistics.power(power, floor["power"]),
    )
    yield Shown(
        "cross-power",
        "Cross power of random pairs",
        "As the paper's figure 8, there times k³, here over the power itself: what fraction of the power two samples "
        "share. Points are means with two standard errors, bands hold 16 to 84 % of the pairs. Independent samples "
        f"give zero; up to Nyquist the generated ones lie {found['cross_power']} from it, rms over k.",
        figures_statistics.cross_power(tree["cross_power"], power),
    )
    yield Shown(
        "variance",
        "Variance of the power spectrum",
        f"The diagonal of the covariance, generated over N-body. {NOISE} Off by at most {found['variance']} up to "
        "0.95 Nyquist; the paper reached 5 to 25 %.",
        figures_statistics.variance(power, floor["power_variance"]),
    )
    yield Shown(
        "covariance",
        "Covariance and correlation of the power spectrum",
        "As the paper's figures 9 and 10: covariance, eq. (8), above; correlation, eq. (9), below; generated against "
        f"N-body at the right. From {tree['n_held_out']} N-body and {tree['n_generated']} generated subvolumes.",
        figures_statistics.covariance(power),
    )


def _bispectra(tree: Tree) -> Shown:
    groups = [tree[name] for name in sorted(tree) if name.startswith("bispectrum_")]
    return Shown(
        "bispectrum",
        "Bispectrum",
        f"As the paper's figure 11. {BANDS} Small panels: the ratio of the means with its standard error. k₁ and k₂ "
        "are the paper's in units of the subvolume's fundamental wavenumber, or the same fraction of Nyquist where "
        "that passes it; angles whose third side passes Nyquist are left out.",
        figures_statistics.bispectrum(groups),
    )


def _selection(scores: dict[str, Any]) -> Shown:
    chosen, parts = scores["chosen"], "mean, median and scatter of P(k), voxel PDF, mean density"
    kind = "averaged weights" if chosen["ema"] else "the generator itself"
    error = chosen["latent_scale_error"]
    tuned = "" if error is None else f" ± {error:.4f}, so that the mean power has the training boxes' amplitude"
    caption = (
        f"Every epoch's generator, scored on {parts}{', bispectrum' if 'bispectrum' in chosen else ''} against the "
        "training boxes; bars are standard deviations when the samples are drawn again with replacement. "
        f"Released: {kind} of epoch {chosen['epoch']}, its latents scaled by {chosen['latent_scale']:.4f}{tuned}."
    )
    figure = figures_selection.selection(scores["candidates"], chosen)
    return Shown("selection", "Which generator was released", caption, figure)


def _rejection(judged_samples: dict[str, np.ndarray]) -> Shown:
    norm, accepted = judged_samples["norm"], judged_samples["accepted"]
    rate, n = accepted.mean(), len(accepted)
    all_, kept = np.median(norm), np.median(norm[accepted])
    caption = (
        f"As the paper's figure 15. The discriminator accepted {accepted.sum()} of {n} samples, {100 * rate:.2f} ± "
        f"{100 * np.sqrt(rate * (1 - rate) / n):.2f} % (the paper: about 3 %). The median norm of their latent vectors "
        f"is {kept:.2f}, of all {all_:.2f} ({100 * (kept / all_ - 1):+.1f} %)."
    )
    return Shown("rejection", "Discriminator rejection sampling", caption, figures_selection.rejection(norm, accepted))
