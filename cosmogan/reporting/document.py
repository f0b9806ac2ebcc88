"""The parts of the page: the verdict, the figures with their files, the facts."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from cosmogan.reporting import criteria, facts, page
from cosmogan.reporting.criteria import PAPER, Row
from cosmogan.reporting.palette import BESIDE
from cosmogan.reporting.runs import Run
from cosmogan.shards.statistics_file import Tree

KINDS = {"✓": "pass", "✗": "fail"}
ROUNDING = 1e-9  # of a value: a smaller standard deviation is that of equal numbers
MEANING = (
    "The noise floor is what N-body reaches against itself: one half of the held-out boxes (of fewer than 6: of parts "
    "of theirs) against the other, median ± standard deviation over halvings. Halves are smaller than sets, so it lies "
    "a little high; a value at or below it cannot be distinguished from noise. ± of this run is the standard deviation "
    "when boxes and samples are drawn again."
)
FIXED = (
    "†: a calibrated generator meets it by construction, as mean P(k) and voxel PDF are fitted to the training boxes."
)


def single(run: Run, table: list[Row], folder: Path) -> Iterator[str]:
    """Yield verdict and figures of one run, whose figures' files go to a folder."""
    tree = run.tree
    yield page.heading(f"{tree['name']}: generated against N-body", 1)
    for text in _warnings(run):
        yield page.paragraph(text, "warning")
    groups = criteria.groups(table)
    met = "; ".join(criteria.count(table, group) for group in groups)
    yield page.paragraph(f"{met[0].upper()}{met[1:]}.", "lead")
    yield page.CONTENTS
    yield page.heading("Criteria")
    sets = f"{tree['n_generated']} generated subvolumes of {_size(run)} against {tree['n_held_out']} of N-body."
    yield page.paragraph(f"{sets} {_meaning(table)}", "faint")
    others = {other.name: criteria.rows_beside(other.tree) for other in run.beside()}
    if "mocks_off" in tree:
        yield page.paragraph(_against_mocks(tree, table, others[BESIDE["mocks"][0]]))
    elif tree["n_training"]:
        yield page.paragraph("No mapped Gaussian mocks were drawn to compare with.", "faint")
    names = ("criterion", "the paper", "this run", *others, "noise floor", "verdict")
    for group in groups:
        lines = [_beside(row, list(others.values())) for row in table if row.group == group]
        kept = [i for i in range(len(names)) if any(cells[i] != "—" for cells in lines)]
        rows = [tuple(cells[i] for i in kept) for cells in lines]
        yield page.table(f"{group[0].upper()}{group[1:]}", [names[i] for i in kept], rows, KINDS)
    yield _below_floor(table)
    yield from _figures([run], folder)


def several(runs: Sequence[Run], tables: Sequence[list[Row]], folder: Path) -> Iterator[str]:
    """Yield verdicts and figures of several runs together."""
    first = runs[0]
    yield page.heading(f"{', '.join(run.name for run in runs)}: generated against N-body", 1)
    for run in runs:
        for text in _warnings(run):
            yield page.paragraph(f"{run.name}: {text}", "warning")
    claims = [[row.passed for row in rows if row.group == PAPER] for rows in tables]
    met = [f"{run.name} meets {sum(passed)} of {len(passed)}" for run, passed in zip(runs, claims, strict=True)]
    yield page.paragraph(f"Of the paper's claims {', '.join(met)}.", "lead")
    yield page.CONTENTS
    yield page.heading("Criteria")
    yield page.paragraph(f"Subvolumes of {_size(first)}. {_meaning([row for rows in tables for row in rows])}", "faint")
    references = {(run.tree["shards_sha256"], run.tree.get("held_out")) for run in runs}
    if len(references) > 1:
        yield page.paragraph(
            "The runs were not measured against the same N-body subvolumes: every ratio is to the run's own, while "
            f"N-body and the noise floor are drawn as {first.name} has them.",
            "warning",
        )
    yield facts.differences(runs)
    named = [{row.name: row for row in table} for table in tables]
    rows = [_together(row, [by_name.get(row.name) for by_name in named]) for row in tables[0]]
    yield page.table("Verdicts", ("criterion", "the paper", *(run.name for run in runs), "noise floor"), rows, KINDS)
    yield from _figures(runs, folder)


def record(run: Run, folder: Path) -> Iterator[str]:
    """Yield data, generator, cost, versions and settings of a run's folder, as far as they are known."""
    yield page.heading("Data")
    yield facts.data([run])
    if run.generator:
        yield facts.generator(run.generator)
    yield page.heading("Cost and versions")
    yield from facts.cost(run, folder)
    yield facts.versions(run.tree)
    yield page.heading("Settings")
    yield facts.settings(run)


