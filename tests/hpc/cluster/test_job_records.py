"""That one job alone does a stage, whatever dead ones have left."""

import os

import pytest

from hpc.cluster.job_records import JobRecords
from hpc.cluster.slurm import Slurm, state


@pytest.fixture
def claim(tmp_path):
    """The claim of a dead job, number 5."""
    path = JobRecords(tmp_path).folder / ".train.claim"
    path.parent.mkdir()
    path.symlink_to("5")
    return path


def test_a_dead_jobs_claim_is_taken_over_and_a_living_ones_is_not(claim, tmp_path, monkeypatch):
    said = {"5": state("FAILED"), "7": state("RUNNING")}
    monkeypatch.setattr(Slurm, "states", lambda slurm, jobs: {job: said[job] for job in jobs})
    records = JobRecords(tmp_path)
    with records.claimed("train", "7", Slurm()):
        assert os.readlink(claim) == "7"
        with pytest.raises(ValueError, match=r"job 7 \(running\) does the same here; wait .*: scancel 7"):
            records.claimed("train", "8", Slurm()).__enter__()
        with records.claimed("select", "8", Slurm()):
            pass
    assert not list(records.folder.iterdir())


def test_of_two_that_find_a_dead_jobs_claim_one_gets_it(claim, tmp_path, monkeypatch):
    def states(slurm, jobs):
        if os.readlink(claim) == "5":  # while the one asks whether its holder lives the other takes it over
            claim.unlink()
            claim.symlink_to("7")
        return {job: state("RUNNING" if job == "7" else "FAILED") for job in jobs}

    monkeypatch.setattr(Slurm, "states", states)
    with pytest.raises(ValueError, match=r"job 7 \(running\) does the same here"):
        JobRecords(tmp_path).claimed("train", "8", Slurm()).__enter__()
    assert os.readlink(claim) == "7"
