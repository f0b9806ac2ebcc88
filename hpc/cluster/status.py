"""Show the status of a run's jobs, one line per stage, once or live."""

import itertools
import json
import math
import re
import shutil
import sys
import time
from pathlib import Path
from typing import NamedTuple

from hpc.chain import Cluster
from hpc.cluster.job_records import JobRecords, how_far
from hpc.cluster.scheduler import Scheduler, State
from hpc.log import say
from hpc.stage import Run

INTERVAL = 5.0  # seconds between two looks at the queue

_STALE = "its job ended well, but with other settings than these, or its files are not here"


class Line(NamedTuple):
    """One stage of a run."""

    stage: str
    job: str
    state: str
    elapsed: str
    what: str  # how far it is, or why it is over, with the log


def living(folder: Path, scheduler: Scheduler) -> list[str]:
    """Return the jobs of a run that wait or run: those that were launched, and batch scripts that have begun."""
    records = JobRecords(folder)
    jobs = dict.fromkeys([*(line["job"] for line in records.submitted()), *records.jobs()])
    states = scheduler.states(jobs)
    return [job for job in jobs if job in states and states[job].alive]


def cancel(folder: Path, scheduler: Scheduler) -> None:
    """End all jobs of a run."""
    jobs = living(folder, scheduler)
    if jobs:
        scheduler.cancel(jobs)
    say(f"cancelled {len(jobs)} job(s) of {folder}; the same launch resumes from what is done")


def table(machine: Cluster, experiment: Run, scheduler: Scheduler) -> list[Line]:
    """Return a line for each stage, and for each part that is not done of a stage."""
    records = JobRecords(experiment.folder)
    jobs = {name: _latest(name, records) for name in machine.stages}
    states = scheduler.states(job["job"] for stage_jobs in jobs.values() for job in stage_jobs)
    lines: list[Line] = []
    for name, stage in machine.stages.items():
        own = [_line(job, states.get(job["job"]), records) for job in jobs[name]]
        alive = any(states[line.job].alive for line in own if line.job in states)
        if stage.done(experiment):
            lines.append(own[-1]._replace(stage=name, state="done", what="") if own else Line(name, "", "done", "", ""))
        elif not alive and (holder := stage.at_work(name, experiment)):
            where = f"on {holder['host']}, since {holder['since']}" if "host" in holder else ""
            lines.append(Line(name, holder.get("process", ""), "running", "", where))
        elif own:
            stale = own[-1]._replace(state="not done", what=_STALE)
            lines += _together([line for line in own if line.state != "done"] or [stale])
        else:
            lines.append(Line(name, "", "not submitted", "", ""))
    return lines


def _latest(name: str, records: JobRecords) -> list[dict[str, str]]:
    """Return the jobs of a stage that were launched last, or the batch script's that was submitted after them."""
    launched = [job for job in records.submitted() if job["stage"] == name]
    record = records.read(name)
    if record is None or any(_number(record.job) <= _number(job["job"]) for job in launched):
        return launched
    return [{"name": name, "job": record.job, "log": record.log}]


def _number(job: str) -> int:
    """Return the number with which a job's begins: the same for all tasks of an array."""
    return int(re.split(r"\D", job)[0])


def _together(lines: list[Line]) -> list[Line]:
    """Make one line of those in a row that say the same, as of the parts of an array that all wait."""
    merged = []
    for _, group in itertools.groupby(lines, key=lambda line: (_number(line.job), *line[2:])):
        first, *more = group
        for name in ("stage", "job") if more else ():
            last = re.split("[-_]", getattr(more[-1], name))[-1]
            first = first._replace(**{name: f"{getattr(first, name)}…{last}"})
        merged.append(first)
    return merged


def _line(job: dict[str, str], state: State | None, records: JobRecords) -> Line:
    """Return a job's line: by its scheduler while it is alive, then by its record, then by how it ended, or its log."""
    record = records.read(job["name"])
    mine = record is not None and record.job == job["job"]
    line = Line(job["name"], job["job"], "failed", state.elapsed if state else "", "")
    if state is not None and state.alive:
        far = how_far(records.counted(job["name"])) if mine else ""
        waits = f"waits: {state.why}" if state.why else ""
        return line._replace(state=state.word, what="; ".join(word for word in (far, waits) if word))
    if state is not None and state.phase == "skipped":
        return line._replace(state="cancelled", what="what it waited for failed")
    if record is not None and mine and record.state in ("done", "failed"):
        return line._replace(state=record.state, what=f"{record.why}; log: {record.log}" if record.why else "")
    if state is not None and state.phase == "done":
        return line._replace(state="done")
    why = (state.why if state else "") or _last_error(Path(job["log"])) or "ended without a word: killed?"
    word = "cancelled" if state is not None and state.phase == "cancelled" else "failed"
    return line._replace(state=word, what=f"{why}; log: {job['log']}")


def _last_error(log: Path) -> str:
    """Return the last error in the log of a job that could not leave its record; empty when there is none."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    errors = [line.removeprefix("error: ") for line in lines if re.match(r"error\b|\w*Error: ", line)]
    return errors[-1] if errors else ""


def format_table(lines: list[Line]) -> list[str]:
    """Return the lines as a table, its head first."""
    rows = [Line("stage", "job", "state", "elapsed", ""), *lines]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row.what]).rstrip()
        for row in rows
    ]


def as_json(folder: Path, lines: list[Line]) -> str:
    """Return a run's lines as JSON; a text that the table leaves empty is null."""
    stages = [{name: word or None for name, word in line._asdict().items()} for line in lines]
    return json.dumps({"folder": str(folder), "stages": stages}, indent=1)


def watch(machine: Cluster, experiment: Run, scheduler: Scheduler) -> None:
    """Show the table until all is over: live on a terminal; in a file each line when its state changes.

    Raises
    ------
    RuntimeError
        when a job of the latest launch, or one that was seen alive, has failed: names its stage and its log.
    """
    show = _redraw if sys.stdout.isatty() else _print_changes
    shown: list[Line] = []
    watched = {job["job"] for job in JobRecords(experiment.folder).submitted()}
    try:
        while True:
            alive = living(experiment.folder, scheduler)
            watched.update(alive)
            shown = show(shown, table(machine, experiment, scheduler))
            if not alive:
                break
            time.sleep(INTERVAL)
    except KeyboardInterrupt:
        say("the jobs run on without being watched: python -m hpc.launch status CONFIG [--watch], or cancel CONFIG")
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
    rows = sum(math.ceil(len(row) / width) for row in format_table(shown)) if shown else 0
    print((f"\x1b[{rows}A\x1b[J" if rows else "") + "\n".join(format_table(now)), flush=True)
    return now


def _print_changes(shown: list[Line], now: list[Line]) -> list[Line]:
    earlier = {(line.stage, line.job, line.state) for line in shown}
    for line in now:
        if (line.stage, line.job, line.state) not in earlier:
            print("  ".join(word for word in line if word), flush=True)
    return now
