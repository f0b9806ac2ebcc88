"""Submit a chain of stages through submitit: ``python -m hpc.launch CONFIG --cluster slurm``.

From Python: ``from hpc.launch import launch; jobs = launch("experiment.yaml", cluster="slurm")``.
"""

import argparse
import contextlib
from pathlib import Path

import submitit

from hpc import mpi
from hpc.chain import Cluster, Command
from hpc.cluster import machines, status
from hpc.cluster.scheduler import Plan
from hpc.log import say
from hpc.stage import Run

EPILOG = """\
examples:
  python -m hpc.launch experiment.yaml --cluster slurm            submit what is not done yet
  python -m hpc.launch experiment.yaml --cluster slurm --dry-run  print the batch scripts instead
  python -m hpc.launch status experiment.yaml                     a line for each stage; --watch: until all is over;
                                                                  --json: for programs
  python -m hpc.launch cancel experiment.yaml                     end its jobs"""


def launch(
    config: str | Path,
    cluster: str | Path = "local",
    stage: str | None = None,
    overrides: list[str] | tuple[str, ...] = (),
    dry_run: bool = False,
) -> list[submitit.Job]:
    """Submit the stages of a chain that are not done, or one of them, and return the jobs.

    On a cluster each job waits for the one before it and this call returns at once. Where there is no
    scheduler (``local``, ``debug``) the stages run one after the other and this call returns when all are done.

    Parameters
    ----------
    config : the experiment's YAML file
    cluster : ``local``, ``slurm``, ``debug``, or a YAML file like those in ``configs/cluster``
    stage : only this one
    overrides : ``section.key=value`` strings for the experiment
    dry_run : print the batch scripts that would be submitted, or the commands that would be run, instead. Where no
        scheduler answers, arrays are as large as the cluster's file wants them.

    Raises
    ------
    ValueError
        for an unknown stage or cluster, a broken config, a stage whose input is not there, what the scheduler refuses,
        and when jobs of this run are in the queue.
    RuntimeError
        when a stage that ran here failed; names its log.
    """
    machine = machines.load_cluster(cluster)
    scheduler = machines.scheduler(machine)
    missing = "" if dry_run else scheduler.missing()
    if missing:
        raise ValueError(
            f"--cluster {cluster}: {missing}; run this on the cluster's login node, or take --cluster local"
        )
    experiment = machine.read([str(config), *overrides])
    stages = _to_do(machine, experiment, stage)
    if not stages:
        say(f"nothing to submit: {stage or 'every stage'} is done: {experiment.folder}")
        return []
    plan = Plan(machine, experiment, [str(Path(config).resolve()), *overrides], stages)
    if dry_run:
        print(scheduler.preview(plan), end="")
        return []
    return scheduler.launch(plan)


def _to_do(machine: Cluster, experiment: Run, wanted: str | None) -> dict[str, Command]:
    """Return the stages that are not done; of one stage alone its input must be there."""
    if wanted is not None and wanted not in machine.stages:
        raise ValueError(f"--stage {wanted}: expected one of {', '.join(machine.stages)}")
    names = list(machine.stages)
    if wanted is not None:
        before = [name for name in names[: names.index(wanted)] if not machine.stages[name].done(experiment)]
        if before:
            raise ValueError(
                f"--stage {wanted}: its input is not there: {before[0]} is not done with these settings; "
                f"submit --stage {before[0]} first, or the whole chain"
            )
        names = [wanted]
    return {name: machine.stages[name] for name in names if not machine.stages[name].done(experiment)}


def _check(prog: str, action: str, given: argparse.Namespace) -> None:
    """Raise an error about a command line that says too little or too much."""
    first, name = given.words[0] if given.words else "nothing", prog if action == "launch" else f"{prog} {action}"
    if first == "nothing" or ("=" in first and not Path(first).is_file()):
        raise ValueError(f"{name}: expected CONFIG, found {first}")
    if action != "launch" and (given.dry_run or given.stage):
        raise ValueError(f"{name}: it takes no --stage and no --dry-run: all jobs are meant")
    if given.json and (action != "status" or given.watch):
        raise ValueError("--json: expected with status, and without --watch")


def parser(prog: str) -> argparse.ArgumentParser:
    """Make the command line's parser, for a command that is called so."""
    reader = argparse.ArgumentParser(
        prog=prog,
        usage="%(prog)s [status | cancel] CONFIG [section.key=value ...] [options]",
        description="Submit an experiment's chain of stages through submitit.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = "the experiment's YAML file, then overrides of its settings"
    reader.add_argument("words", nargs="*", metavar="CONFIG", help=what)
    reader.add_argument(
        "--cluster", default="local", help="local, slurm, debug, or a YAML file of your own (default: local)"
    )
    reader.add_argument("--stage", help="submit only this stage")
    reader.add_argument("--dry-run", action="store_true", help="print the batch scripts, and submit nothing")
    reader.add_argument("--watch", action="store_true", help="show how the jobs get on until they are over")
    reader.add_argument("--json", action="store_true", help="of status: print it as JSON")
    return reader


def main(prog: str) -> None:
    """Run the command line."""
    given = parser(prog).parse_intermixed_args()
    action = given.words.pop(0) if given.words[:1] in (["status"], ["cancel"]) else "launch"
    with (
        mpi.abort_on_error(mpi.SerialComm(), expected=(ValueError, OSError, RuntimeError)),
        contextlib.suppress(BrokenPipeError),
    ):
        _check(prog, action, given)
        config, *overrides = given.words
        if action == "launch":
            launch(config, given.cluster, given.stage, overrides, given.dry_run)
        if action == "launch" and (given.dry_run or not given.watch):
            return
        machine = machines.load_cluster(given.cluster)
        experiment, queue = machine.read(given.words), machines.queue(machine)
        if action == "cancel":
            status.cancel(experiment.folder, queue)
        elif given.watch:
            status.watch(machine, experiment, queue)
        elif given.json:
            print(status.as_json(experiment.folder, status.table(machine, experiment, queue)))
        else:
            print("\n".join(status.format_table(status.table(machine, experiment, queue))))


if __name__ == "__main__":
    main("python -m hpc.launch")
