"""Find how much memory this process can have, and set the C library's allocator."""

import ctypes
import os
from pathlib import Path

import torch

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # mallopt's names for them (glibc's malloc.h)
LARGEST = 2**31 - 1  # [bytes], larger than any tensor of a batch


def keep_freed() -> None:
    """Let this process keep the memory that it frees, where the C library is glibc; elsewhere do nothing.

    Large arrays come fresh from the system otherwise, each time, and every page of theirs has to be cleared: 7 % of a
    training step on a CPU.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for threshold in (MMAP_THRESHOLD, TRIM_THRESHOLD):
            mallopt(threshold, LARGEST)


def available(device: torch.device) -> int:
    """Return the bytes that can still be had on a torch device: of a GPU, or of the host, which a job may limit."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # torch's own, kept for later
        return torch.cuda.mem_get_info(device)[0] + unused
    return min([_host_available(), *_limits(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))])


def _host_available() -> int:
    """Return the memory that the system calls available; where it does not say, all of it."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _limits(groups: Path, mounted: Path) -> list[int]:
    """Return the limits of this process's control groups [bytes], of version 1 or 2, where they are set."""
    limits = []
    for line in groups.read_text().splitlines() if groups.exists() else []:
        _, controllers, group = line.split(":", 2)
        own = Path(group.lstrip("/"))
        for folder in (own, *own.parents):
            name = mounted / folder / "memory.max"
            if "memory" in controllers.split(","):
                name = mounted / "memory" / folder / "memory.limit_in_bytes"
            if name.is_file() and (limit := name.read_text().strip()).isdigit():
                limits.append(int(limit))
    return limits
