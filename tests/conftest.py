"""Give tests the real snapshots, and run commands as a user runs them."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
DATA = ROOT / "tests" / "data"
HANGS = 300  # seconds: what is not there by then never comes, on the busiest machine


if "PYTEST_XDIST_WORKER" in os.environ:  # tests run beside each other: none has all cores for itself
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch computes
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # before Triton is imported: its kernels run on the host
    with contextlib.suppress(ImportError):
        import triton  # noqa: F401, where it is imported before cosmogan, its kernels are there


def pytest_collection_modifyitems(items):
    """Begin with the tests of SLURM: they wait for most of their time, and others run meanwhile."""
    items.sort(key=lambda item: item.path.parent.name != "slurm")


@pytest.fixture
def data() -> Path:
    """The folder of real GADGET-2 snapshots."""
    return DATA


def environment(**more):
    """Return the environment of a user's command: the tests' Python first on PATH, one thread, this tree's packages."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    own = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    return {**own, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PATH": path, **more}


def run(arguments, cwd=None, **more):
    """Run a command to its end; return the finished process, with its text output."""
    return subprocess.run(
        [str(a) for a in arguments],
        cwd=cwd,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=False,
    )


def until(found, what=""):
    """Wait until a function returns something true, and return that; an AssertionError if it never does."""
    end = time.monotonic() + HANGS
    while time.monotonic() < end:
        result = found()
        if result:
            return result
        time.sleep(0.05)
    raise AssertionError(f"waited {HANGS} s for {what or found.__doc__ or found}")


@pytest.fixture
def python():
    """Run ``python -m module arguments`` as one plain process."""

    def call(module, *arguments, **options):
        return run([sys.executable, "-m", module, *arguments], **options)

    return call


@pytest.fixture
def launcher():
    """The path of mpirun, the one beside the tests' Python first."""
    beside = Path(sys.executable).parent / "mpirun"
    found = str(beside) if beside.exists() else shutil.which("mpirun")
    if found is None:
        pytest.skip("no mpirun on this machine")
    return found


@pytest.fixture
def mpirun(launcher):
    """Run ``mpirun -n ranks python -m module arguments``."""

    def call(ranks, module, *arguments, **options):
        return run([launcher, "-n", ranks, sys.executable, "-m", module, *arguments], **options)

    return call


@pytest.fixture
def frequent_records(monkeypatch):
    """Let training record its metrics every 5 steps."""
    monkeypatch.setattr("cosmogan.training.metrics.INTERVAL", 5)


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory):
    """The folder of the small experiment, trained to its end in this process."""
    from small_experiment import load

    from cosmogan.training.work import train
    from hpc.distributed import Processes

    folder = tmp_path_factory.mktemp("uninterrupted")
    train(load(folder), Processes())
    return folder


@pytest.fixture(scope="session")
def measured(tmp_path_factory):
    """A made-up run that was validated; the generated set has too much structure. Of the bispectra one is kept."""
    import synthetic

    from cosmogan import config, validate
    from cosmogan.shards import statistics_file
    from hpc.mpi import SerialComm

    experiment = config.load(synthetic.write_run(tmp_path_factory.mktemp("report"), amplitude=1.3))
    validate.validate(experiment, SerialComm())
    tree = statistics_file.read(experiment.statistics_path)
    few = {name: found for name, found in tree.items() if not re.search("_[1-9]$", name)}
    statistics_file.write(experiment.statistics_path, few | {"warnings": json.dumps(["the reference was trained on"])})
    return experiment


@pytest.fixture(scope="session")
def cluster():
    """A running SLURM of three nodes; the tests' Python comes first on PATH in its jobs."""
    import slurm_cluster

    why = slurm_cluster.missing()
    if why:
        pytest.skip(why)
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as folder:
        made = slurm_cluster.Cluster(Path(folder))
        first = os.pathsep.join([str(Path(sys.executable).parent), made.environment["PATH"]])
        made.environment |= {"PATH": first, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        made.environment["OMP_WAIT_POLICY"] = "PASSIVE"  # nodes have more CPUs than this machine: no spinning threads
        with made:
            yield made
