"""The criteria of a conditional generator."""

import math
from collections.abc import Iterator

import numpy as np

from cosmogan.reporting.criteria import BELOW_NYQUIST, BEYOND, Row
from cosmogan.shards.statistics_file import Tree
from cosmogan.statistics.criteria import Distance

KINDS = {"trained": (1, "trained on"), "interpolated": (0, "not trained on")}
FACTOR = 1.25  # by which mean P(k) may be off at any condition
STEP = 3.0  # the largest step along the redshift over the mean one


def rows(tree: Tree) -> list[Row]:
    """Evaluate the criteria of a conditional run; none for another."""
    table = []
    if "conditions" in tree:
        table += [row for name in KINDS for row in _power(tree["conditions"], name)]
    if "sequence" in tree:
        table += [_smooth(tree["sequence"], *about) for about in (("field", "the field"), ("power", "P(k)"))]
    return table


def _power(group: Tree, name: str) -> Iterator[Row]:
    kind, words = KINDS[name]
    low = group["k"] <= BELOW_NYQUIST * group["k_nyquist"]
    at = (group["trained"] == kind) & np.isfinite(group["nbody_mean"]).all(axis=1)
    if at.any():
        ratio = (group["generated_mean"][at] / group["nbody_mean"][at])[:, low]
        halves = [_furthest(1 + half) for half in np.moveaxis(group["noise_floor"][at][:, :, low], 1, 0)]
        goal = f"mean P(k) within × {FACTOR:g} up to {BELOW_NYQUIST:g} Nyquist at all {at.sum()} conditions {words}"
        paper = "no obvious difference between trained and interpolated redshifts"
        distance = Distance(_furthest(ratio), math.nan, float(np.nanmedian(halves)), float(np.nanstd(halves)))
        yield Row(f"power_{name}", BEYOND, goal, paper, distance, FACTOR, "×")


def _furthest(ratio: np.ndarray) -> float:
    """Return the largest factor by which a ratio is off 1, either way; nan where it is nowhere finite."""
    finite = ratio[np.isfinite(ratio)]
    return float(np.exp(abs(np.log(finite)).max())) if finite.size else math.nan


def _smooth(tree: Tree, name: str, words: str) -> Row:
    steps = tree[f"{name}_step"]
    goal = f"{words} moves smoothly with the redshift: the largest of {len(steps)} steps at most {STEP:g} × the mean"
    paper = "no obvious intermediate discontinuities (by eye)"
    distance = Distance(float(steps.max() / steps.mean()), math.nan, 1.0)
    return Row(f"smooth_{name}", BEYOND, goal, paper, distance, STEP, "×")
