"""Choose which epoch's generator is released, calibrate it or tune its latent scale, and release it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cosmogan import cli
from cosmogan.config import Experiment, generator_file
from cosmogan.training import plan
from hpc import mpi
from hpc.log import Progress, say
from hpc.part import Part, share_of, title
from hpc.partial_results import PartialResults
from hpc.rundir import Receipt, checksum, whole_file, write_json

TEXT = """\
Score the generators of all epochs, and their moving averages, by mean, median and scatter of P(k), the voxel PDF
and the mean density of what they draw, against the training set; calibrate the best one's densities to the training
set's (select.calibrate), or else tune the scale of its latents until its mean power has the training set's amplitude,
if that is better on training boxes left out; release it. Of equals within the error of the score a moving average is
taken. Stopped, the same command goes on from what is scored."""
UNTUNED: dict[str, Any] = {"latent_scale": 1.0, "latent_scale_error": None, "trials": []}
EXAMPLE = "mpirun -n 4 python -m cosmogan.select experiment.yaml select.first_epoch=50"


def done(experiment: Experiment) -> bool:
    """Say whether a generator was released with these settings, from this training."""
    path = experiment.generator_path
    return path.exists() and path.with_suffix(".json").exists() and _receipt(experiment).done()


def parts(experiment: Experiment) -> int:
    """Return how many generators there are, or will be, to score."""
    return len(_candidates(experiment))


def select(experiment: Experiment, comm: mpi.Comm, part: Part | None = None) -> None:
    """Score, choose, calibrate or tune, and release; or only score a part's candidates.

    Raises
    ------
    ValueError
        when training is not finished, or no epoch is left to score.
    """
    if comm.bcast(done(experiment) if comm.rank == 0 else None):
        say(f"select: done: {experiment.generator_path}", comm.rank)
        return
    if experiment.select.generator is None and not plan.done(experiment):
        raise ValueError(
            f"{experiment.train_folder}: training is not finished (with these settings); "
            "run train to its end, or set train.epochs to the epochs that it has reached and run it"
        )
    with cli.at_work(experiment, "select", comm.rank, part=part):
        _select(experiment, comm, part)


def _select(experiment: Experiment, comm: mpi.Comm, part: Part | None) -> None:
    released_before = experiment.select.generator is not None
    candidates = [] if released_before else share_of(_candidates(experiment), part)
    receipt = _receipt(experiment)
    if comm.rank == 0 and part is None:
        receipt.begin(keep=False)
    from cosmogan.selection.candidates import CandidateScorer  # imports torch

    judge = CandidateScorer(experiment, comm)
    notes = PartialResults(experiment.folder / "select", comm.rank, part)
    table = _score_all(candidates, judge, notes, comm, title("select", part))
    if part is not None:
        say(f"{title('select', part)}: its {len(table)} generators are scored", comm.rank)
        return
    if table:
        say(_ranking(table), comm.rank)
    best = judge.given() if released_before else choose(table)
    finish = _calibrate if experiment.select.calibrate else _tune
    chosen, generator = finish(best, judge, notes)
    if comm.rank == 0:
        _write(experiment, table, chosen, judge, generator)
        kept = ("epoch", "ema", "latent_scale", "latent_scale_error", "score")
        receipt.finish(**{name: chosen[name] for name in kept if name in chosen})
        say(f"select: released {_name(chosen)}: {experiment.generator_path}")
    comm.barrier()


def _name(chosen: dict[str, Any]) -> str:
    """Return in words which generator was chosen."""
    if "generator" in chosen:
        return str(chosen["generator"])
    return f"the {'moving average' if chosen['ema'] else 'generator'} of epoch {chosen['epoch']}"


def _receipt(experiment: Experiment) -> Receipt:
    """Return the record of what the choice depends on: settings, and the training with its data."""
    trained = plan.receipt(experiment)
    recipe = {**experiment.section("select"), "train": trained.recipe, "epochs": experiment.train.epochs}
    if experiment.select.generator is not None:
        path = generator_file(experiment.select.generator)
        recipe["generator"] = checksum(path) if path.exists() else None
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
    candidates: Sequence[dict[str, Any]], judge: Any, notes: PartialResults, comm: mpi.Comm, doing: str
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


def _calibrate(best: dict[str, Any], judge: Any, notes: PartialResults) -> tuple[dict[str, Any], Any]:
    """Return the best candidate with the scores that it has once it is calibrated, and the generator."""
    from cosmogan.selection.calibration import calibrated

    candidate, rank = judge.candidate(best), judge.comm.rank
    found = calibrated(candidate, judge, notes)
    generator = judge.generator(candidate, 1.0, found.calibration)
    scores = judge.scored(judge.drawn(generator, judge.settings.n_samples))
    about = {"kept": found.calibration is not None, **found._asdict()}
    del about["calibration"]
    off = f"on boxes left out of the fit by turns, score {found.before:.4f} -> {found.after:.4f}"
    kept = "calibrated to the training boxes" if about["kept"] else "not calibrated, as that is no better"
    say(f"select: {kept}: {off}{_in_words(scores)}", rank)
    return {**best, **scores, **UNTUNED, "calibration": about}, generator


def _tune(best: dict[str, Any], judge: Any, notes: PartialResults) -> tuple[dict[str, Any], Any]:
    """Return the best candidate with its tuned latent scale and the scores that it has with it, and the generator.

    The scale stays 1 where one tuned on other training boxes is no better, by turns.
    """
    from cosmogan.selection import latent_scale  # after the judge has imported torch

    candidate, n = judge.candidate(best), judge.settings.n_tune
    if n == 0:
        return {**best, **UNTUNED}, judge.generator(candidate, 1.0)
    known = judge.comm.bcast(notes.read() if judge.comm.rank == 0 else None)
    folds = [None, *range(judge.n_folds)]
    found: dict[
        float, list[tuple[float, float]]
    ] = {}  # amplitudes by latent scale, against all boxes and without each fold

    def measure(scale: float) -> tuple[float, float]:
        key = f"amplitudes {judge.key(candidate, scale, n)}"  # not the score of as many samples
        if key not in known:
            drawn = judge.drawn(judge.generator(candidate, scale), n)
            known[key] = [judge.amplitude(drawn, fold) for fold in folds]
            if judge.comm.rank == 0:
                notes.add(key, known[key])
        found[scale] = known[key]
        return found[scale][0]

    tuned = latent_scale.bisect(measure)
    tried = sorted(found)
    roots = [latent_scale.root(tried, [found[scale][1 + fold][0] for scale in tried]) for fold in range(judge.n_folds)]
    plain = judge.drawn(judge.generator(candidate, 1.0), n)
    before = np.mean([judge.score_on(fold, plain) for fold in range(judge.n_folds)])
    drawn = [judge.drawn(judge.generator(candidate, scale), n) for scale in roots]
    after = np.mean([judge.score_on(fold, samples) for fold, samples in enumerate(drawn)])
    return _tuned(best, judge, tuned, float(before), float(after))


def _tuned(best: dict[str, Any], judge: Any, tuned: Any, before: float, after: float) -> tuple[dict[str, Any], Any]:
    """Return what `_tune` does, of a scale that brings the score on boxes left out from ``before`` to ``after``."""
    from cosmogan.selection import latent_scale

    better = after < before
    generator = judge.generator(judge.candidate(best), tuned.scale if better else 1.0)
    scores = judge.scored(judge.drawn(generator, judge.settings.n_tune))
    if tuned.error is None:
        low, high = latent_scale.BOUNDS
        what = f"no latent scale from {low:g} to {high:g} gives the training set's mean power; the nearer end is"
    else:
        what = f"the training set's mean power is that of latent scale {tuned.scale:.4f} ± {tuned.error:.4f}, which is"
    kept = f"taken, {tuned.scale:g}" if better else "not taken, as it is no better than 1"
    off = f"on boxes left out of the fit by turns, score {before:.4f} -> {after:.4f}"
    say(f"select: {what} {kept}: {off}{_in_words(scores)}", judge.comm.rank)
    chosen = {"latent_scale": generator.latent_scale, "latent_scale_error": tuned.error if better else None}
    return {**best, **scores, **chosen, "trials": tuned.trials}, generator


def _write(
    experiment: Experiment, table: list[dict[str, Any]], chosen: dict[str, Any], judge: Any, generator: Any
) -> None:
    """Write the scores as JSON and as a figure, and the released generator."""
    from cosmogan.reporting import figures_selection, style  # draw with matplotlib

    folder = experiment.folder / "select"
    write_json(folder / "scores.json", {"candidates": table, "chosen": chosen})
    if table:
        with whole_file(folder / "scores.png") as temporary:
            temporary.write_bytes(style.png(figures_selection.selection(table, chosen)))
    about = {name: chosen[name] for name in ("latent_scale_error", "calibration") if name in chosen}
    apart = (*judge.candidate(chosen), *UNTUNED, "calibration")
    judge.release(generator, {**about, "scores": {name: chosen[name] for name in chosen if name not in apart}})


def _ranking(table: list[dict[str, Any]]) -> str:
    """Return the ten best candidates as a table."""
    names = [name for name in table[0] if name not in ("epoch", "ema", "score", "error")]
    lines = ["  epoch  weights   score ± error      " + "  ".join(f"{name:>12}" for name in names)]
    for line in table[:10]:
        kind = "averaged" if line["ema"] else "plain"
        score = f"{line['score']:.4f} ± {line['error']:.4f}"
        lines.append(f"  {line['epoch']:5d}  {kind:8}  {score:17}  " + "  ".join(f"{line[n]:12.5f}" for n in names))
    return "\n".join(lines)


def _in_words(scores: dict[str, float]) -> str:
    """Return the typical factors by which the statistics are off."""
    mean, median, density = (100 * np.expm1(np.sqrt(scores[name])) for name in ("mean", "median", "mean_density"))
    return (
        f"; mean and median P(k) are off by {mean:.1f} and {median:.1f} % (rms over k), mean density by {density:.1f} %"
    )


if __name__ == "__main__":
    cli.main("cosmogan.select", TEXT, EXAMPLE, select, options=cli.part_option)
