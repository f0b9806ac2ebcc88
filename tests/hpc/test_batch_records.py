"""That one job alone does a stage, whatever dead ones have left."""

import os

import pytest

from hpc import slurm
from hpc.records import Records


@pytest.fixture
def claim(tmp_path):
    """The claim of a dead job, number 5."""
    path = Records(tmp_path).folder / ".train.claim"
    path.parent.mkdir()
    path.symlink_to("5")
    return path


def test_a_dead_jobs_claim_is_taken_over_and_a_living_ones_is_not(claim, tmp_path, monkeypatch):
    said = {"5": slurm.State("FAILED"), "7": slurm.State("RUNNING")}
    monkeypatch.setattr(slurm, "states", lambda jobs: {job: said[job] for job in jobs})
    records = Records(tmp_path)
    with records.claimed("train", "7"):
        assert os.readlink(claim) == "7"
        with pytest.raises(ValueError, match=r"job 7 \(running\) does the same here; wait .*: scancel 7"):
            records.claimed("train", "8").__enter__()
        with records.claimed("select", "8"):
            pass
    assert not list(records.folder.iterdir())


def test_of_two_that_find_a_dead_jobs_claim_one_gets_it(claim, tmp_path, monkeypatch):
    def states(jobs):
        if os.readlink(claim) == "5":  # while the one asks whether its holder lives the other takes it over
            claim.unlink()
            claim.symlink_to("7")
        return {job: slurm.State("RUNNING" if job == "7" else "FAILED") for job in jobs}

    monkeypatch.setattr(slurm, "states", states)
    with pytest.raises(ValueError, match=r"job 7 \(running\) does the same here"):
        Records(tmp_path).claimed("train", "8").__enter__()
    assert os.readlink(claim) == "7"
