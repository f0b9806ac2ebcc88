"""Keep a batch job's record, progress and log in the run's folder, and make sure that it is the only one."""

import contextlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hpc.cluster.scheduler import Queue
from hpc.files import read_json, write_json

Position = list[list[Any]] | None  # where an attempt began, of each thing it counted; None: it got nowhere


@dataclass
class JobRecord:
    """One stage, or part of one, in batch jobs: ``<run>/jobs/<name>.json``."""

    job: str
    log: str
    state: str = "running"  # running, ended (early: it may begin again), done, failed
    why: str = ""  # in words, when failed
    attempts: list[Position] = field(default_factory=list)  # before this one, of the same job


class JobRecords:
    """The records of a run's jobs.

    Parameters
    ----------
    folder : the run's
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "jobs"
        self.submitted_path = self.folder / "submitted.json"  # the jobs that were launched last

    def path(self, name: str) -> Path:
        """Return a record's file."""
        return self.folder / f"{name}.json"

    def progress_path(self, name: str) -> Path:
        """Return where the processes of a job say how far they are."""
        return self.folder / f"{name}.progress.json"

    def read(self, name: str) -> JobRecord | None:
        """Return a record, None when there is none."""
        return JobRecord(**read_json(self.path(name))) if self.path(name).exists() else None

    def write(self, name: str, record: JobRecord) -> None:
        """Replace a record."""
        write_json(self.path(name), asdict(record))

    def submitted(self) -> list[dict[str, str]]:
        """Return ``stage``, ``name``, ``job`` and ``log`` of each job that was launched last."""
        return read_json(self.submitted_path) if self.submitted_path.exists() else []

    def jobs(self) -> list[str]:
        """Return the jobs that have left a record."""
        names = [path.stem for path in sorted(self.folder.glob("*.json")) if path != self.submitted_path]
        records = [self.read(name) for name in names if not name.endswith(".progress")]
        return [record.job for record in records if record is not None]

    def counted(self, name: str) -> list[dict[str, Any]]:
        """Return the counts of a job's processes so far, the latest last."""
        with contextlib.suppress(OSError, ValueError):
            return json.loads(self.progress_path(name).read_text())
        return []

    def position(self, name: str) -> Position:
        """Return where a job began."""
        return [[count["label"], count["began"], count["total"]] for count in self.counted(name)] or None

    @contextlib.contextmanager
    def claimed(self, name: str, job: str, queue: Queue) -> Iterator[None]:
        """Be the only job that does this.

        A claim holds as long as its job does: that of a dead job is taken over.

        Raises
        ------
        ValueError
            when another living job does the same: names it.
        """
        claim = self.folder / f".{name}.claim"
        claim.parent.mkdir(parents=True, exist_ok=True)
        while not _claim(claim, job):
            with contextlib.suppress(FileNotFoundError):  # another job was quicker: look again
                self._take_away(claim, job, queue)
        try:
            yield
        finally:
            claim.unlink(missing_ok=True)

    def _take_away(self, claim: Path, job: str, queue: Queue) -> None:
        """Remove the claim of a dead job, or of an earlier attempt of this one; raise if it is a living one's."""
        holder = os.readlink(claim)
        state = queue.states([holder]).get(holder)
        if holder != job and state is not None and state.alive:
            raise ValueError(
                f"{self.folder.parent}: job {holder} ({state.word}) does the same here; wait for it, "
                f"or end it: {queue.cancel_command} {holder}"
            )
        taken = claim.with_name(f"{claim.name}.{job}")
        claim.rename(taken)
        if os.readlink(taken) == holder:
            taken.unlink()
        else:  # since then another job has put its own in the place of the dead one's
            taken.rename(claim)


def _claim(path: Path, job: str) -> bool:
    """Make a claim, unless there is one: a link, whose target says from its first moment whose it is."""
    try:
        path.symlink_to(job)
    except FileExistsError:
        return False
    return True


def record_name(stage: str, arguments: list[str]) -> str:
    """Return the name of a job's record: of a stage, or of the part of it that its arguments ask for."""
    part = re.search(r"--part[= ](\d+)/", " ".join(arguments))
    return f"{stage}-part-{part[1]}" if part else stage


def how_far(counted: list[dict[str, Any]]) -> str:
    """Return how far a job is, in words."""
    if not counted:
        return ""
    last = counted[-1]
    percent = 100 * last["count"] / max(last["total"], 1)
    return f"{percent:.0f} % ({last['count']} of {last['total']} {last['unit']})"
