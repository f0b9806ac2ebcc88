"""Whether a box fits the memory: said before it starts."""

import sys

import conftest
import pytest
import torch

from cosmogan import config
from cosmogan.nbody import particle_mesh
from cosmogan.simulations import box

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def experiment(n_particles=512, mesh_factor=2):
    settings = config.Simulate(n_particles=n_particles, mesh_factor=mesh_factor)
    return config.Experiment(name="large", output="nowhere", simulate=settings)


@pytest.fixture
def free(monkeypatch):
    """Set what a device has free [GB]."""
    return lambda found: monkeypatch.setattr(box.memory, "available", lambda device: found * 1e9)


def test_what_fits_is_left_as_it_is(free):
    free(40)
    for device in (CPU, GPU):
        assert box.fitting(experiment().simulate, device) == experiment().simulate


def test_a_small_gpu_gets_a_coarse_mesh_and_says_so(free, capsys):
    free(16)
    assert box.fitting(experiment().simulate, GPU) == experiment(mesh_factor=1).simulate
    printed = capsys.readouterr().out
    assert printed.startswith("warning: simulate.mesh_factor: 2 needs 28.3 GB, found 16 GB free on cuda; taking 1")


def test_what_does_not_fit_is_refused_with_what_would(free):
    free(8)
    with pytest.raises(ValueError, match=r"512³ particles with a force mesh of 1024³ cells: needs 10.7 GB") as refused:
        box.fitting(experiment().simulate, CPU)
    assert "found 8 GB free on cpu; expected at most 464³ particles, or more memory" in str(refused.value)
    assert box.fitting(experiment(464).simulate, CPU) == experiment(464).simulate
    free(16)
    with pytest.raises(ValueError, match=r"expected at most 406³ particles, simulate\.mesh_factor=1"):
        box.fitting(experiment().simulate, GPU, fixed=True)  # boxes of one run have one mesh
    free(1)
    with pytest.raises(ValueError, match=r"expected at most 135³ particles, or more memory$"):
        box.fitting(experiment().simulate, GPU)


PEAKS = """
from pathlib import Path
import numpy as np
import torch
from cosmogan.nbody import lpt, particle_mesh
for n in (16, 96):
    x, v = lpt.displace(lpt.unit_modes(n, 1, 0), 64.0, 0.02, 0.3)
    for _ in particle_mesh.evolve(x, v, np.array([0.5, 0.6]), 64.0, 2 * n, 0.3):
        pass
    status = Path("/proc/self/status").read_text()  # the resource module's figure is at least that of who started this
    print(1024 * int(status.partition("VmHWM:")[2].split()[0]))
"""


def test_a_run_takes_what_is_said():
    """96³ particles in a process of its own: its largest resident size, less that with a tiny box.

    Arrays over 1 MB go back to the system when they are freed, as all above 32 MB do: glibc's own limit moves.
    """
    done = conftest.run([sys.executable, "-c", PEAKS], MALLOC_MMAP_THRESHOLD_=str(2**20))
    small, large = map(int, done.stdout.split())
    assert 0.7 < (large - small) / particle_mesh.memory(96**3, 192, on_gpu=False) < 1.25
