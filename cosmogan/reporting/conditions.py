"""A conditional generator in the report: criteria, and a section with its figures and a volume that forms."""

import base64
import math
from collections.abc import Iterator
from html import escape
from pathlib import Path

import numpy as np

from cosmogan.reporting import page
from cosmogan.reporting.verdict import BELOW_NYQUIST, BEYOND, Row
from cosmogan.results import Tree
from cosmogan.statistics.criteria import Finding
from hpc.rundir import whole_file

KINDS = {"trained": (1, "trained on"), "interpolated": (0, "not trained on")}
FACTOR = 1.25  # by which mean P(k) may be off at any condition
STEP = 3.0  # the largest step along the redshift over the mean one


def rows(tree: Tree) -> list[Row]:
    """Judge a conditional run; nothing for another."""
    found = []
    if "conditions" in tree:
        found += [row for name in KINDS for row in _power(tree["conditions"], name)]
    if "sequence" in tree:
        found += [_smooth(tree["sequence"], *about) for about in (("field", "the field"), ("power", "P(k)"))]
    return found


def _power(group: Tree, name: str) -> Iterator[Row]:
    kind, words = KINDS[name]
    low = group["k"] <= BELOW_NYQUIST * group["k_nyquist"]
    at = (group["trained"] == kind) & np.isfinite(group["nbody_mean"]).all(axis=1)
    if at.any():
        ratio = (group["generated_mean"][at] / group["nbody_mean"][at])[:, low]
        value = float(np.exp(np.nanmax(abs(np.log(ratio)))))
        floor = 1 + float(np.nanmax(group["floor"][at][:, low]))
        goal = f"mean P(k) within × {FACTOR:g} up to {BELOW_NYQUIST:g} Nyquist at all {at.sum()} conditions {words}"
        paper = "no obvious difference between trained and interpolated redshifts"
        yield Row(f"power_{name}", BEYOND, goal, paper, Finding(value, math.nan, floor), FACTOR, "×")


def _smooth(tree: Tree, name: str, words: str) -> Row:
    steps = tree[f"{name}_step"]
    goal = f"{words} moves smoothly with the redshift: the largest of {len(steps)} steps at most {STEP:g} × the mean"
    paper = "no obvious intermediate discontinuities (by eye)"
    found = Finding(float(steps.max() / steps.mean()), math.nan, 1.0)
    return Row(f"smooth_{name}", BEYOND, goal, paper, found, STEP, "×")


def section(tree: Tree, folder: Path) -> Iterator[str]:
    """Yield the section of a conditional run, whose images also go to a folder; nothing for another.

    Parameters
    ----------
    tree : the file of statistics
    folder : gets ``*.png`` and ``forming.gif``
    """
    if "conditions" not in tree:
        return
    from cosmogan.reporting import figures_conditions as figures  # draw with matplotlib
    from cosmogan.reporting.style import png

    group = tree["conditions"]
    told = figures.named(group)
    yield page.heading("Along the condition")
    drawn = {"conditions": (_ratio_words(group), png(figures.ratios(group)))}
    if "redshift" in told[0]:
        drawn["growth"] = (GROWTH, png(figures.growth_of_power(group)))
    if "sequence" in tree:
        drawn["sequence"] = (_sequence_words(tree["sequence"]), png(figures.sequence(tree["sequence"])))
        drawn["steps"] = (STEPS, png(figures.steps(tree["sequence"])))
    for name, (caption, image) in drawn.items():
        _write(folder / f"{name}.png", image)
        yield _image(caption, image, "png")
    if "sequence" in tree:
        moving = figures.animation(tree["sequence"])
        _write(folder / "forming.gif", moving)
        yield _image("The same volume, moving (report/forming.gif).", moving, "gif")


GROWTH = (
    "Median P(k) of N-body (grey), of linear theory from the generator's earliest redshift on, eq. (11) (left), and of "
    "the generator itself (right). Dashed: redshifts that it was not trained on. As the paper's figure 12."
)
STEPS = "How far one redshift of that sequence is from the next, over the mean step: a jump would stand out."


def _ratio_words(group: Tree) -> str:
    from cosmogan.reporting.figures_conditions import named, worst

    low = group["k"] <= BELOW_NYQUIST * group["k_nyquist"]
    lines = []
    for kind, words in KINDS.values():
        at = np.flatnonzero((group["trained"] == kind) & np.isfinite(group["nbody_mean"]).all(axis=1))
        if len(at):
            ratio = (group["generated_mean"] / group["nbody_mean"])[at][:, low]
            rms = 100 * np.sqrt(np.nanmean(np.log(ratio) ** 2))
            furthest = worst(ratio, group["k"][low], [named(group)[i] for i in at])
            lines.append(f"At conditions {words} it is off by {rms:.0f} % (rms), by {furthest} at most")
    return f"Mean P(k) over N-body's at every condition of the held-out boxes. {'; '.join(lines)}, up to 0.95 Nyquist."


def _sequence_words(tree: Tree) -> str:
    return (
        f"A slab of one volume whose latent is kept while the redshift falls, {tree['size']:.3g} Mpc/h a side, as the "
        "paper's figure 13. Nothing forces mass to be kept or to move as gravity has it."
    )


def _write(path: Path, content: bytes) -> None:
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def _image(caption: str, content: bytes, kind: str) -> str:
    data = base64.b64encode(content).decode()
    text = escape(caption)
    width = ' style="width: auto"' if kind == "gif" else ""
    image = f'<img{width} alt="{text}" src="data:image/{kind};base64,{data}">'
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>"
