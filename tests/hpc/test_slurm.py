"""What is asked of SLURM, where its answers are not what one expects."""

import os

import pytest

from hpc import slurm


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
    assert slurm.requeue("7") == answer


def test_what_is_submitted_inside_a_job_knows_nothing_of_it(monkeypatch):
    inherited = {"SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "7", "SLURM_CONF": "/etc/conf", "SBATCH_ACCOUNT": "mine"}
    for name, value in inherited.items():
        monkeypatch.setenv(name, value)
    with slurm.no_job():
        left = [name for name in inherited if name in os.environ]
    assert left == ["SLURM_CONF", "SBATCH_ACCOUNT"]
    assert {name: os.environ[name] for name in inherited} == inherited