def _meaning(table: list[Row]) -> str:
    """Say what the columns of the table are, and † where a criterion has it."""
    return f"{MEANING} {FIXED}" if any(row.fixed for row in table) else MEANING


def _size(run: Run) -> str:
    redshift = run.tree["redshift"]
    epoch = f" at redshift {redshift:.3g}" if redshift == redshift else ""  # NaN is not itself
    return f"{run.tree['subvolume']}³ cells of {run.tree['cell_size']:.3g} Mpc/h{epoch}"


def _warnings(run: Run) -> list[str]:
    return json.loads(run.tree.get("warnings", "[]"))


def line(row: Row) -> tuple[str, ...]:
    """Return a criterion as cells of the table: goal, the paper's, value ± error, noise floor, verdict."""
    mark = "✓ pass" if row.passed else "✗ fail, within noise" if row.within_noise else "✗ fail"
    return _goal(row), row.paper, _value(row), _floor(row), mark


def _beside(row: Row, others: Sequence[list[Row]]) -> tuple[str, ...]:
    """Return a criterion as cells of the table, with the values of other sets after this run's."""
    goal, paper, value, *rest = line(row)
    values = [{other.name: _value(other) for other in rows}.get(row.name, "—") for rows in others]
    return goal, paper, value, *values, *rest


def _against_mocks(tree: Tree, table: list[Row], mocks: list[Row]) -> str:
    """Say in which criteria the generator is better than mapped Gaussian mocks, and what these are."""
    better, both = criteria.better(table, mocks)
    fixed = {row.name for row in table if row.fixed}
    free = [name for name in both if name not in fixed]
    named = ", ".join(name.replace("_", " ") for name in better) or "none"
    won = len([name for name in better if name in free])
    without = f" ({won} of {len(free)} without †)" if fixed else ""
    clipped = 100 * tree["mocks_clipped"]
    return (
        f"The generator is nearer to N-body than mapped Gaussian mocks in {len(better)} of {len(both)} "
        f"criteria{without}: {named}. These {tree['n_mocks']} mocks are Gaussian fields under a "
        "monotone map, with P(k) and voxel PDF of whole training boxes, in boxes of the same size, cut as N-body is. "
        f"Where the spectrum was solved for, their P(k) is off the training boxes' by {100 * tree['mocks_off']:.2g} % "
        f"rms over the modes up to Nyquist; at {clipped:.0f} % of the wavenumbers negative power was clipped."
    )


def _below_floor(table: list[Row]) -> str:
    """Return the criteria that these boxes cannot test: their limit is below the noise floor."""
    below = [row for row in table if row.distance.floor > row.limit]
    if not below:
        return page.paragraph("No criterion's limit lies below the noise floor of these boxes.", "faint")
    rows = [(_goal(row), criteria.words(row.limit, row.unit), _floor(row)) for row in below]
    return page.table(
        "Limits below the noise floor: N-body itself would miss them with so few boxes",
        ("criterion", "limit", "noise floor"),
        rows,
    )


def _goal(row: Row) -> str:
    return f"{row.goal} †" if row.fixed else row.goal


def _value(row: Row) -> str:
    return with_error(row.distance.value, row.distance.error, row.unit)


def _floor(row: Row) -> str:
    return with_error(row.distance.floor, row.distance.floor_error, row.unit)


def with_error(number: float, scatter: float, unit: str) -> str:
    """Return a value and its error, where it has one, with their unit."""
    scatter = 0.0 if scatter < ROUNDING * abs(number) else scatter
    value, error = (criteria.words(each, unit) for each in (number, scatter))
    if error == "—":
        return value
    both = f"{value.removesuffix(' %')} ± {error.removeprefix('× ')}"
    return both.replace(" ", "\N{NO-BREAK SPACE}")


def _together(first: Row, rows: Sequence[Row | None]) -> tuple[str, ...]:
    """Return a criterion's cells with a verdict for each run, or a dash where it does not apply."""
    cells = [f"{'✓' if row.passed else '✗'}\N{NO-BREAK SPACE}{_value(row)}" if row else "—" for row in rows]
    goal = _goal(next((row for row in rows if row and row.fixed), first))
    return goal, first.paper, *cells, _floor(first)


def _figures(runs: Sequence[Run], folder: Path) -> Iterator[str]:
    """Yield the figures in the paper's order, written as files too, and the reasons of those that are left out."""
    from cosmogan.reporting import drawing  # draws with matplotlib

    yield page.heading("Figures")
    exhibits, left_out = drawing.exhibits(runs, folder)
    yield page.figures(exhibits)
    titles: dict[str, list[str]] = {}  # by their reasons
    for left in left_out:
        titles.setdefault(left.reason, []).append(left.title)
    if titles:
        reasons = "; ".join(f"{', '.join(names)} ({reason})" for reason, names in titles.items())
        yield page.paragraph(f"Left out: {reasons}.", "faint")
