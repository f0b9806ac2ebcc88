"""The wheel that `make wheel` builds: for every Python, and used with neither a compiler nor the repository."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT, environment
from preprocess_experiment import grid, write_config

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("build") is None or find_spec("auditwheel") is None,
        reason="no build and auditwheel here, which the extra `test` brings",
    ),
]
NO_SOURCES = (".*", "__pycache__", "*.so", "*.egg-info", "build", "dist", "runs", "shared")
CODE = """
import cosmogan, cosmogan.config, hpc.cluster.machines
print(cosmogan.__file__, cosmogan.config.configs_folder(), *hpc.cluster.machines.load_cluster("slurm").stages)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder in which `make wheel` left the wheel and the source distribution."""
    source = tmp_path_factory.mktemp("wheel") / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*NO_SOURCES))
    command = ["make", "wheel", f"PYTHON={sys.executable}"]
    done = subprocess.run(command, cwd=source, env=environment(PYTHONPATH=""), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return source / "dist"


@pytest.fixture(scope="module")
def python(built, tmp_path_factory):
    """The Python of an environment with the wheel: what it depends on is taken from the tests' environment."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, symlinks=True)
    installed = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", installed, "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, *built.glob("*.whl")], check=True, env=away())
    (site,) = folder.glob("lib/*/site-packages")
    others = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (site / "others.pth").write_text("\n".join(others))  # their own .pth files, as of this repository, are not read
    return installed


def away():
    """Return an environment that has no compiler and does not know of this repository."""
    mpi = f"{sys.prefix}/lib:{os.environ.get('LD_LIBRARY_PATH', '')}"  # where the tests' mpi4py finds its library
    return environment(PYTHONPATH="", CC="/bin/false", CXX="/bin/false", LD_LIBRARY_PATH=mpi)


def run(*command, cwd):
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=away(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_wheel_is_for_every_python_and_for_any_linux_since_2018(built):
    (wheel,) = built.glob("*.whl")
    assert "-py3-none-" in wheel.name
    glibc = [int(minor) for minor in re.findall(r"manylinux_2_(\d+)_", wheel.name)]
    assert sys.platform != "linux" or min(glibc) <= 28


def test_a_wheel_has_every_module_and_what_an_index_shows(built):
    source = built.parent
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
        (about,) = (wheel.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
    modules = {str(path.relative_to(source)) for top in ("hpc", "cosmogan") for path in (source / top).rglob("*.py")}
    assert modules | {"cosmogan/py.typed", "hpc/py.typed", "cosmogan/nbody/_kernels.so"} <= names
    assert any(name.endswith("/LICENSE") for name in names)
    assert "\nDescription-Content-Type: text/markdown\n" in about
    assert "![" not in about and not re.search(r"\]\((?!https?://)", about)  # an index has no file beside the page


def test_the_source_distribution_has_what_the_repository_has(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expected = {"LICENSE", "README.md", "Makefile", "cosmogan/nbody/_located.h", "configs/cluster/slurm.yaml"}
    assert expected | {"slurm/train.sh", "scripts/install.sh", "docs/clusters.md", "tests/test_wheel.py"} <= names


def test_an_installed_wheel_finds_experiments_and_machines(python, tmp_path):
    package, configs, *stages = run(python, "-c", CODE, cwd=tmp_path).split()
    assert Path(package).is_relative_to(python.parent.parent) and Path(configs, "demo.yaml").exists()
    assert stages == ["simulate", "preprocess", "train", "select", "sample", "validate", "report"]


def test_an_installed_wheel_draws_from_its_generator(python, tmp_path):
    run(python.with_name("cosmogan"), "sample", "--pretrained", "-n", 8, "--figure", "web.png", cwd=tmp_path)
    assert (tmp_path / "web.png").read_bytes().startswith(b"\x89PNG")


def test_an_installed_wheel_grids_snapshots_on_mpi_ranks(python, launcher, data, tmp_path):
    config = write_config(tmp_path, [data / "g2_32_mpc_f1" / "snapshot_006"], length_unit="Mpc/h")
    run(launcher, "-n", 4, python, "-m", "cosmogan.preprocess", config, cwd=tmp_path)
    assert grid(tmp_path / "run" / "shards").mean() == pytest.approx(1, rel=1e-6)
