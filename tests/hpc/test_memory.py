"""What the allocator is asked for, measured in a process of its own."""

import subprocess
import sys

from conftest import environment

FAULTS = """
import resource
import numpy as np
from hpc import memory
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def use():
    before = faults()
    for _ in range(20):
        np.empty(10_000_000, np.float32).fill(1)
    return faults() - before
use()
fresh = use()
memory.keep_freed()
use()
print(fresh, use())
"""


def test_memory_that_was_freed_is_used_again():
    done = subprocess.run([sys.executable, "-c", FAULTS], env=environment(), capture_output=True, text=True)
    fresh, kept = map(int, done.stdout.split())
    assert fresh > 150 and kept < fresh / 20, done
