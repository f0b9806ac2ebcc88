"""The real chain on a real SLURM: two nodes, a node that fails, training that is preempted twice; and plain sbatch."""

import json
import sys

import pytest
import yaml
from conftest import DATA, ROOT, run, until
from slurm_cluster import read

STAGES = {
    "preprocess": {"nodes": 2, "tasks_per_node": 2, "minutes": 10},
    "train": {"nodes": 2, "gpus_per_node": 4, "minutes": 20},
    "select": {"tasks_per_node": 2, "minutes": 10},
    "sample": {"minutes": 10, "array": 2},
    "validate": {"nodes": 2, "minutes": 10},
}


def write(folder, n_snapshots):
    """Write an experiment on real snapshots, many of them the same one, with ``folder/run`` as its output."""
    folder.mkdir(parents=True, exist_ok=True)
    real = DATA / "g2_32_mpc_f1" / "snapshot_006"
    links = folder.parent / "snapshots"
    links.mkdir(exist_ok=True)
    for number in range(n_snapshots):
        if not (links / f"box-{number:03d}").exists():
            (links / f"box-{number:03d}").symlink_to(real)
    tree = {
        "name": "real",
        "output": "run",
        "held_out": [n_snapshots - 1],
        "preprocess": {
            "snapshots": [str(links / f"box-{number:03d}") for number in range(n_snapshots)],
            "n_mesh": 32,
            "subvolume": 8,
            "shards": 2,
        },
        "model": {"kappa": 4, "width": 8, "latent_dimension": 16, "density_bias": True},
        "train": {"epochs": 8, "ema": 200, "device": "cpu", "epoch_repeats": 1, "batch_norm_group": 4},
        "select": {"n_samples": 16, "n_tune": 16},
        "sample": {"n_samples": 48, "samples_per_shard": 20},
        "validate": {"n_k": 4},
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(tree))
    cluster = {"defaults": str(ROOT / "configs" / "cluster" / "chain.yaml"), "executor": "slurm", "stages": STAGES}
    (folder / "cluster.yaml").write_text(yaml.safe_dump(cluster))


def counted(folder, stage):
    """Return how far a stage is, 0 before it has begun."""
    text = read(folder / "run" / "jobs" / f"{stage}.progress.json")
    return json.loads(text)[-1]["count"] if text else 0


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


def submit(cluster, folder, script, *words, options=()):
    """Submit a batch script as it stands, from a folder that has ``slurm/`` in it; return the job's number."""
    if not (folder / "slurm").exists():
        (folder / "slurm").symlink_to(ROOT / "slurm")
    return cluster.call("sbatch", "--parsable", *options, f"slurm/{script}.sh", *words, cwd=folder).strip()


def test_batch_scripts_as_they_stand(cluster, tmp_path):
    """With no CONFIG they take cosmogan.yaml; resources are those of the scripts, where the nodes have them."""
    write(tmp_path, 3)
    (tmp_path / "experiment.yaml").rename(tmp_path / "cosmogan.yaml")
    small = ("--ntasks-per-node=2",)
    first = submit(cluster, tmp_path, "preprocess", options=("--nodes=2", *small))
    cluster.wait(first, "COMPLETED", "FAILED")
    log = tmp_path / "run" / "jobs" / f"preprocess-{first}.log"
    assert "on 4 MPI rank(s)" in log.read_text()
    assert (tmp_path / f"preprocess-{first}.log").read_text().endswith(f"preprocess: job {first}; log: {log}\n")
    second = submit(cluster, tmp_path, "train", "train.epochs=1")
    cluster.wait(second, "COMPLETED", "FAILED")
    assert (
        cluster.state(second) == "COMPLETED" and "finished 1 epochs" in (log.parent / f"train-{second}.log").read_text()
    )


def test_two_jobs_of_one_stage(cluster, tmp_path):
    write(tmp_path, 3)
    options = ("--nodes=1", "--ntasks-per-node=1")
    job = submit(cluster, tmp_path, "preprocess", "experiment.yaml", options=options)
    cluster.wait(job, "COMPLETED")
    hold = cluster.call("sbatch", "--parsable", "--output=/dev/null", "--wrap", "sleep 600").strip()
    cluster.wait(hold, "RUNNING")
    (tmp_path / "run" / "jobs" / ".train.claim").symlink_to(hold)  # as a job that trains here leaves it
    second = submit(cluster, tmp_path, "train", "experiment.yaml", options=options)
    cluster.wait(second, "FAILED")
    said = (tmp_path / f"train-{second}.log").read_text().splitlines()[-1]
    assert said.startswith("error: run: job") and f"job {hold} (running) does the same here" in said
    cluster.call("scancel", hold)


def test_where_requeue_is_not_allowed_the_script_submits_itself(cluster, tmp_path):
    write(tmp_path, 3)
    options = ("--nodes=1", "--ntasks-per-node=1", "--no-requeue", "--time=30")
    done = run([sys.executable, "-m", "cosmogan.preprocess", "experiment.yaml"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    job = submit(cluster, tmp_path, "train", "experiment.yaml", "train.epochs=60", options=options)
    until(lambda: counted(tmp_path, "train") > 2, "training")
    cluster.call("scancel", "--batch", "--signal=USR1", job)  # as --signal does before the time is up
    cluster.wait(job, "FAILED", "COMPLETED")
    said = (tmp_path / "run" / "jobs" / f"train-{job}.log").read_text().splitlines()[-1]
    assert "goes on as job" in said
    again = said.split("goes on as job ")[1].split()[0]
    cluster.wait(again, "COMPLETED")
    assert "resuming at step" in (tmp_path / "run" / "jobs" / f"train-{again}.log").read_text()
    assert cluster.job(again)["TimeLimit"] == "00:30:00"
