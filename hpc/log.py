"""Print lines, progress bars and metrics from rank 0."""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

WRITE_INTERVAL = 2.0  # seconds between two writings of HPC_PROGRESS


def say(text: str, rank: int = 0) -> None:
    """Print one line from rank 0; other ranks are silent."""
    if rank == 0:
        print(text, flush=True)


class Progress:
    """A progress bar with time left on a terminal, a line every few seconds in a log file.

    Parameters
    ----------
    label : what is being done
    total : number of steps
    unit : what a step is, in words
    rank : only rank 0 draws

    Other processes can follow it. If the environment names a file in ``HPC_PROGRESS``, rank 0 writes to it as JSON, for
    everything counted so far: ``label``, ``began`` (the count of earlier runs), ``count``, ``total`` and ``unit``.
    """

    terminal_interval = 0.2  # seconds between redraws
    log_interval = 10.0
    _counted: ClassVar[list["Progress"]] = []  # by this process, for HPC_PROGRESS

    def __init__(self, label: str, total: int, unit: str = "", rank: int = 0) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.count = self._first = 0
        self._start = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._interval = self.terminal_interval if self._terminal else self.log_interval
        self._last = self._start
        self._drawing = rank == 0
        self._drawn = False
        self._written = 0.0
        if rank == 0:
            self._counted.append(self)

    def __enter__(self) -> "Progress":
        self._write()
        return self

    def __exit__(self, *_: object) -> None:
        self._write()
        if self._drawn and self._terminal:
            print(file=sys.stderr, flush=True)

    def resume_at(self, count: int) -> None:
        """Start from ``count`` steps that an earlier run made; they do not enter the speed."""
        self.count = self._first = count
        self._write()

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Count steps and redraw when it is time."""
        self.count += steps
        now = time.monotonic()
        if self._drawing and now - self._last >= self._interval:
            self._last = now
            self._draw(now - self._start, note)
        if self._drawing and now - self._written >= WRITE_INTERVAL:
            self._write()
            self._written = now

    def _write(self) -> None:
        name = os.environ.get("HPC_PROGRESS")
        if name is None or not self._drawing:
            return
        path = Path(name)
        lines = [
            {"label": bar.label, "began": bar._first, "count": bar.count, "total": bar.total, "unit": bar.unit}
            for bar in self._counted
        ]
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        temporary.write_text(json.dumps(lines))
        os.replace(temporary, path)

    def _draw(self, elapsed: float, note: str) -> None:
        steps = max(self.count - self._first, 1)
        left = elapsed / steps * max(self.total - self.count, 0)
        fraction = min(self.count / max(self.total, 1), 1.0)
        bar = "█" * round(20 * fraction) + "░" * (20 - round(20 * fraction))
        times = f"{clock(elapsed)} gone, {clock(left)} left"
        text = f"{self.label}: {bar} {self.count}/{self.total} {self.unit}  {times}  {note}".rstrip()
        if self._terminal:
            width = os.get_terminal_size(sys.stderr.fileno()).columns
            print("\r" + text[: width - 1].ljust(width - 1), end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)
        self._drawn = True


def clock(seconds: float) -> str:
    """Return a duration as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Metrics:
    """A JSON-lines file, one record per line, without gaps or doubles after a resume.

    Parameters
    ----------
    path : the file
    keep_below : (name, limit): records whose ``name`` is not below ``limit`` are dropped from an existing file
    """

    def __init__(self, path: Path, keep_below: tuple[str, int] = ("", 0)) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        name, limit = keep_below
        kept = [line for line in path.read_text().splitlines() if _value(line, name) < limit] if path.exists() else []
        path.write_text("".join(line + "\n" for line in kept))
        self._file = open(path, "a", buffering=1)  # noqa: SIM115 - lives as long as the run

    def write(self, record: Mapping[str, object]) -> None:
        """Append one record."""
        self._file.write(json.dumps(record) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _value(line: str, name: str) -> float:
    """Return the number that a record has under ``name``; infinity when the line was cut off."""
    try:
        return float(json.loads(line)[name])
    except (ValueError, KeyError, TypeError):
        return float("inf")
