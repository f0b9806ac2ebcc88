"""Choose which epoch's generator is released, tune its latent scale, and release it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cosmogan import command, train
from cosmogan.config import Experiment
from hpc import mpi
from hpc.log import Progress, say
from hpc.notes import Notes
from hpc.part import Part, share_of, title
from hpc.rundir import Receipt, whole_file, write_json

TEXT = """\
Score the generators of all epochs, and their moving averages, by mean, median and scatter of P(k), the voxel PDF
and the mean density of what they draw, against the training set; tune the scale of the best one's latents until its
mean power has the training set's amplitude; release it. Of equals within the error of the score a moving average is
taken. Stopped, the same command goes on from what is scored."""
EXAMPLE = "mpirun -n 4 python -m cosmogan.select experiment.yaml select.first_epoch=50"


def done(experiment: Experiment) -> bool:
    """Say whether a generator was released with these settings, from this training."""
    path = experiment.generator_path
    return path.exists() and path.with_suffix(".json").exists() and _receipt(experiment).done()


def parts(experiment: Experiment) -> int:
    """Return how many generators there are, or will be, to score."""
    return len(_candidates(experiment))


def select(experiment: Experiment, comm: mpi.Comm, part: Part | None = None) -> None:
    """Score, choose, tune and release; or only score a part's candidates.

    Raises
    ------
    ValueError
        when training is not finished, or no epoch is left to score.
    """
    if comm.bcast(done(experiment) if comm.rank == 0 else None):
        say(f"select: done: {experiment.generator_path}", comm.rank)
        return
    if not train.done(experiment):
        raise ValueError(
            f"{experiment.train_folder}: training is not finished (with these settings); "
            "run train to its end, or set train.epochs to the epochs that it has reached and run it"
        )
    with command.at_work(experiment, "select", comm.rank, part=part):
        _select(experiment, comm, part)


def _select(experiment: Experiment, comm: mpi.Comm, part: Part | None) -> None:
    candidates = share_of(_candidates(experiment), part)
    receipt = _receipt(experiment)
    if comm.rank == 0 and part is None:
        receipt.begin(keep=False)
    from cosmogan.judge import Judge  # imports torch
    from cosmogan.match import matched

    judge = Judge(experiment, comm)
    notes = Notes(experiment.folder / "select", comm.rank, part)
    table = _score_all(candidates, judge, notes, comm, title("select", part))
    if part is not None:
        say(f"{title('select', part)}: its {len(table)} generators are scored", comm.rank)
        return
    say(_ranking(table), comm.rank)
    best = choose(table)
    if judge.settings.match_steps:
        best = matched(best, judge, notes, comm)
    chosen = _tune(best, judge, notes, comm)
    if comm.rank == 0:
        _write(experiment, table, chosen, judge)
        kept = ("epoch", "ema", "latent_scale", "latent_scale_error", "score")
        receipt.finish(**{name: chosen[name] for name in kept})
        kind = "moving average" if chosen["ema"] else "generator"
        say(f"select: released the {kind} of epoch {chosen['epoch']}: {experiment.generator_path}")
    comm.barrier()


def _receipt(experiment: Experiment) -> Receipt:
    """Return the record of what the choice depends on: settings, and the training with its data."""
    trained = train.receipt(experiment)
    recipe = {**experiment.section("select"), "train": trained.recipe, "epochs": experiment.train.epochs}
    return Receipt(experiment.folder, "select", recipe)


def _candidates(experiment: Experiment) -> list[dict[str, Any]]:
    """Return all generators that training leaves from ``select.first_epoch`` on."""
    settings = experiment.train
    first = experiment.select.first_epoch
    if first > settings.epochs:
        raise ValueError(f"select.first_epoch: expected at most train.epochs = {settings.epochs}, found {first}")
    kinds = (False, True) if settings.ema else (False,)
    epochs = range(first, settings.epochs + 1)
    return [{"epoch": epoch, "ema": ema} for epoch in epochs for ema in kinds]


def _score_all(
    candidates: Sequence[dict[str, Any]], judge: Any, notes: Notes, comm: mpi.Comm, doing: str
) -> list[dict[str, Any]]:
    """Return all candidates with their scores, best first; those not yet scored are dealt out to the ranks."""
    n = judge.settings.n_samples
    mine = [judge.key(candidate, 1.0, n) for candidate in candidates[comm.rank :: comm.size]]
    keys = mpi.gathered_in_turn(mine, comm)
    known = comm.bcast(notes.read() if comm.rank == 0 else None)
    missing = [(key, candidate) for key, candidate in zip(keys, candidates, strict=True) if key not in known]
    if len(missing) < len(candidates):
        say(f"{doing}: {len(candidates) - len(missing)} of {len(candidates)} are scored already", comm.rank)
    scored = {}
    with Progress(doing, len(missing[comm.rank :: comm.size]), "generators", comm.rank) as progress:
        for key, candidate in missing[comm.rank :: comm.size]:
            scored[key] = judge.score(candidate, n)
            notes.add(key, scored[key])
            progress.advance()
    for of_rank in comm.allgather(scored):
        known |= of_rank
    table = [{**candidate, **known[key]} for key, candidate in zip(keys, candidates, strict=True)]
    return sorted(table, key=lambda line: (line["score"], line["epoch"]))


def choose(table: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the candidate to release: the best, or the best moving average if that is within its standard error.

    Single generators swing from one epoch to the next, so that the best of many equals is in part a lucky draw of the
    samples that scored it; averages do not.

    Parameters
    ----------
    table : candidates with ``ema``, ``score`` and its ``error``, best first
    """
    limit = table[0]["score"] + table[0]["error"]
    return next((line for line in table if line["ema"] and line["score"] <= limit), table[0])


