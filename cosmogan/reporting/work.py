"""Write the page of one run, or one page of several."""

from collections.abc import Iterable
from pathlib import Path

from cosmogan.reporting import conditions, criteria, document, facts, page, runs, verdict
from hpc.files import whole_file
from hpc.log import say
from hpc.stage import Outcome


def write_one(run: runs.Run, folder: Path, path: Path) -> Outcome:
    """Write a run's page and figures; return which criteria it meets.

    Parameters
    ----------
    run : with its statistics
    folder : the run's
    path : of the page
    """
    rows = _criteria(run)
    parts = [*document.single(run, rows, path.parent / "figures"), *document.record(run, folder)]
    _write(path, f"{run.tree['name']}: a cosmic web GAN", parts)
    verdict.write(path.with_name("verdict.json"), run.tree["name"], rows)
    counts = [criteria.count(rows, group) for group in criteria.groups(rows)]
    return Outcome({row.name: row.passed for row in rows}, (*counts, str(path.resolve())))


def write_several(folders: list[Path], output: Path) -> None:
    """Write one page, and its figures, of several runs.

    Parameters
    ----------
    folders : of runs that were validated
    output : the page's folder

    Raises
    ------
    ValueError
        when one was not validated, or their subvolumes are of different kinds.
    """
    several = runs.read_several(folders)
    rows = [_criteria(run) for run in several]
    path = output / "index.html"
    parts = [*document.several(several, rows, path.parent / "figures"), page.heading("Data"), facts.data(several)]
    _write(path, f"{', '.join(run.name for run in several)}: cosmic web GANs", parts)
    say(f"report: {path.resolve()}")


def _criteria(run: runs.Run) -> list[criteria.Row]:
    return [*criteria.rows(run.tree, run.calibrated), *conditions.rows(run.tree)]


def _write(path: Path, title: str, parts: Iterable[str]) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(page.page(title, parts), encoding="utf-8")
