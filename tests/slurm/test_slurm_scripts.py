"""The batch scripts as they stand, on a real SLURM."""

import shutil
import sys

from conftest import ROOT, run, until
from slurm_experiment import counted, write


def submit(cluster, folder, script, *words, options=()):
    """Submit a batch script as it stands, from a folder that it does not lie in; return the job's number."""
    scripts = folder.parent / f"{folder.name} a checkout" / "slurm"
    shutil.copytree(ROOT / "slurm", scripts, dirs_exist_ok=True)
    return cluster.call("sbatch", "--parsable", *options, scripts / f"{script}.sh", *words, cwd=folder).strip()


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


def test_parts_of_a_stage_at_once(cluster, tmp_path):
    write(tmp_path, 3)
    options = ("--nodes=1", "--ntasks-per-node=1")
    parts = (["--part", "1/2"], ["--part=2/2"])
    jobs = [submit(cluster, tmp_path, "preprocess", "experiment.yaml", *part, options=options) for part in parts]
    assert [cluster.wait(job, "COMPLETED", "FAILED") for job in jobs] == ["COMPLETED"] * 2
    assert len(list((tmp_path / "run" / "shards").glob("*.h5"))) == 6


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
    assert "resumes as job" in said
    again = said.split("resumes as job ")[1].split()[0]
    cluster.wait(again, "COMPLETED")
    assert "resuming at step" in (tmp_path / "run" / "jobs" / f"train-{again}.log").read_text()
    assert cluster.job(again)["TimeLimit"] == "00:30:00"
