"""Write the paper's figures and one page that says what was reached; or one page for several runs."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

from cosmogan import cli
from cosmogan.config import Experiment
from cosmogan.reporting import conditions, criteria, document, facts, page, runs
from hpc import mpi, settings
from hpc.log import say
from hpc.paths import argument
from hpc.rundir import Receipt, checksum, whole_file

TEXT = """\
Write report/index.html: a pass/fail table against the paper's claims, the paper's figures with what is seen in them,
data, cost, versions and settings; the figures also as report/figures/*.pdf, .png and, their numbers, .csv. With
--compare the figures and verdicts of several runs' folders go to one page."""
EXAMPLE = """\
python -m cosmogan.report configs/demo.yaml
  python -m cosmogan.report --compare runs/feder2020 runs/feder2020-gaussian --output runs/priors"""


def done(experiment: Experiment) -> bool:
    """Say whether the page shows what is measured now."""
    return _page_path(experiment).exists() and experiment.statistics_path.exists() and _receipt(experiment).done()


def report(experiment: Experiment, comm: mpi.Comm) -> None:
    """Write the page and its figures; parts of the run that are missing are left out.

    Raises
    ------
    ValueError
        when nothing is measured yet: says which stage to run.
    """
    if comm.rank > 0:
        return
    path = _page_path(experiment)
    if done(experiment):
        say(f"report: done: {path.resolve()}")
        return
    run = runs.read(experiment.folder, experiment.statistics_path, settings.to_tree(experiment))
    receipt = _receipt(experiment)
    receipt.begin(keep=False)
    judged = [*criteria.rows(run.tree), *conditions.rows(run.tree)]
    parts = [*document.one(run, judged, path.parent / "figures"), *document.record(run, experiment.folder)]
    _write(path, f"{run.tree['name']}: a cosmic web GAN", parts)
    receipt.finish(**{row.name: row.passed for row in judged})
    for group in criteria.groups(judged):
        say(f"report: {criteria.count(judged, group)}")
    say(f"report: {path.resolve()}")


def compare(folders: list[Path], output: Path) -> None:
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
    found = runs.read_several(folders)
    judged = [[*criteria.rows(run.tree), *conditions.rows(run.tree)] for run in found]
    path = output / "index.html"
    parts = [*document.several(found, judged, path.parent / "figures"), page.heading("Data"), facts.data(found)]
    _write(path, f"{', '.join(run.name for run in found)}: cosmic web GANs", parts)
    say(f"report: {path.resolve()}")


def _write(path: Path, title: str, parts: Iterable[str]) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(page.page(title, parts), encoding="utf-8")


def _page_path(experiment: Experiment) -> Path:
    return experiment.report_folder / "index.html"


def _receipt(experiment: Experiment) -> Receipt:
    """Return the record of what the page shows."""
    shown = {"statistics": experiment.statistics_path, **runs.sources(experiment.folder)}
    recipe = {name: checksum(path) for name, path in shown.items() if path.exists()}
    return Receipt(experiment.folder, "report", {**recipe, "name": experiment.name})


def main() -> None:
    """Write the report that the command line asks for."""
    parser = cli.parser("cosmogan.report", TEXT, EXAMPLE)
    parser.add_argument(
        "--compare", nargs="+", type=argument, metavar="RUN", help="folders of runs, for one page of all"
    )
    parser.add_argument("--output", type=argument, metavar="FOLDER", help="of that page (default: comparison)")
    arguments = parser.parse_intermixed_args()
    comm = mpi.world()
    with mpi.abort_on_error(comm):
        if arguments.output and not arguments.compare:
            raise ValueError("--output: expected together with --compare; a run's own page is in its folder, report/")
        if not arguments.compare:
            experiment = cli.read_experiment(arguments, comm.rank)
            with contextlib.nullcontext() if done(experiment) else cli.at_work(experiment, "report", comm.rank):
                report(experiment, comm)
        elif comm.rank == 0:
            compare(list(map(Path, arguments.compare)), Path(arguments.output or "comparison"))


if __name__ == "__main__":
    main()
