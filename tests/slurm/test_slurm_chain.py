"""The real chain on a real SLURM: two nodes, a node that fails, training that is preempted twice."""

import json
import sys

import pytest
from conftest import until
from slurm_experiment import counted, write


def shard_checksums(folder):
    manifest = json.loads((folder / "run" / "shards" / "manifest.json").read_text())
    return {line["file"]: line["sha256"] for line in manifest["shards"]}


def weights(folder):
    return {path.name: path.read_bytes() for path in (folder / "run" / "train" / "generators").iterdir()}


@pytest.mark.slow
def test_a_chain_that_loses_a_node_and_is_preempted_twice_ends_as_an_undisturbed_run(cluster, tmp_path, mpirun):
    here, there = tmp_path / "here", tmp_path / "there"
    write(there, 40)

    def launch(*words):
        return cluster.call(sys.executable, "-m", "hpc.launch", *words, "--cluster", "cluster.yaml", cwd=there)

    said = launch("experiment.yaml")
    jobs = {line.split(":")[0]: line.split(": job ")[1].split()[0].strip(",") for line in said.splitlines()}
    assert list(jobs) == ["preprocess", "train", "select", "sample-parts", "sample", "validate", "report"]

    until(lambda: list(there.glob("run/shards/*.h5")), "the first shard")
    node = cluster.job(jobs["preprocess"])["BatchHost"]
    cluster.kill(node)
    assert len(list(there.glob("run/shards/*.h5"))) < 80
    cluster.start_again(jobs["preprocess"])
    cluster.wait(jobs["preprocess"], "COMPLETED")
    cluster.repair(node)

    began = 0
    for _ in range(2):
        until(lambda at=began: counted(there, "train") > at + 5, "training")
        urgent = ["--partition=high", "--nodes=3", "--exclusive", "--output=/dev/null", "--wrap", "true"]
        cluster.wait(cluster.call("sbatch", "--parsable", *urgent).strip(), "COMPLETED")
        began = counted(there, "train")
        cluster.start_again(jobs["train"])
    for stage in ("train", "select", "sample", "validate"):
        cluster.wait(jobs[stage], "COMPLETED")
    launch("cancel", "experiment.yaml")  # the report: its figures take long, and it is like any other job
    log = (there / "run" / "jobs" / "train" / jobs["train"] / f"{jobs['train']}_0_log.out").read_text()
    assert log.count("stopped by SIGTERM at step") == log.count("resuming at step") == 2
    lines = launch("status", "experiment.yaml").splitlines()[1:]
    assert all("done" in line.split() for line in lines[:-1]) and lines[-1].startswith("report")

    write(here, 40)
    for module in ("cosmogan.preprocess", "cosmogan.train"):
        done = mpirun(2, module, "experiment.yaml", cwd=here)
        assert done.returncode == 0, done.stderr
    assert shard_checksums(here) == shard_checksums(there)
    assert weights(here) == weights(there)
