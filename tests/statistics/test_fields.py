"""What the fields' module asks of the C library's allocator, seen in a process of its own."""

import platform
import subprocess
import sys

import pytest
from conftest import environment

WHERE = """
import torch
import cosmogan.statistics.fields
block = torch.empty(16 * 2**20, dtype=torch.uint8)
heap = next(line for line in open("/proc/self/maps") if line.endswith("[heap]\\n"))
first, last = (int(address, 16) for address in heap.split()[0].split("-"))
print(first <= block.data_ptr() < last)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc on this machine")
def test_fields_come_from_memory_that_is_kept():
    """What comes from the heap stays there when it is freed; larger blocks would be mapped, and unmapped."""
    assert subprocess.check_output([sys.executable, "-c", WHERE], env=environment(), text=True) == "True\n"
