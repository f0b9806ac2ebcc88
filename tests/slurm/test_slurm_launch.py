"""The launcher on a real SLURM: small commands, and all that a scheduler does to them."""

import sys
from datetime import datetime, timedelta

import pytest
import toy_chain
from conftest import until
from slurm_cluster import read


class Run:
    """An experiment of toy commands, and the launcher's command line for it."""

    def __init__(self, cluster, folder):
        self.cluster, self.folder = cluster, folder
        self.file = toy_chain.write(folder)

    def launch(self, *words, check=True, **environment):
        command = [sys.executable, "-m", "hpc.launch", *words, "--cluster", self.file]
        path = f"{self.folder}:{self.cluster.environment['PYTHONPATH']}"
        return self.cluster.call(*command, cwd=self.folder, check=check, PYTHONPATH=path, **environment)

    def submit(self, *words, **environment):
        """Submit the chain; return the numbers of the jobs."""
        said = self.launch("experiment.yaml", *words, **environment)
        return [line.split(": job ")[1].split()[0].strip(",") for line in said.splitlines() if ": job " in line]

    def status(self):
        """Return the lines of the table by stage."""
        lines = self.launch("status", "experiment.yaml").splitlines()[1:]
        return {line.split()[0]: " ".join(line.split()[1:]) for line in lines}

    def progress(self, name="first"):
        path = self.folder / "run" / "jobs" / f"{name}.progress.json"
        until(lambda: '"count": ' in read(path), "the command has begun")

    def begun(self, n):
        """Wait until a command was started for the n-th time."""
        until(lambda: (self.folder / "log.txt").exists() and len(toy_chain.log(self.folder)) == n, f"attempt {n}")
        self.progress()


@pytest.fixture
def toys(cluster, tmp_path):
    yield Run(cluster, tmp_path)
    cluster.empty()


