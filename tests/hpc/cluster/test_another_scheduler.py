"""Another scheduler is a class and a line of the table: here a queue of this test's own."""

import json
import sys
from types import SimpleNamespace

import pytest
import yaml

from hpc import launch
from hpc.cluster import machines, submission
from hpc.cluster.scheduler import Queue, Refused, State
from hpc.settings import SettingsError

WORK = """
from pathlib import Path
from types import SimpleNamespace

def read(arguments):
    return SimpleNamespace(folder=Path("run"))

def stage(experiment):
    return SimpleNamespace(is_done=lambda: False, parts=lambda: 7, workplace=experiment.folder)
"""


class Toy(Queue):
    """Numbers its jobs and runs none."""

    cancel_command = "toydel"
    most, lacks = 99, ""

    def __init__(self):
        self.jobs, self.cancelled = {}, []

    def missing(self):
        return self.lacks

    def preview(self, plan):
        return submission.preview(plan, self)

    def launch(self, plan):
        return submission.launch(plan, self)

    def script(self, plan, label, stage, n, after):
        return f"{n} after {after}"

    def submit(self, plan, label, work, after):
        if len(self.jobs) + len(work) > self.most:
            raise Refused("toysub: too many jobs")
        number = 10 + len(self.jobs)
        names = [f"{number}_{i}" if len(work) > 1 else str(number) for i in range(len(work))]
        self.jobs |= {job: (item.name, item.arguments[1:], after) for job, item in zip(names, work, strict=True)}
        return [SimpleNamespace(job_id=job, paths=SimpleNamespace(stdout=f"{job}.log")) for job in names]

    def largest_array(self, stages):
        return 3

    def states(self, jobs):
        return {
            job: State("held", "waiting", "0:01", "rain") for job in jobs if job.split("_")[0] not in self.cancelled
        }

    def cancel(self, jobs):
        self.cancelled += jobs


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A toy in the table of schedulers, its machine's file, and an experiment whose second stage has parts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "toy_work.py").write_text(WORK)
    stages = {"first": {"module": "toy_work"}, "second": {"module": "toy_work", "array": 5}}
    machine = {"executor": "toy", "experiment": "toy_work:read", "stages": stages}
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(machine, sort_keys=False))
    (tmp_path / "experiment.yaml").write_text("{}")
    monkeypatch.setitem(machines.QUEUES, "toy", Toy())
    return machines.QUEUES["toy"]


def test_jobs_wait_for_one_another_and_their_states_are_shown(toy, monkeypatch, capsys):
    assert [job.job_id for job in launch.launch("experiment.yaml", "cluster.yaml")] == list(toy.jobs)
    assert toy.jobs == {
        "10": ("first", [], None),
        **{f"11_{i}": (f"second-part-{i + 1}", [f"--part={i + 1}/3"], "10") for i in range(3)},
        "14": ("second", [], "11"),
    }
    with pytest.raises(ValueError, match=r"jobs of this run are in the queue \(10, 11_0, 11_1, 11_2, 14\)"):
        launch.launch("experiment.yaml", "cluster.yaml")
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["hpc.launch", "status", "experiment.yaml", "--cluster", "cluster.yaml"])
    launch.main("python -m hpc.launch")
    assert [line.split() for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["first", "10", "held", "0:01", "waits:", "rain"],
        ["second-part-1…3", "11_0…2", "held", "0:01", "waits:", "rain"],
        ["second", "14", "held", "0:01", "waits:", "rain"],
    ]
    sys.argv.append("--json")
    launch.main("python -m hpc.launch")
    told = json.loads(capsys.readouterr().out)
    line = {"stage": "second", "job": "14", "state": "held", "elapsed": "0:01", "what": "waits: rain"}
    assert told["folder"] == "run" and len(told["stages"]) == 3 and told["stages"][2] == line


def test_when_one_job_is_refused_none_is_left(toy):
    toy.most = 3
    with pytest.raises(ValueError, match="second: toysub: too many jobs; nothing was submitted"):
        launch.launch("experiment.yaml", "cluster.yaml")
    assert toy.cancelled == ["10"]


def test_it_is_asked_for_on_a_machine_that_has_it(toy, capsys):
    launch.launch("experiment.yaml", "cluster.yaml", stage="first", dry_run=True)
    assert capsys.readouterr().out == "### first\n1 after None"
    toy.lacks = "no toys on this machine"
    with pytest.raises(ValueError, match=r"--cluster cluster\.yaml: no toys on this machine; run this on the cluster"):
        launch.launch("experiment.yaml", "cluster.yaml")


def test_a_scheduler_that_is_not_in_the_table_is_refused(tmp_path):
    (tmp_path / "c.yaml").write_text("executor: pbs\nexperiment: m:read\nstages: {}")
    with pytest.raises(SettingsError, match=r"c\.yaml: executor: expected one of local, debug, slurm, found 'pbs'"):
        machines.load_cluster(tmp_path / "c.yaml")
