"""What memory there is; what the allocator is asked for, measured in a process of its own."""

import os
import subprocess
import sys

import torch
from conftest import environment

from hpc import memory

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


def test_what_is_available_is_bounded_by_the_machine_and_by_the_jobs_limit(tmp_path):
    assert 1e8 < memory.available(torch.device("cpu")) <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    job = tmp_path / "memory" / "slurm" / "job_1"
    (job / "step_0").mkdir(parents=True)
    (tmp_path / "of").mkdir()
    for path, limit in ((job / "memory.limit_in_bytes", "4000"), (job / "step_0" / "memory.limit_in_bytes", "9000")):
        path.write_text(limit + "\n")
    (tmp_path / "of" / "memory.max").write_text("max\n")
    (tmp_path / "groups").write_text("4:cpu,memory:/slurm/job_1/step_0\n1:cpu:/\n0::/of/mine\n")
    assert sorted(memory._limits(tmp_path / "groups", tmp_path)) == [4000, 9000]
    (tmp_path / "of" / "memory.max").write_text("3000\n")
    assert min(memory._limits(tmp_path / "groups", tmp_path)) == 3000
    assert memory._limits(tmp_path / "none", tmp_path) == []


def test_what_torch_keeps_of_a_gpu_unused_is_available(monkeypatch):
    for name, found in (("mem_get_info", (1000, 5000)), ("memory_reserved", 700), ("memory_allocated", 400)):
        monkeypatch.setattr(torch.cuda, name, lambda device, found=found: found)
    assert memory.available(torch.device("cuda")) == 1300
