"""Match the chosen generator to the training set, on from where it was stopped: the shell around `gan.matching`."""

import shutil
from typing import Any

import numpy as np

from cosmogan.gan import released
from cosmogan.gan.checkpoint import Checkpoints
from cosmogan.gan.matching import RECIPE
from cosmogan.gan.session import Clock
from cosmogan.judge import Candidate, Judge
from hpc import mpi
from hpc.log import Progress, say
from hpc.notes import Notes
from hpc.rundir import checksum

N_SHOWN = 20  # steps, at most, whose mean distance is told


def matched(best: dict[str, Any], judge: Judge, notes: Notes, comm: mpi.Comm) -> dict[str, Any]:
    """Return the best candidate after `select.match_steps` of matching, with its scores then and the ``distances``.

    Parameters
    ----------
    best : the candidate and its scores
    judge, notes, comm : of this selection
    """
    steps, plain = judge.settings.match_steps, judge.candidate(best)
    made = {**plain, "match_steps": steps}
    key, path = f"matched {judge.key(plain, 1.0, steps)} {RECIPE}", judge.path(made)

    def found() -> Any:
        note = notes.read().get(key)
        return note["distances"] if note and path.exists() and checksum(path) == note["sha256"] else None

    distances = mpi.on_root(comm, found)
    if distances is None:
        distances = _match(plain, made, judge, key, comm)
        if comm.rank == 0:
            notes.add(key, {"sha256": checksum(path), "distances": distances})
    n = max(min(N_SHOWN, steps // 2), 1)
    first, last = np.mean(distances[:n]), np.mean(distances[-n:])
    say(f"select: {steps} steps matched it to the training set: energy distance {first:.3f} -> {last:.3f}", comm.rank)
    return {**made, **judge.score_together(made, 1.0, judge.settings.n_samples), "distances": distances}


def _match(plain: Candidate, made: Candidate, judge: Judge, key: str, comm: mpi.Comm) -> list[float]:
    """Make one candidate of another, all ranks together; return the distance at each step."""
    steps, path = made["match_steps"], judge.path(made)
    matching = judge.matching(plain, steps)
    folder, clock = path.with_suffix(""), Clock(judge.experiment.train.checkpoint_minutes)
    folder.mkdir(parents=True, exist_ok=True)
    with (
        Checkpoints(folder, keep=1, epoch_steps=1) as checkpoints,
        Progress("select: matching", steps, "steps", comm.rank) as progress,
    ):
        left = mpi.on_root(comm, lambda: checkpoints.newest(say))
        if left and left["key"] == key:
            matching.restore(left)
            progress.resume_at(left["step"])
        while len(matching.distances) < steps:
            matching.advance()
            progress.advance(note=f"distance {matching.distances[-1]:.3f}")
            if comm.rank == 0 and clock.due():
                checkpoints.save({**matching.state(), "key": key})
                clock.wind()
    if comm.rank == 0:
        released.write_weights(path, matching.generator.network)
        shutil.rmtree(folder)
    comm.barrier()  # no rank reads it sooner
    return matching.distances