def _tune(best: dict[str, Any], judge: Any, notes: Notes, comm: mpi.Comm) -> dict[str, Any]:
    """Return the best candidate with its tuned latent scale, and the scores that it has with it."""
    from cosmogan.gan import tuning  # after the judge has imported torch

    n = judge.settings.n_tune
    if n == 0:
        return {**best, "latent_scale": 1.0, "latent_scale_error": None, "trials": []}
    candidate = judge.candidate(best)
    known = comm.bcast(notes.read() if comm.rank == 0 else None)

    def measure(scale: float) -> tuple[float, float]:
        key = f"amplitude {judge.key(candidate, scale, n)}"  # not the score of as many samples
        if key not in known:
            known[key] = judge.amplitude(candidate, scale, n)
            if comm.rank == 0:
                notes.add(key, known[key])
        return known[key]

    tuned = tuning.bisect(measure)
    scores = judge.score_together(candidate, tuned.scale, n)
    say(_in_words(tuned, scores, tuning.BOUNDS), comm.rank)
    found = {"latent_scale": tuned.scale, "latent_scale_error": tuned.error, "trials": tuned.trials}
    return {**best, **scores, **found}


def _write(experiment: Experiment, table: list[dict[str, Any]], chosen: dict[str, Any], judge: Any) -> None:
    """Write the scores as JSON and as a figure, and the released generator."""
    from cosmogan.reporting import figures_selection, style  # draw with matplotlib

    folder = experiment.folder / "select"
    write_json(folder / "scores.json", {"candidates": table, "chosen": chosen})
    with whole_file(folder / "scores.png") as temporary:
        temporary.write_bytes(style.png(figures_selection.selection(table, chosen)))
    candidate, scale = judge.candidate(chosen), chosen["latent_scale"]
    scores = {name: chosen[name] for name in table[0] if name not in candidate}
    judge.release(candidate, scale, {"latent_scale_error": chosen["latent_scale_error"], "scores": scores})


def _ranking(table: list[dict[str, Any]]) -> str:
    """Return the ten best candidates as a table."""
    names = [name for name in table[0] if name not in ("epoch", "ema", "score", "error")]
    lines = ["  epoch  weights   score ± error      " + "  ".join(f"{name:>12}" for name in names)]
    for line in table[:10]:
        kind = "averaged" if line["ema"] else "plain"
        score = f"{line['score']:.4f} ± {line['error']:.4f}"
        lines.append(f"  {line['epoch']:5d}  {kind:8}  {score:17}  " + "  ".join(f"{line[n]:12.5f}" for n in names))
    return "\n".join(lines)


def _in_words(tuned: Any, scores: dict[str, float], bounds: tuple[float, float]) -> str:
    """Return what tuning came to, and the typical factors by which the statistics are off then."""
    mean, median, density = (100 * np.expm1(np.sqrt(scores[name])) for name in ("mean", "median", "mean_density"))
    off = f"mean and median P(k) are off by {mean:.1f} and {median:.1f} % (rms over k), mean density by {density:.1f} %"
    if tuned.error is None:
        low, high = bounds
        return (
            f"select: no latent scale from {low:g} to {high:g} gives the training set's mean power; "
            f"the nearer end is taken, {tuned.scale:g}: {off}"
        )
    return f"select: latent scale {tuned.scale:.4f} ± {tuned.error:.4f}: {off}"


if __name__ == "__main__":
    command.main("cosmogan.select", TEXT, EXAMPLE, select, options=command.part_option)
