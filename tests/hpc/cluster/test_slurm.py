"""Ask SLURM through stand-ins whose answers are unusual."""

import os

import pytest

from hpc.chain import Command
from hpc.cluster import slurm
from hpc.cluster.job import Ended, Job
from hpc.cluster.scheduler import State, Work
from hpc.cluster.slurm import Slurm


@pytest.mark.parametrize(
    ("does", "answer"),
    [
        ("exit 0", ""),
        ("echo 'Requested operation is disabled' >&2; exit 1", "Requested operation is disabled"),
        ("kill -TERM $$", ""),
    ],
)
def test_a_requeue_that_ends_scontrol_itself_is_none_that_was_refused(tmp_path, monkeypatch, does, answer):
    (tmp_path / "scontrol").write_text(f"#!/bin/sh\n{does}\n")
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert Slurm().requeue("7") == answer


def test_a_controller_that_is_busy_is_asked_again(tmp_path, monkeypatch):
    busy = "echo 'slurm_load_jobs error: Socket timed out on send/recv operation' >&2; exit 1"
    once = f"[ -e {tmp_path}/asked ] || {{ touch {tmp_path}/asked; {busy}; }}"
    script = f"#!/bin/sh\n{once}\necho '7|RUNNING|None|0:05'\n"
    for name in ("sbatch", "squeue"):
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(slurm, "PAUSES", (0,))
    assert Slurm().states(["7"])["7"].alive
    (tmp_path / "squeue").write_text(f"#!/bin/sh\n{busy}\n")
    with pytest.raises(OSError, match="Socket timed out"):
        Slurm().states(["7"])


def test_tasks_of_an_array_that_ended_before_any_had_begun_have_its_state(tmp_path, monkeypatch):
    (tmp_path / "sbatch").touch(0o755)
    (tmp_path / "squeue").write_text("#!/bin/sh\necho '7|CANCELLED|Dependency|0:00'\necho '8_1|RUNNING|None|0:05'\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    over = State("cancelled", "skipped", "0:00")
    assert Slurm().states(["7_0", "7_1", "8_0"]) == {"7_0": over, "7_1": over}
    assert Slurm().states(["8_1"]) == {"8_1": State("running", "running", "0:05")}


def test_a_stage_that_is_asked_to_end_before_it_has_begun_ends(tmp_path, monkeypatch):
    (tmp_path / "sleeper.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    job = Job(Work("train", Command("sleeper"), [], tmp_path, None), Slurm(), tmp_path / "log")
    job.stop()
    with pytest.raises(Ended):
        job.run()


def test_what_is_submitted_inside_a_job_knows_nothing_of_it(monkeypatch):
    inherited = {"SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "7", "SLURM_CONF": "/etc/conf", "SBATCH_ACCOUNT": "mine"}
    for name, value in inherited.items():
        monkeypatch.setenv(name, value)
    with slurm.no_job():
        left = [name for name in inherited if name in os.environ]
    assert left == ["SLURM_CONF", "SBATCH_ACCOUNT"]
    assert {name: os.environ[name] for name in inherited} == inherited


@pytest.mark.parametrize(
    ("library", "plugin"),
    [
        ("Open MPI v5.0.3", "pmix"),
        ("Intel(R) MPI Library 2021.12", "pmi2"),
        ("MPICH Version: 5.0.2", None),
        ("MPI VERSION    : CRAY MPICH version 8.1.28", None),  # whose plug-in is not offered here
    ],
)
def test_ranks_start_by_the_plug_in_that_fits_their_library_or_by_mpirun(tmp_path, monkeypatch, library, plugin):
    (tmp_path / "srun").write_text("#!/bin/sh\necho 'MPI plugin types are... none pmi2 pmix' >&2\n")
    (tmp_path / "srun").chmod(0o755)
    (tmp_path / "mpirun").touch()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_NTASKS", "8")
    monkeypatch.setattr(slurm.mpi, "library", lambda: library)
    start = Slurm().command(Command("module", "mpi"), ["config.yaml"], mpi_start=None)
    assert slurm.mpi_plugin(library) == plugin
    assert start[:1] == ["srun"] and f"--mpi={plugin}" in start if plugin else start[1:3] == ["-n", "8"]
