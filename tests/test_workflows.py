"""The examples of workflow engines run the smallest experiment to its report, by their local executors."""

import sys

import pytest
import tiny_experiment
from conftest import ROOT, run

from hpc.files import read_json

ENGINES = {
    "snakemake": ["-m", "snakemake", "--snakefile", ROOT / "examples/Snakefile", "--cores", "2", "--config"],
    "parsl": [ROOT / "examples/parsl_chain.py"],
}
ARGUMENTS = {"snakemake": ["experiment=tiny.yaml", "parts=2"], "parsl": ["tiny.yaml"]}


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_runs_the_chain(engine, tmp_path, launcher):
    pytest.importorskip(engine, reason="not installed; `make test` adds it where Python is 3.11 or newer")
    tiny_experiment.write(tmp_path)
    done = run([sys.executable, *ENGINES[engine], *ARGUMENTS[engine]], cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_json(tmp_path / "run/report/verdict.json")["run"] == "tiny"
    logs = done.stdout + done.stderr + "".join(path.read_text() for path in tmp_path.glob("runinfo/*/*/*/*.stdout"))
    assert all(f"simulate, part {i}/2: wrote {n} boxes" in logs for i, n in ((1, 2), (2, 1)))
    assert "on 2 MPI rank(s)" in logs