def test_a_chain_runs_in_order_and_only_what_is_not_done_is_submitted(toys):
    outer = {"SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "1"}  # a job that launches another
    first, second = toys.submit("--watch", **outer)
    assert toys.cluster.state(second) == "COMPLETED"  # watching ends with the jobs
    assert [line.split()[0] for line in toy_chain.log(toys.folder)] == ["first", "second"]
    assert [line.split()[:2] for line in toys.status().values()] == [[first, "done"], [second, "done"]]
    assert "nothing to submit: every stage is done" in toys.launch("experiment.yaml")
    (toys.folder / "second.done").unlink()
    assert len(toys.submit()) == 1


def test_a_failure_is_named_with_its_log_and_the_same_command_completes_the_run(toys):
    first, second = toys.submit("first.fail")
    toys.cluster.wait(second, "CANCELLED")
    lines = toys.status()
    log = toys.folder / "run" / "jobs" / "first" / first / f"{first}_0_log.out"
    assert lines["first"].startswith(f"{first} failed") and f"failed with exit status 3; log: {log}" in lines["first"]
    assert lines["second"].startswith(f"{second} cancelled") and "what it waited for failed" in lines["second"]
    assert "error: first: failed with exit status 3" in log.read_text()
    said = toys.launch("status", "experiment.yaml", "--watch", check=False)
    assert said.endswith(f"error: first: failed with exit status 3; log: {log}\n")
    toys.cluster.wait(toys.submit()[-1], "COMPLETED")


def test_two_launches_of_one_run_and_an_end(toys):
    first, second = toys.submit("first.hang")
    toys.progress()
    said = toys.launch("experiment.yaml", check=False)
    assert f"jobs of this run are in the queue ({first}, {second})" in said
    lines = toys.status()
    assert "running" in lines["first"] and "5 % (1 of 20 things)" in lines["first"]
    assert "pending" in lines["second"] and "waits: Dependency" in lines["second"]
    assert "cancelled 2 job(s)" in toys.launch("cancel", "experiment.yaml")
    toys.cluster.wait(first, "CANCELLED")
    until(lambda: first not in toys.cluster.queue())
    assert "cancelled; log: " in toys.status()["first"]
    toys.cluster.wait(toys.submit()[-1], "COMPLETED")  # a dead job's claim holds nothing back


def test_out_of_time_it_saves_and_goes_on_as_the_same_job(toys):
    first, second = toys.submit("first.stop=3", "keep", "rough")  # it ends with status 1, as what mpirun started may
    toys.progress()
    toys.cluster.call("scancel", "--batch", "--signal=USR2", first)  # as SLURM does before the time is up
    toys.cluster.start_again(first)
    toys.cluster.wait(second, "COMPLETED")
    assert [line.split()[0] for line in toy_chain.log(toys.folder)] == ["first", "first", "second"]


def test_no_endless_requeue(toys):
    first, _ = toys.submit("first.hang")
    for attempt in (1, 2):
        toys.begun(attempt)
        toys.cluster.call("scancel", "--batch", "--signal=USR2", first)
        toys.cluster.start_again(first)
    toys.cluster.wait(first, "FAILED")
    assert "begins at 0 of 20 (first) for the third time: two attempts got no further" in toys.status()["first"]


@pytest.mark.parametrize("start", ["process", "torch"])  # torch: by srun
def test_other_jobs_take_its_nodes(toys, start):
    toys.file = toy_chain.write(toys.folder, first={"start": start})
    first, second = toys.submit("first.stop=3", "keep")
    toys.progress()
    urgent = ["sbatch", "--parsable", "--partition=high", "--nodes=3", "--exclusive", "--output=/dev/null"]
    taker = toys.cluster.call(*urgent, "--wrap", "sleep 1").strip()
    toys.cluster.wait(taker, "COMPLETED")
    submitted, started = (datetime.fromisoformat(toys.cluster.job(taker)[at]) for at in ("SubmitTime", "StartTime"))
    assert started - submitted < timedelta(seconds=20)  # KillWait, 30 s, is for jobs that do not end by themselves
    toys.cluster.start_again(first)
    toys.cluster.wait(second, "COMPLETED")
    assert (toys.folder / "first.kept").read_text() == "10"


def test_killed_for_memory(toys):
    toys.file = toy_chain.write(toys.folder, first={"memory_gb": 1})
    _, second = toys.submit("first.eat")
    toys.cluster.wait(second, "CANCELLED")
    assert "memory" in toys.status()["first"] and "log: " in toys.status()["first"]


def test_a_failed_node_and_the_job_begins_again_elsewhere(toys):
    first, second = toys.submit("first.stop=3", "keep")
    toys.progress()
    (toys.folder / "first.kept").write_text("10")
    node = toys.cluster.job(first)["BatchHost"]
    toys.cluster.kill(node)
    try:
        toys.cluster.start_again(first)
        toys.cluster.wait(second, "COMPLETED")
        assert toys.cluster.job(first)["BatchHost"] != node
        assert [line.split()[0] for line in toy_chain.log(toys.folder)] == ["first", "first", "second"]
    finally:
        toys.cluster.repair(node)


def test_arrays_are_as_large_as_the_site_allows(toys):
    toys.file = toy_chain.write(toys.folder, first={"array": 6})
    assert "#SBATCH --array=0-3%" in toys.launch("experiment.yaml", "--dry-run")
    lost, finish, second = toys.submit("first.lose=2")
    toys.cluster.wait(second, "CANCELLED")
    log = toys.folder / "run" / "jobs" / "first-parts" / f"{lost}_1" / f"{lost}_1_0_log.out"
    lines = [line.split() for line in toys.launch("status", "experiment.yaml").splitlines()[1:]]
    assert [" ".join([*words[:3], *words[4:]]) for words in lines] == [
        f"first-part-2 {lost}_1 failed failed with exit status 3; log: {log}",
        f"first {finish} cancelled what it waited for failed",
        f"second {second} cancelled what it waited for failed",
    ]
    (toys.folder / "log.txt").unlink()
    _, finish, second = toys.submit()
    toys.cluster.wait(second, "COMPLETED")
    lines = [line.split(" ", 1) for line in toy_chain.log(toys.folder)]
    parts = sorted(eval(words)[-1] for name, words in lines[:-2] if name == "first")  # MaxArraySize is 5: 4 tasks
    assert parts == ["--part=1/4", "--part=2/4", "--part=3/4", "--part=4/4"]
    assert lines[-2:] == [["first", "[]"], ["second", "[]"]]
    assert toys.status()["first"].startswith(f"{finish} done")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"partition": "nowhere"}, "Invalid partition name specified (asked for: partition: nowhere)"),
        ({"first": {"gpus_per_node": 9}}, "gpus_per_node: 9"),
    ],
)
def test_what_sbatch_refuses_is_said_with_the_setting(toys, options, message):
    toys.file = toy_chain.write(toys.folder, **options)
    said = toys.launch("experiment.yaml", check=False)
    assert said.startswith("error: first: sbatch: error:") and message in said and said.count("\n") == 1
    assert not toys.cluster.queue()


def test_a_stage_without_its_input_is_refused(toys):
    said = toys.launch("experiment.yaml", "--stage", "second", check=False)
    assert said.startswith("error: --stage second: its input is not there: first is not done")


def test_two_jobs_of_several_processes_on_one_node_do_not_meet(cluster, tmp_path):
    runs, jobs = [], []
    for name in ("10", "20"):
        (tmp_path / name).mkdir()
    for name in ("10", "20"):
        runs.append(Run(cluster, tmp_path / name))
        stage = {"start": "torch", "tasks_per_node": 2}
        runs[-1].file = toy_chain.write(tmp_path / name, extra={"nodelist": "node1"}, first=stage)
        jobs.append(runs[-1].submit("--stage", "first", "first.meet")[0])
    for run, job, total in zip(runs, jobs, (20, 40), strict=True):
        cluster.wait(job, "COMPLETED", "FAILED")
        log = run.folder / "run" / "jobs" / "first" / job / f"{job}_0_log.out"
        assert log.read_text().count(f"met 2.0 {total}.0\n") == 2
