import sys

import pytest
import torch
from conftest import run

from hpc import distributed
from hpc.distributed import Processes

SUM = """
import torch
from hpc import distributed
processes = distributed.join()
mean = processes.mean(torch.tensor([float(processes.rank)]))
flag = processes.any(processes.rank == 1, torch.device("cpu"))
each = processes.each(processes.rank == 1, lambda: "this one")
try:
    processes.each(processes.rank == 1, lambda: int("none"))
except (SystemExit, ValueError) as error:
    ended = processes.each(True, lambda: type(error).__name__)
if processes.rank == 0:
    print(processes.size, mean.item(), flag, each, ended)
distributed.leave()
"""
MET = "2 0.5 True [None, 'this one'] ['SystemExit', 'ValueError']\n"

LEFT = """
import torch.distributed as dist
from hpc import distributed
dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
print("said")
distributed.leave({status})
{then}
"""


@pytest.mark.parametrize(
    ("status", "then", "expected"),
    [(0, "", 0), (143, "raise SystemExit(143)", 143), (0, "raise ValueError('after')", 1)],
)
def test_a_process_that_left_ends_with_its_status(status, then, expected):
    script = LEFT.format(status=status, then=then)
    done = run([sys.executable, "-c", script])
    assert (done.returncode, done.stdout) == (expected, "said\n")
    assert ("ValueError: after" in done.stderr) == (expected == 1)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Processes()),
        ({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}, Processes(3, 8, 1)),
        ({"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALRANKID": "1"}, Processes(1, 2, 1)),
        (
            {"SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1", "SLURM_STEP_NUM_TASKS": "8"},
            Processes(5, 8, 1),
        ),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_LOCALID": "0"}, Processes()),  # a batch script
        (  # the shell that salloc opens where it is a step
            {"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_LOCALID": "0", "SLURM_STEP_NUM_TASKS": "1"},
            Processes(),
        ),
    ],
)
def test_the_launcher_is_recognised(environment, expected):
    assert distributed.find(environment) == expected


def test_torchrun_workers_meet(tmp_path):
    (tmp_path / "script.py").write_text(SUM)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = run([*launcher, tmp_path / "script.py"])
    assert done.stdout == MET, done.stderr


def test_mpirun_workers_meet_without_mpi4py(tmp_path, mpirun):
    (tmp_path / "script.py").write_text("import sys\nsys.modules['mpi4py'] = None\n" + SUM)
    done = mpirun(2, "script", cwd=tmp_path)
    assert done.stdout == MET, done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="device: expected a CUDA GPU"):
        Processes().device("cuda")
    assert Processes().device("auto").type == "cpu"


@pytest.mark.parametrize(
    ("device", "gpus", "here", "expected"),
    [("cuda", 4, 4, "nccl"), ("cuda", 1, None, "nccl"), ("cuda", 1, 2, "gloo"), ("cpu", 4, 2, "gloo")],
)
def test_processes_that_share_a_gpu_or_compute_on_cpus_are_joined_by_gloo(monkeypatch, device, gpus, here, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if here is not None:  # torchrun says how many it started
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(here))
    assert distributed.backend(torch.device(device)) == expected
