"""What this process asks of the C library's allocator."""

import ctypes

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
