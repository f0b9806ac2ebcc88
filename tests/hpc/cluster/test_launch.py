"""Chains of small commands, started by every executor that needs no scheduler."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from hpc import chain, launch
from hpc.cluster import submission
from hpc.cluster.local import Local
from hpc.cluster.machines import load_cluster
from hpc.cluster.scheduler import Work
from hpc.cluster.slurm import Slurm
from hpc.cluster.slurm_jobs import SlurmJob
from hpc.settings import SettingsError

READER = """
from pathlib import Path
from types import SimpleNamespace
from hpc import settings

def read(arguments):
    tree = settings.read_tree(Path(arguments[0]))
    return SimpleNamespace(folder=Path(tree["output"]))
"""

COMMAND = """
import os, sys
from pathlib import Path
from types import SimpleNamespace

def stage(experiment):
    return SimpleNamespace(is_done=Path("{name}.done").exists)

def main():
    from hpc import distributed, mpi
    world = {{"process": mpi.SerialComm, "mpi": mpi.world, "torch": distributed.join}}[{start!r}]()
    if "fail=1" in sys.argv:
        raise SystemExit(3)
    with open(Path(sys.argv[1]).parent / "log.txt", "a") as file:
        file.write(f"{name} {{world.rank}} of {{world.size}} {{os.environ['OMP_NUM_THREADS']}} {{sys.argv[2:]}}\\n")
    distributed.leave()

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """A chain of three commands, one of each way to start, and an experiment for it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    stages = {}
    for start, tasks in (("process", 1), ("mpi", 2), ("torch", 2)):
        (tmp_path / f"do_{start}.py").write_text(COMMAND.format(name=f"do_{start}", start=start))
        stages[start] = {"module": f"do_{start}", "start": start, "tasks_per_node": tasks, "minutes": 10}
    (tmp_path / "reader.py").write_text(READER)
    for executor in ("local", "debug", "slurm"):
        machine = yaml.safe_dump({"executor": executor, "experiment": "reader:read", "stages": stages}, sort_keys=False)
        (tmp_path / f"{executor}.yaml").write_text(machine)
    (tmp_path / "experiment.yaml").write_text("output: run\n")
    return tmp_path


def lines(folder):
    return sorted((folder / "log.txt").read_text().splitlines())


def test_local_runs_the_chain_in_order_each_stage_in_its_own_way(experiment, capsys):
    jobs = launch.launch("experiment.yaml", "local.yaml", overrides=["a.b=1"])
    assert [job.done() for job in jobs] == [True] * 3
    overrides = "['a.b=1']"
    expected = ["do_process 0 of 1 1", *(f"do_{s} {r} of 2 1" for s in ("mpi", "torch") for r in (0, 1))]
    assert lines(experiment) == sorted(f"{line} {overrides}" for line in expected)
    ranks = [line.split()[0] for line in (experiment / "log.txt").read_text().splitlines()]
    assert ranks == ["do_process", "do_mpi", "do_mpi", "do_torch", "do_torch"]
    assert (experiment / "run" / "jobs" / "mpi").is_dir()
    assert "torch: job" in capsys.readouterr().out


def test_one_stage_alone(experiment):
    launch.launch("experiment.yaml", "local.yaml", stage="process")
    assert lines(experiment) == ["do_process 0 of 1 1 []"]


def test_debug_runs_every_stage_in_this_process(experiment):
    launch.launch("experiment.yaml", "debug.yaml")
    assert lines(experiment) == [f"do_{s} 0 of 1 1 []" for s in ("mpi", "process", "torch")]


@pytest.mark.parametrize("cluster", ["local.yaml", "debug.yaml"])
@pytest.mark.parametrize("stage", ["process", "torch"])
def test_a_failing_stage_is_named_with_its_log(experiment, cluster, stage):
    for name in ("process", "mpi")[: 2 if stage == "torch" else 0]:
        (experiment / f"do_{name}.done").touch()
    with pytest.raises(RuntimeError, match=f"{stage}: failed; log: ") as failure:
        launch.launch("experiment.yaml", cluster, stage=stage, overrides=["fail=1"])
    log = str(failure.value).split("; ")[1].removeprefix("log: ")
    assert Path(log).exists() if cluster == "local.yaml" else log == "above"


def test_a_failing_stage_ends_the_chain(experiment, python):
    done = python("hpc.launch", "experiment.yaml", "fail=1", "--cluster", "local.yaml", cwd=experiment)
    assert done.returncode == 1 and "error: process: failed; log: " in done.stderr
    assert "mpi: job" not in done.stdout


SAVES = """
import signal, sys, time
from pathlib import Path
from types import SimpleNamespace

def stage(experiment):
    return SimpleNamespace(is_done=lambda: False)

def stopped(number, frame):
    Path("saved").touch()
    sys.exit(143)

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stopped)
    Path("begun").touch()
    time.sleep(60)
