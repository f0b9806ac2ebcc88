"""Time the phases of a parallel program: seconds, bytes, messages, and the imbalance of ranks."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hpc import mpi


@dataclass
class Phase:
    """One rank's seconds, bytes and messages in one phase."""

    seconds: float = 0.0
    bytes: int = 0
    messages: int = 0


class Timer:
    """Adds up what this rank does, by phase, in the order in which phases are first met."""

    def __init__(self) -> None:
        self.kept: dict[str, Phase] = {}

    @contextlib.contextmanager
    def __call__(self, name: str, n_bytes: int = 0, messages: int = 0) -> Iterator[None]:
        """Measure the time inside; ``n_bytes`` and ``messages`` are those that are moved."""
        phase = self.kept.setdefault(name, Phase())
        start = time.perf_counter()
        try:
            yield
        finally:
            phase.seconds += time.perf_counter() - start
            phase.bytes += n_bytes
            phase.messages += messages

    def summary(self, comm: mpi.Comm) -> list[dict[str, Any]] | None:
        """Return one line per phase on rank 0, None elsewhere: mean and longest seconds, all ranks' bytes and messages.

        ``imbalance`` is the longest time over the mean; 1 when all ranks take as long.
        """
        gathered = comm.gather(self.kept)
        if gathered is None:
            return None
        names = dict.fromkeys(name for kept in gathered for name in kept)
        return [_line(name, [kept.get(name, Phase()) for kept in gathered]) for name in names]


def _line(name: str, phases: list[Phase]) -> dict[str, Any]:
    seconds = [phase.seconds for phase in phases]
    mean, longest = sum(seconds) / len(seconds), max(seconds)
    return {
        "stage": name,
        "seconds": round(mean, 4),
        "longest": round(longest, 4),
        "imbalance": round(longest / mean, 3) if mean > 0 else 1.0,
        "bytes": sum(phase.bytes for phase in phases),
        "messages": sum(phase.messages for phase in phases),
    }


def table(summary: list[dict[str, Any]]) -> str:
    """Return a summary as a table to read."""
    rows = [f"{'stage':<10} {'seconds':>9} {'longest':>9} {'imbalance':>9} {'GB':>9} {'GB/s':>7} {'messages':>9}"]
    for line in summary:
        gigabytes = line["bytes"] / 1e9
        speed = f"{gigabytes / line['longest']:7.2f}" if gigabytes and line["longest"] else f"{'':7}"
        times = f"{line['seconds']:9.3f} {line['longest']:9.3f} {line['imbalance']:9.2f}"
        rows.append(f"{line['stage']:<10} {times} {gigabytes:9.3f} {speed} {line['messages']:9d}")
    total = sum(line["seconds"] for line in summary)
    return "\n".join([*rows, f"{'all':<10} {total:9.3f}"])
