"""Choose which epoch's generator is released, tune its latent scale, and release it."""

from typing import Any

import numpy as np

from cosmogan import command, train
from cosmogan.config import Experiment
from hpc import mpi
from hpc.log import Progress, say
from hpc.rundir import Receipt, write_json

TEXT = """\
Score the generators of all epochs, and their moving averages, by the mean and the scatter of P(k), the voxel PDF and
the mean density of what they draw, against the training set; tune the scale of the best one's latents; release it."""
EXAMPLE = "mpirun -n 4 python -m cosmogan.select experiment.yaml select.first_epoch=50"

SCALES = (0.8, 1.25)  # in which the latent scale is searched


def done(experiment: Experiment) -> bool:
    """Say whether a generator was released with these settings, from this training."""
    path = experiment.generator_path
    return path.exists() and path.with_suffix(".json").exists() and _receipt(experiment).done()


def select(experiment: Experiment, comm: mpi.Comm) -> None:
    """Score, choose, tune and release.

    Raises
    ------
    ValueError
        when training is not finished, or no epoch is left to score.
    """
    if comm.bcast(done(experiment) if comm.rank == 0 else None):
        say(f"select: done: {experiment.generator_path}", comm.rank)
        return
    receipt = _receipt(experiment)
    candidates = _candidates(experiment)
    if comm.rank == 0:
        receipt.begin(keep=False)
    from cosmogan.judge import Judge  # imports torch

    judge = Judge(experiment, comm)
    table = _score_all(candidates, judge, comm)
    say(_ranking(table), comm.rank)
    best = table[0]
    scale, tuned = _tune(best, judge, comm)
    say(f"select: latent scale {scale:.3f}: {_in_words(tuned)}", comm.rank)
    if comm.rank == 0:
        result = {"candidates": table, "chosen": {**best, **tuned}, "latent_scale": scale}
        write_json(experiment.folder / "select" / "scores.json", result)
        judge.release(best, scale)
        receipt.finish(epoch=best["epoch"], ema=best["ema"], latent_scale=scale, score=tuned["score"])
        kind = "moving average" if best["ema"] else "generator"
        say(f"select: released the {kind} of epoch {best['epoch']}: {experiment.generator_path}")
    comm.barrier()


def _receipt(experiment: Experiment) -> Receipt:
    """Return the record of what the choice depends on: settings, and the training with its data."""
    trained = train.receipt(experiment)
    recipe = {**experiment.section("select"), "train": trained.recipe, "epochs": experiment.train.epochs}
    return Receipt(experiment.folder, "select", recipe)


def _candidates(experiment: Experiment) -> list[dict[str, Any]]:
    settings = experiment.train
    if not train.done(experiment):
        raise ValueError(
            f"{experiment.train_folder}: training is not finished (with these settings); "
            "run train to its end, or set train.epochs to the epochs that it has reached and run it"
        )
    first = experiment.select.first_epoch
    if first > settings.epochs:
        raise ValueError(f"select.first_epoch: expected at most train.epochs = {settings.epochs}, found {first}")
    kinds = (False, True) if settings.ema else (False,)
    epochs = range(first, settings.epochs + 1)
    return [{"epoch": epoch, "ema": ema} for epoch in epochs for ema in kinds]


def _score_all(candidates: list[dict[str, Any]], judge: Any, comm: mpi.Comm) -> list[dict[str, Any]]:
    """Return all candidates with their scores, best first; they are dealt out to the ranks."""
    mine = candidates[comm.rank :: comm.size]
    scored = []
    with Progress("select", len(mine), "generators", comm.rank) as progress:
        for candidate in mine:
            scored.append({**candidate, **judge.score(candidate, 1.0, judge.settings.n_samples)})
            progress.advance()
    table = [line for part in comm.allgather(scored) for line in part]
    return sorted(table, key=lambda line: (line["score"], line["epoch"]))


def _tune(best: dict[str, Any], judge: Any, comm: mpi.Comm) -> tuple[float, dict[str, float]]:
    """Return the latent scale that fits best, and its scores: a coarse search, then one around the best."""
    n = judge.settings.n_tune
    if n == 0:
        return 1.0, {name: best[name] for name in best if name not in ("epoch", "ema")}
    found: dict[float, dict[str, float]] = {}
    step = np.log(SCALES[1] / SCALES[0]) / 16
    trials = np.log(SCALES[0]) + step * np.arange(17)
    for _ in range(2):
        scales = [float(scale) for scale in np.clip(np.exp(trials), *SCALES)]
        mine = {scale: judge.score(best, scale, n) for scale in scales[comm.rank :: comm.size]}
        for part in comm.allgather(mine):
            found |= part
        scale = min(found, key=lambda s: found[s]["score"])
        trials = np.log(scale) + step * np.array([-0.75, -0.5, -0.25, 0.25, 0.5, 0.75])
    return scale, found[scale]


def _ranking(table: list[dict[str, Any]]) -> str:
    """Return the ten best candidates as a table."""
    names = ("score", "power", "scatter", "pdf", "mean_density")
    lines = ["  epoch  weights  " + "  ".join(f"{name:>12}" for name in names)]
    for line in table[:10]:
        kind = "averaged" if line["ema"] else "plain"
        lines.append(f"  {line['epoch']:5d}  {kind:8} " + "  ".join(f"{line[name]:12.5f}" for name in names))
    return "\n".join(lines)


def _in_words(score: dict[str, float]) -> str:
    """Return what the parts of a score mean: typical factors by which the statistics are off."""
    power, mean = (100 * (np.exp(np.sqrt(score[name])) - 1) for name in ("power", "mean_density"))
    return f"mean P(k) is off by {power:.1f} % (rms over k), mean density by {mean:.1f} %"


if __name__ == "__main__":
    command.main("cosmogan.select", TEXT, EXAMPLE, select)
