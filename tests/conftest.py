"""What several tests share: the real snapshots, and commands run as a user runs them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"


@pytest.fixture
def data() -> Path:
    """The folder of real GADGET-2 snapshots."""
    return DATA


def run(arguments, cwd=None, timeout=120, **environment):
    """Run a command with the tests' Python first on PATH; return the finished process, with its text output."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent.parent), "PATH": path}
    return subprocess.run(
        [str(a) for a in arguments],
        cwd=cwd,
        env={**variables, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture
def python():
    """Run ``python -m module arguments`` as one plain process."""

    def call(module, *arguments, **options):
        return run([sys.executable, "-m", module, *arguments], **options)

    return call


@pytest.fixture
def mpirun():
    """Run ``mpirun -n ranks python -m module arguments``."""
    beside = Path(sys.executable).parent / "mpirun"
    launcher = str(beside) if beside.exists() else shutil.which("mpirun")
    if launcher is None:
        pytest.skip("no mpirun on this machine")

    def call(ranks, module, *arguments, **options):
        return run([launcher, "-n", ranks, sys.executable, "-m", module, *arguments], **options)

    return call
