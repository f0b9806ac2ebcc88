"""A plain install, not an editable one, has all modules and the YAML files."""

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile

import pytest
from conftest import ROOT

CODE = """
from cosmogan.config import configs_folder
from hpc.cluster.machines import load_cluster
print(list(load_cluster("slurm").stages), (configs_folder() / "demo.yaml").exists(), configs_folder())
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("setuptools") is None, reason="no setuptools to build a wheel with")
def test_a_wheel_has_every_module_and_finds_experiments_and_machines(tmp_path):
    source, site = tmp_path / "source", tmp_path / "site"
    for name in ("hpc", "cosmogan", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "-w", tmp_path, source]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    modules = {path.relative_to(source) for top in ("hpc", "cosmogan") for path in (source / top).rglob("*.py")}
    assert not [path for path in modules if not (site / path).exists()]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    for words in (["-c", CODE], ["-m", "hpc.launch", "--help"]):
        done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        if "-c" in words:
            expected = ["simulate", "preprocess", "train", "select", "sample", "validate", "report"]
            assert done.stdout == f"{expected} True {site / 'cosmogan' / 'configs'}\n"
