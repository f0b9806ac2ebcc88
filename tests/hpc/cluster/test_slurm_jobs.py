"""The batch scripts that the launcher makes of the paper's recipe, against reviewed copies."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT, run

from hpc.cluster import slurm_jobs
from hpc.cluster.machines import load_cluster
from hpc.cluster.scheduler import Plan

GOLDEN = Path(__file__).parent / "golden"


def test_the_scripts_of_the_papers_recipe(tmp_path):
    """To renew it: write what this compares to the file, and look at the difference."""
    done = run(
        [sys.executable, "-m", "hpc.launch", ROOT / "configs" / "feder2020.yaml", "--cluster", "slurm", "--dry-run"],
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    text = done.stdout.replace(str(tmp_path.resolve()), "HERE").replace(sys.executable, "PYTHON")
    assert text == (GOLDEN / "feder2020.sbatch").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("sbatch: error: Invalid account or account/partition combination specified", "account: theirs"),
        ("sbatch: error: Requested node configuration is not available", "gpus_per_node: 4"),
        ("sbatch: error: Requested time limit is invalid (missing or exceeds some limit)", "minutes: 720"),
        ("sbatch: error: QOSMaxSubmitJobPerUserLimit", "extra: {}"),
        ("sbatch: error: Batch job submission failed: Invalid wckey specification", "extra: {}"),
    ],
)
def test_what_sbatch_complains_of_is_named(words, said):
    machine = load_cluster("slurm")
    machine = type(machine)(**{**vars(machine), "account": "theirs"})
    found = slurm_jobs.blame(f"noise\n{words}\n", machine, machine.stages["train"])
    assert found.startswith(words) and said in found


@pytest.mark.parametrize("path", sorted((ROOT / "slurm").glob("*.sh")), ids=lambda path: path.name)
def test_batch_scripts_are_short_and_have_their_resources_at_the_top(path):
    lines = path.read_text().splitlines()
    options = [i for i, line in enumerate(lines) if line.startswith("#SBATCH")]
    assert lines[0] == "#!/bin/bash" and lines[1].startswith(("# sbatch slurm/", "# sbatch --array"))
    assert len(lines) <= 25 and options == list(range(options[0], options[-1] + 1))
    assert any(re.fullmatch(r"#SBATCH --time=\d\d:00:00", line) for line in lines)


@pytest.mark.parametrize("extra", [{}, {"wckey": "theirs"}])
def test_a_wckey_is_in_a_script_only_when_the_cluster_sets_one(tmp_path, extra):
    machine = load_cluster("slurm")
    machine = type(machine)(**{**vars(machine), "extra": extra})
    plan = Plan(machine, SimpleNamespace(folder=tmp_path), [], machine.stages)
    text = slurm_jobs.script(plan, "train", machine.stages["train"], 1, None)
    assert re.findall("wckey=(.*)", text) == list(extra.values())
