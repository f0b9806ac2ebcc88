"""Show the status of a run's jobs, one line per stage, once or live."""

import itertools
import math
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from hpc import slurm
from hpc.chain import Cluster
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

_STALE = "its job ended well, but with other settings than these, or its files are not here"


class Line(NamedTuple):
    """One stage of a run."""

    stage: str
    job: str
    state: str
    elapsed: str
    what: str  # how far it is, or why it is over, with the log


def _submitted(records: Records) -> list[dict[str, str]]:
    return read_json(records.submitted_path) if records.submitted_path.exists() else []


def living(folder: Path) -> list[str]:
    """Return the jobs of a run that wait or run: those that were launched, and batch scripts that have begun."""
    records = Records(folder)
    jobs = dict.fromkeys([*(line["job"] for line in _submitted(records)), *records.jobs()])
    states = slurm.states(jobs)
    return [job for job in jobs if job in states and states[job].alive]


def cancel(folder: Path) -> None:
    """End all jobs of a run."""
    jobs = living(folder)
    if jobs:
        slurm.cancel(jobs)
    say(f"cancelled {len(jobs)} job(s) of {folder}; the same launch goes on from what is done")


def lines(machine: Cluster, experiment: Any) -> list[Line]:
    """Return a line for each stage, and for each part that is not done of a stage."""
    records = Records(experiment.folder)
    jobs = {name: _latest(name, records) for name in machine.stages}
    numbers = [job["job"] for own in jobs.values() for job in own]
    states = slurm.states(numbers)
    found = []
    for name, stage in machine.stages.items():
        own = [_job(job, states.get(job["job"]), records) for job in jobs[name]]
        if stage.done(experiment):
            found.append(own[-1]._replace(stage=name, state="done", what="") if own else Line(name, "", "done", "", ""))
        elif not any(states[line.job].alive for line in own if line.job in states) and (
            who := stage.at_work(name, experiment)
        ):
            found.append(Line(name, who.get("process", ""), "running", "", _who(who)))
        elif own:
            stale = own[-1]._replace(state="not done", what=_STALE)
            found += _together([line for line in own if line.state != "done"] or [stale])
        else:
            found.append(Line(name, "", "not submitted", "", ""))
    return found


def _who(told: dict[str, str]) -> str:
    return f"on {told['host']}, since {told['since']}" if told else ""


def _latest(name: str, records: Records) -> list[dict[str, str]]:
    """Return the jobs of a stage that were launched last, or the batch script's that was submitted after them."""
    launched = [job for job in _submitted(records) if job["stage"] == name]
    record = records.read(name)
    if record is None or any(_number(record.job) <= _number(job["job"]) for job in launched):
        return launched
    return [{"name": name, "job": record.job, "log": record.log}]


def _number(job: str) -> int:
    return int(job.split("_")[0])


def _together(lines: list[Line]) -> list[Line]:
    """Make one line of those in a row that say the same, as of the parts of an array that all wait."""
    made = []
    for _, group in itertools.groupby(lines, key=lambda line: (_number(line.job), *line[2:])):
        first, *more = group
        for name in ("stage", "job") if more else ():
            last = re.split("[-_]", getattr(more[-1], name))[-1]
            first = first._replace(**{name: f"{getattr(first, name)}…{last}"})
        made.append(first)
    return made


def _job(job: dict[str, str], state: slurm.State | None, records: Records) -> Line:
    record = records.read(job["name"])
    mine = record is not None and record.job == job["job"]
    line = Line(job["name"], job["job"], "failed", state.elapsed if state else "", "")
    if state is not None and state.alive:
        far = how_far(records.counted(job["name"])) if mine else ""
        waits = f"waits: {state.reason}" if state.word == "PENDING" and state.reason != "None" else ""
        return line._replace(state=state.word.lower(), what="; ".join(word for word in (far, waits) if word))
    if state is not None and state.reason.startswith("Dependency"):
        return line._replace(state="cancelled", what="what it waited for failed")
    if record is not None and mine and record.state in ("done", "failed"):
        return line._replace(state=record.state, what=f"{record.why}; log: {record.log}" if record.why else "")
    if state is not None and state.word == "COMPLETED":
        return line._replace(state="done")
    why = _ENDS.get(state.word if state else "") or _last_error(Path(job["log"])) or "ended without a word: killed?"
    word = "cancelled" if why == _ENDS["CANCELLED"] else "failed"
    return line._replace(state=word, what=f"{why}; log: {job['log']}")


def _last_error(log: Path) -> str:
    """Return what a log's last error says, of a job that could not leave its record; empty when there is none."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    errors = [line.removeprefix("error: ") for line in lines if re.match(r"error\b|\w*Error: ", line)]
    return errors[-1] if errors else ""


def table(lines: list[Line]) -> list[str]:
    """Return the lines as a table, its head first."""
    rows = [Line("stage", "job", "state", "elapsed", ""), *lines]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row.what]).rstrip()
        for row in rows
    ]


def watch(machine: Cluster, experiment: Any) -> None:
    """Show the table until all is over: live on a terminal; in a file each line when its state changes.

    Raises
    ------
    RuntimeError
        when a job of the latest launch, or one that was seen alive, has failed: names its stage and its log.
    """
    show = _redraw if sys.stdout.isatty() else _tell_changes
    shown: list[Line] = []
    watched = {job["job"] for job in _submitted(Records(experiment.folder))}
    try:
        while True:
            alive = living(experiment.folder)
            watched.update(alive)
            shown = show(shown, lines(machine, experiment))
            if not alive:
                break
            time.sleep(INTERVAL)
    except KeyboardInterrupt:
        say("the jobs go on without being watched: python -m hpc.launch status CONFIG [--watch], or cancel CONFIG")
        return
    _raise_failure(shown, {_number(job) for job in watched})


def _raise_failure(over: list[Line], watched: set[int]) -> None:
    """Raise an error about the first job that failed, or else was cancelled, of those that were watched."""
    for state in ("failed", "cancelled"):
        for line in over:
            if line.state == state and _number(line.job) in watched:
                raise RuntimeError(f"{line.stage}: {line.what}")


def _redraw(shown: list[Line], now: list[Line]) -> list[Line]:
    """Draw the table over the one that is shown, whose long lines the terminal has broken."""
    width = shutil.get_terminal_size().columns
    rows = sum(math.ceil(len(row) / width) for row in table(shown)) if shown else 0
    print((f"\x1b[{rows}A\x1b[J" if rows else "") + "\n".join(table(now)), flush=True)
    return now


def _tell_changes(shown: list[Line], now: list[Line]) -> list[Line]:
    known = {(line.stage, line.job, line.state) for line in shown}
    for line in now:
        if (line.stage, line.job, line.state) not in known:
            print("  ".join(word for word in line if word), flush=True)
    return now
