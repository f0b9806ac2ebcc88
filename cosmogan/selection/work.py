"""Score the generators that training left, choose one, calibrate it or tune its latent scale, and release it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cosmogan.reporting import figures_selection, style
from cosmogan.selection import latent_scale
from cosmogan.selection.calibration import calibrated
from cosmogan.selection.candidates import Candidate, CandidateScorer, Generator
from cosmogan.selection.latent_scale import Tuned
from cosmogan.selection.plan import SelectionStage
from hpc import mpi
from hpc.files import whole_file, write_json
from hpc.log import Progress, say
from hpc.part import Part, share_of, title
from hpc.partial_results import PartialResults
from hpc.stage import Outcome

UNTUNED: dict[str, Any] = {"latent_scale": 1.0, "latent_scale_error": None, "trials": []}
RECORDED = ("epoch", "ema", "latent_scale", "latent_scale_error", "score")


def select(stage: SelectionStage, comm: mpi.Comm, part: Part | None) -> Outcome:
    """Release the best candidate and return what is recorded of it; of a part, only score its candidates."""
    experiment = stage.experiment
    released_before = experiment.select.generator is not None
    candidates = [] if released_before else share_of(stage.candidates(), part)
    if comm.rank == 0 and part is None:
        stage.receipt.begin(keep=False)
    scorer = CandidateScorer(experiment, comm)
    partial = PartialResults(stage.folder, comm.rank, part)
    table = _score_all(candidates, scorer, partial, title(stage.name, part))
    if part is not None:
        return Outcome({}, (f"its {len(table)} generators are scored",))
    if table:
        say(_ranking(table), comm.rank)
    best = scorer.given() if released_before else choose(table)
    finish = _calibrate if experiment.select.calibrate else _tune
    chosen, generator = finish(best, scorer, partial)
    if comm.rank == 0:
        _write(stage, table, chosen, scorer, generator)
    results = {name: chosen[name] for name in RECORDED if name in chosen}
    return Outcome(results, (f"released {_name(chosen)}: {experiment.generator_path}",))


def _name(chosen: dict[str, Any]) -> str:
    """Return in words which generator was chosen."""
    if "generator" in chosen:
        return str(chosen["generator"])
    return f"the {'moving average' if chosen['ema'] else 'generator'} of epoch {chosen['epoch']}"


def _score_all(
    candidates: Sequence[Candidate], scorer: CandidateScorer, partial: PartialResults, doing: str
) -> list[dict[str, Any]]:
    """Return all candidates with their scores, best first; those not yet scored are shared among the ranks."""
    n, comm = scorer.settings.n_samples, scorer.comm
    mine = [scorer.key(candidate, 1.0, n) for candidate in candidates[comm.rank :: comm.size]]
    keys = mpi.gathered_in_turn(mine, comm)
    scores = comm.on_root(partial.read)
    missing = [(key, candidate) for key, candidate in zip(keys, candidates, strict=True) if key not in scores]
    if len(missing) < len(candidates):
        say(f"{doing}: {len(candidates) - len(missing)} of {len(candidates)} are scored already", comm.rank)
    scored = {}
    with Progress(doing, len(missing[comm.rank :: comm.size]), "generators", comm.rank) as progress:
        for key, candidate in missing[comm.rank :: comm.size]:
            scored[key] = scorer.score(candidate, n)
            partial.add(key, scored[key])
            progress.advance()
    for of_rank in comm.allgather(scored):
        scores |= of_rank
    table = [{**candidate, **scores[key]} for key, candidate in zip(keys, candidates, strict=True)]
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


def _calibrate(
    best: dict[str, Any], scorer: CandidateScorer, partial: PartialResults
) -> tuple[dict[str, Any], Generator]:
    """Return the best candidate with the scores that it has once it is calibrated, and the generator."""
    candidate, rank = scorer.candidate(best), scorer.comm.rank
    result = calibrated(candidate, scorer, partial)
    generator = scorer.generator(candidate, 1.0, result.calibration)
    scores = scorer.scored(scorer.drawn(generator, scorer.settings.n_samples))
    about = {"kept": result.calibration is not None, **result._asdict()}
    about |= {"n_calibrate": scorer.settings.n_calibrate, "data": scorer.folder.checksum}
    del about["calibration"]
    off = f"on boxes left out of the fit by turns, score {result.before:.4f} -> {result.after:.4f}"
    kept = "calibrated to the training boxes" if about["kept"] else "not calibrated, as that is no better"
    say(f"select: {kept}: {off}{_in_words(scores)}", rank)
    return {**best, **scores, **UNTUNED, "calibration": about}, generator


def _tune(best: dict[str, Any], scorer: CandidateScorer, partial: PartialResults) -> tuple[dict[str, Any], Generator]:
    """Return the best candidate with its tuned latent scale and the scores that it has with it, and the generator.

    The scale stays 1 where one tuned on other training boxes is no better, by turns.
    """
    candidate, n = scorer.candidate(best), scorer.settings.n_tune
    if n == 0:
        return {**best, **UNTUNED}, scorer.generator(candidate, 1.0)
    recorded = scorer.comm.on_root(partial.read)
    folds = [None, *range(scorer.n_folds)]
    # Amplitudes by latent scale, against all boxes and without each fold.
    amplitudes: dict[float, list[tuple[float, float]]] = {}

    def measure(scale: float) -> tuple[float, float]:
        key = f"amplitudes {scorer.key(candidate, scale, n)}"  # not the score of as many samples
        if key not in recorded:
            drawn = scorer.drawn(scorer.generator(candidate, scale), n)
            recorded[key] = [scorer.amplitude(drawn, fold) for fold in folds]
            if scorer.comm.rank == 0:
                partial.add(key, recorded[key])
        amplitudes[scale] = recorded[key]
        return amplitudes[scale][0]

    tuned = latent_scale.bisect(measure)
    tried = sorted(amplitudes)
    by_fold = [[amplitudes[scale][1 + fold][0] for scale in tried] for fold in range(scorer.n_folds)]
    roots = [latent_scale.root(tried, of_fold) for of_fold in by_fold]
    plain = scorer.drawn(scorer.generator(candidate, 1.0), n)
    before = np.mean([scorer.score_on(fold, plain) for fold in range(scorer.n_folds)])
    drawn = [scorer.drawn(scorer.generator(candidate, scale), n) for scale in roots]
    after = np.mean([scorer.score_on(fold, samples) for fold, samples in enumerate(drawn)])
    return _tuned(best, scorer, tuned, float(before), float(after))


def _tuned(
    best: dict[str, Any], scorer: CandidateScorer, tuned: Tuned, before: float, after: float
) -> tuple[dict[str, Any], Generator]:
    """Return what `_tune` does, of a scale that brings the score on boxes left out from ``before`` to ``after``."""
    better = after < before
    generator = scorer.generator(scorer.candidate(best), tuned.scale if better else 1.0)
    scores = scorer.scored(scorer.drawn(generator, scorer.settings.n_tune))
    if tuned.error is None:
        low, high = latent_scale.BOUNDS
        what = f"no latent scale from {low:g} to {high:g} gives the training set's mean power; the nearer end is"
    else:
        what = f"the training set's mean power is that of latent scale {tuned.scale:.4f} ± {tuned.error:.4f}, which is"
    kept = f"taken, {tuned.scale:g}" if better else "not taken, as it is no better than 1"
    off = f"on boxes left out of the fit by turns, score {before:.4f} -> {after:.4f}"
    say(f"select: {what} {kept}: {off}{_in_words(scores)}", scorer.comm.rank)
    chosen = {"latent_scale": generator.latent_scale, "latent_scale_error": tuned.error if better else None}
    return {**best, **scores, **chosen, "trials": tuned.trials}, generator


def _write(
    stage: SelectionStage,
    table: list[dict[str, Any]],
    chosen: dict[str, Any],
    scorer: CandidateScorer,
    generator: Generator,
) -> None:
    """Write the scores as JSON and as a figure, and the released generator."""
    write_json(stage.folder / "scores.json", {"candidates": table, "chosen": chosen})
    if table:
        with whole_file(stage.folder / "scores.png") as temporary:
            temporary.write_bytes(style.png(figures_selection.selection(table, chosen)))
    about: dict[str, Any] = {name: chosen[name] for name in ("latent_scale_error", "calibration") if name in chosen}
    apart = (*scorer.candidate(chosen), *UNTUNED, "calibration")
    scorer.release(generator, {**about, "scores": {name: chosen[name] for name in chosen if name not in apart}})


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