"""


def test_a_launch_that_is_asked_to_end_asks_its_job_and_waits_until_it_has_saved(experiment):
    (experiment / "do_process.py").write_text(SAVES)
    command = [sys.executable, "-m", "hpc.launch", "experiment.yaml", "--cluster", "local.yaml"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as launched:
        while not (experiment / "begun").exists():
            assert launched.poll() is None
            time.sleep(0.05)
        launched.terminate()
        assert "run the same command again" in launched.communicate(timeout=60)[1]
    assert launched.returncode == 143 and (experiment / "saved").exists()


def test_a_requeued_job_is_the_same_job(tmp_path):
    work = Work("train", chain.Command("m", "torch", tasks_per_node=2), ["c.yaml"], tmp_path, None)
    assert SlurmJob(work, Slurm()).checkpoint().function.work == work


def test_what_is_done_is_left_out(experiment):
    (experiment / "do_process.done").touch()
    launch.launch("experiment.yaml", "debug.yaml", stage="mpi")
    assert lines(experiment) == ["do_mpi 0 of 1 1 []"]
    with pytest.raises(ValueError, match="--stage torch: its input is not there: mpi is not done"):
        launch.launch("experiment.yaml", "debug.yaml", stage="torch")


def test_a_dry_run_prints_what_would_run(experiment, capsys):
    launch.launch("experiment.yaml", "local.yaml", dry_run=True)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 3 and said[1].split()[-2:] == ["do_mpi", str(experiment / "experiment.yaml")]
    launch.launch("experiment.yaml", "slurm.yaml", dry_run=True)
    assert capsys.readouterr().out.count("#SBATCH --job-name=") == 3
    assert not (experiment / "log.txt").exists() and not (experiment / "run").exists()


def test_a_dry_run_has_arrays_as_large_as_slurm_allows_where_it_answers(experiment, monkeypatch, capsys):
    def silent(slurm, stages):
        raise OSError("Unable to contact slurm controller")

    monkeypatch.setattr(chain.Command, "parts", lambda stage, experiment: 7)
    for largest, last in ((lambda slurm, stages: 4, 3), (silent, 6)):
        monkeypatch.setattr(Slurm, "largest_array", largest)
        launch.launch("experiment.yaml", "slurm.yaml", stage="process", dry_run=True)
        assert f"#SBATCH --array=0-{last}%" in capsys.readouterr().out


def test_a_copy_of_a_machine_that_comes_with_it_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-cluster.yaml").write_text((ROOT / "configs" / "cluster" / "slurm.yaml").read_text())
    assert load_cluster(Path("my-cluster.yaml")) == load_cluster("slurm")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected CONFIG, found nothing"),
        (["status"], "status: expected CONFIG, found nothing"),
        (["a.b=1"], "expected CONFIG, found a.b=1"),
        (["experiment.yaml", "--json"], "--json: expected with status, and without --watch"),
        (["status", "experiment.yaml", "--json", "--watch"], "--json: expected with status, and without --watch"),
        (["cancel", "experiment.yaml", "--dry-run"], "cancel: it takes no --stage and no --dry-run"),
        (["cancel", "experiment.yaml", "--stage", "mpi"], "cancel: it takes no --stage and no --dry-run"),
    ],
)
def test_command_lines_that_say_too_little_or_too_much(experiment, monkeypatch, capsys, words, message):
    monkeypatch.setattr(sys, "argv", ["hpc.launch", *words, "--cluster", "local.yaml"])
    with pytest.raises(SystemExit):
        launch.main("python -m hpc.launch")
    assert message in capsys.readouterr().err and not (experiment / "run").exists()


def test_no_launch_beside_another_and_where_files_cannot_be_locked_the_queue_alone_says_so(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    with submission.alone(tmp_path, Local()), pytest.raises(ValueError, match="another launch of this run is at work"):
        submission.alone(tmp_path, Local()).__enter__()
    monkeypatch.setattr(submission.fcntl, "flock", no_locks)
    with submission.alone(tmp_path, Local()):
        pass


def test_slurm_where_there_is_none(experiment, monkeypatch):
    monkeypatch.setenv("PATH", str(experiment))
    with pytest.raises(ValueError, match=r"--cluster slurm\.yaml: no SLURM on this machine \(sbatch: not found\)"):
        launch.launch("experiment.yaml", "slurm.yaml")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stage": "trian"}, "trian: expected one of process, mpi, torch"),
        ({"cluster": "mars"}, r"--cluster mars: .* not found; expected one of debug, .*, slurm, or a YAML file"),
        ({"config": "none.yaml"}, r"none\.yaml: cannot be read"),
    ],
)
def test_bad_input_is_named(experiment, options, message):
    call = {"config": "experiment.yaml", "cluster": "local.yaml"} | options
    with pytest.raises(ValueError, match=message):
        launch.launch(**call)


@pytest.mark.parametrize("name", ["local", "debug", "slurm"])
def test_the_machines_that_come_with_it_have_the_whole_chain(name):
    machine = load_cluster(name)
    assert list(machine.stages) == ["simulate", "preprocess", "train", "select", "sample", "validate", "report"]
    assert machine.stages["train"].start == "torch" and machine.stages["preprocess"].start == "mpi"


def test_a_single_process_with_several_tasks_is_refused(tmp_path):
    (tmp_path / "c.yaml").write_text("executor: local\nexperiment: m:read\nstages: {a: {module: m, tasks_per_node: 2}}")
    with pytest.raises(SettingsError, match=r"stages\.a\.tasks_per_node: m runs as one process, found 2"):
        load_cluster(str(tmp_path / "c.yaml"))


def test_command_lines():
    assert chain.command_line(chain.Command("m"), ["c"]) == [sys.executable, "-m", "m", "c"]
    torchrun = chain.command_line(chain.Command("m", "torch", tasks_per_node=2), ["c"])
    assert torchrun[1:3] == ["-m", "torch.distributed.run"] and torchrun[-3:] == ["-m", "m", "c"]
    ranks = chain.command_line(chain.Command("m", "mpi", nodes=2, tasks_per_node=3), ["c"])
    assert ranks[1:] == ["-n", "6", sys.executable, "-m", "m", "c"]
