"""How the jobs of a run get on: a line a stage, live or once, and their end."""

import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from hpc import slurm
from hpc.chain import Cluster, Stage
from hpc.log import say
from hpc.records import Records, how_far
from hpc.rundir import read_json

INTERVAL = 5.0  # seconds between two looks at the queue

# What SLURM's words for a job that is over mean for its user.
_ENDS = {
    "CANCELLED": "cancelled",
    "TIMEOUT": "its time ran out",
    "NODE_FAIL": "a node failed",
    "OUT_OF_MEMORY": "killed for memory: ask for more (memory_gb, or sbatch --mem)",
    "PREEMPTED": "other jobs took its nodes",
    "BOOT_FAIL": "a node did not boot",
    "DEADLINE": "its deadline has passed",
}


class Line(NamedTuple):
    """One stage of a run."""

    stage: str
    job: str
    state: str
    elapsed: str
    what: str  # how far it is, or why it is over, with the log


def path(folder: Path) -> Path:
    """Return the list of the jobs that were submitted last."""
    return folder / "jobs" / "submitted.json"


def _submitted(folder: Path) -> list[dict[str, str]]:
    return read_json(path(folder)) if path(folder).exists() else []


def living(folder: Path) -> list[str]:
    """Return the submitted jobs of a run that wait or run."""
    jobs = [line["job"] for line in _submitted(folder)]
    states = slurm.states(jobs) if jobs else {}
    return [job for job in jobs if job in states and states[job].alive]


def cancel(folder: Path) -> None:
    """End all jobs of a run."""
    jobs = living(folder)
    if jobs:
        slurm.cancel(jobs)
    say(f"cancelled {len(jobs)} job(s) of {folder}; the same launch goes on from what is done")


def lines(machine: Cluster, experiment: Any) -> list[Line]:
    """Return a line for each stage, and for each part that is not done of a stage."""
    jobs = _submitted(experiment.folder)
    states = slurm.states([job["job"] for job in jobs]) if jobs and slurm.is_here() else {}
    found = []
    for name, stage in machine.stages.items():
        own = [job for job in jobs if job["stage"] == name]
        found += _stage(name, stage, own, states, experiment)
    return found


def _stage(
    name: str, stage: Stage, jobs: list[dict[str, str]], states: dict[str, slurm.State], experiment: Any
) -> list[Line]:
    if stage.done(experiment):
        return [Line(name, jobs[-1]["job"] if jobs else "", "done", "", "")]
    records = Records(experiment.folder)
    if not jobs:
        return [_unsubmitted(name, records)]
    made = [_job(job, states.get(job["job"]), records) for job in jobs]
    return [line for line in made if line.state != "done"] or made[-1:]


def _unsubmitted(name: str, records: Records) -> Line:
    """Return the line of a stage that was not launched, but may have been run by its own batch script."""
    record = records.read(name)
    if record is None:
        return Line(name, "", "not submitted", "", "")
    state = slurm.states([record.job]).get(record.job) if slurm.is_here() else None
    return _job({"name": name, "job": record.job, "log": record.log}, state, records)


def _job(job: dict[str, str], state: slurm.State | None, records: Records) -> Line:
    record = records.read(job["name"])
    mine = record is not None and record.job == job["job"]
    word, log = ("", "log: " + job["log"]) if state is None else (state.word, "log: " + job["log"])
    if state is not None and state.alive:
        waits = word == "PENDING"
        what = f"waits: {state.reason}" if waits else how_far(records.counted(job["name"])) if mine else ""
        return Line(job["name"], job["job"], word.lower(), state.elapsed, what)
    elapsed = "" if state is None else state.elapsed
    if record is not None and mine and record.state in ("done", "failed"):
        return Line(job["name"], job["job"], record.state, elapsed, f"{record.why}; {log}" if record.why else "")
    if word == "COMPLETED":
        return Line(job["name"], job["job"], "done", elapsed, "")
    dependency = state is not None and state.reason.startswith("Dependency")
    why = "what it waited for failed" if dependency else _ENDS.get(word, "ended without a word: killed?")
    return Line(job["name"], job["job"], "cancelled" if dependency else "failed", elapsed, f"{why}; {log}")


def table(machine: Cluster, experiment: Any) -> list[str]:
    """Return the lines as a table, its head first."""
    rows = [Line("stage", "job", "state", "elapsed", ""), *lines(machine, experiment)]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row.what]).rstrip()
        for row in rows
    ]


def watch(machine: Cluster, experiment: Any) -> None:
    """Show the table until all is over: live on a terminal; in a file each line when its state changes."""
    shown: list[str] = []
    told: dict[str, tuple[str, str]] = {}
    terminal = sys.stdout.isatty()
    while True:
        over = not living(experiment.folder)
        if terminal:
            back = f"\x1b[{len(shown)}A\x1b[J" if shown else ""
            shown = table(machine, experiment)
            print(back + "\n".join(shown), flush=True)
        else:
            for line in lines(machine, experiment):
                if told.get(line.stage) != (line.job, line.state):
                    print("  ".join(word for word in line if word), flush=True)
                told[line.stage] = (line.job, line.state)
        if over:
            return
        time.sleep(INTERVAL)
