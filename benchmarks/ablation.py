"""Compare changes of a training recipe at an equal number of samples: a table of their criteria beside the base's.

    python benchmarks/ablation.py                                              # all rows of the demo's recipe
    python benchmarks/ablation.py --only "log density" --seeds 1 2              # a part, beside the base
    python benchmarks/ablation.py --config mine.yaml --set train.epochs=8 --jobs 4 --seconds 120   # on a GPU

A run of the demo's size takes 2 to 3 minutes on a core (AMD EPYC, Zen 5). What is complete is kept and never run twice,
and rows that differ in `select` alone share their training. Several runs at once share a GPU.

All runs train on the boxes of one and differ in `train.seed` beside the change. A figure is the mean over seeds of the
report's criterion of that name ± its standard error; lower is better. A star: it differs from the base's by more than
two standard errors of the difference.
"""

import argparse
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from cosmogan import config, simulate, validate
from cosmogan.reporting.criteria import rows
from cosmogan.shards import statistics_file
from cosmogan.training.plan import TrainingStage

BASE = "base"
RELATIVISTIC = ("train.loss=relativistic", "train.r1=0.1", "train.betas=[0,0.99]", "train.gate=0")
LOG, POWER = "model.discriminator_log=0.01", "model.discriminator_power=[1,3000]"
AIM = "train.discriminator_loss=1"
CHANGES: dict[str, tuple[str, ...]] = {
    BASE: (),
    "log density": (LOG,),
    "P(k)": (POWER,),
    "P(k) of the density alone": ("model.discriminator_power=[3000]",),
    "log density, P(k)": (LOG, POWER),
    "aim 1": (AIM,),
    "aim 1, log density": (AIM, LOG),
    "aim 1, P(k)": (AIM, POWER),
    "aim 1, log density, P(k)": (AIM, LOG, POWER),
    "relativistic": RELATIVISTIC,
    "relativistic, log density, P(k)": (*RELATIVISTIC, LOG, POWER),
    "doubled cells": ("model.resize=true",),
    "all of it": (AIM, LOG, POWER, "model.resize=true"),
    "no second κ": ("model.discriminator_kappa=[]",),
    "random crops": ("train.random_crops=true",),
    "BatchNorm over 4 samples": ("train.batch_norm_group=4",),
    "κ = 8": ("model.kappa=8",),
    "Gaussian prior": ("model.prior=gaussian",),
    "R1, γ = 1": ("train.r1=1",),
    "not calibrated": ("select.calibrate=false",),
}
CRITERIA = {
    "power": "mean P(k)",
    "power_all": "P(k), corners included",
    "variance": "variance of P(k)",
    "mean_density": "median of mean density",
    "voxel_pdf": "voxel PDF agrees from ρ/ρ̄ =",
    "bispectrum": "bispectrum",
    "peaks": "peaks",
    "cross_power": "cross power, σ",
    "diversity": "diversity",
}
TRAINING = ("discriminator's loss, second half", "steps", "samples/s")


def experiment(options: argparse.Namespace, folder: Path, settings: Sequence[str]) -> config.Experiment:
    """Return the experiment of a run, on the boxes that all share."""
    folders = f"output={folder}", f"data={options.output / 'boxes'}"
    return config.load(options.config, [f"name={folder.name}", *folders, *options.set, *settings])


def folder(options: argparse.Namespace, kind: str, settings: Sequence[str]) -> Path:
    """Return the folder of what is made with some settings."""
    words = json.dumps([str(options.config), *options.set, *settings])
    return options.output / f"{kind}-{hashlib.sha256(words.encode()).hexdigest()[:10]}"


def stage(options: argparse.Namespace, name: str, made: config.Experiment, limit: float | None = None) -> bool:
    """Run a stage as a process of its own, and tell whether it ended within the limit [s]."""
    threads = str(max(1, len(os.sched_getaffinity(0)) // options.jobs))
    command = [sys.executable, "-m", f"cosmogan.{name}", str(made.freeze())]
    with open(made.folder / "log.txt", "a") as log:
        process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": threads}, stdout=log, stderr=log)
        try:
            if process.wait(limit) != 0:
                raise RuntimeError(f"{name}: failed, see {made.folder / 'log.txt'}")
            return True
        except subprocess.TimeoutExpired:
            process.terminate()  # it saves itself
            process.wait()
            return False


def trained(options: argparse.Namespace, settings: Sequence[str]) -> config.Experiment:
    """Return an experiment that is trained; to the last epoch that the time allows, where that is limited."""
    made = experiment(options, folder(options, "train", settings), settings)
    short = made.folder / "short.json"
    if short.exists():
        return experiment(options, made.folder, [*settings, *json.loads(short.read_text())])
    if not TrainingStage(made).is_done() and not stage(options, "train", made, options.seconds):
        last = max((int(path.name[6:10]) for path in (made.train_folder / "generators").glob("epoch-*")), default=0)
        if last == 0:
            raise RuntimeError(f"train: no epoch in {options.seconds:g} s, see {made.folder / 'log.txt'}; shorten them")
        fewer = [f"train.epochs={last}", f"select.first_epoch={min(last, made.select.first_epoch)}"]
        made = experiment(options, made.folder, [*settings, *fewer])
        stage(options, "train", made)
        short.write_text(json.dumps(fewer))
    return made


def complete(options: argparse.Namespace, change: str, seed: int) -> config.Experiment:
    """Run what is missing of one change and seed; return its experiment, measured."""
    settings = (f"train.seed={seed}", *CHANGES[change])
    begun = time.monotonic()
    before = trained(options, [word for word in settings if not word.startswith("select.")])
    short = before.folder / "short.json"
    settings = (*settings, *(json.loads(short.read_text()) if short.exists() else ()))
    made = experiment(options, folder(options, "run", settings), settings)
    if not validate.stage(made).is_done():
        made.folder.mkdir(parents=True, exist_ok=True)
        if not made.train_folder.exists():
            made.train_folder.symlink_to(before.train_folder.resolve())
        shutil.copytree(before.folder / "receipts", made.folder / "receipts", dirs_exist_ok=True)
        for name in ("select", "sample", "validate"):
            stage(options, name, made)
        print(f"{change}, seed {seed}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return made


def criteria(made: config.Experiment) -> dict[str, float]:
    """Return the criteria of a run, and how its training went."""
    found = {row.name: row.distance.value for row in rows(statistics_file.read(made.statistics_path))}
    lines = [json.loads(line) for line in (made.train_folder / "metrics.jsonl").read_text().splitlines()]
    numbers = [[line[name] for line in lines] for name in ("loss_discriminator", "step", "samples_per_second")]
    losses, steps, speeds = np.array(numbers, float)[:, len(lines) // 2 :]
    went = (losses.mean(), steps[-1], np.median(speeds)) if len(lines) else [math.nan] * len(TRAINING)
    return found | dict(zip(TRAINING, went, strict=True))


def error(values: np.ndarray) -> float:
    """Return the standard error of the mean; NaN of one value, or where not all are numbers."""
    return values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 and np.isfinite(values).all() else math.nan


def table(found: dict[str, list[dict[str, float]]]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield " | ".join(("", "", *CRITERIA.values(), *TRAINING, "")).strip()
    yield "|" + "---|" * (1 + len(CRITERIA) + len(TRAINING))
    for change, runs in found.items():
        cells = []
        for key in (*CRITERIA, *TRAINING):
            values, base = (np.array([run[key] for run in of]) for of in (runs, found.get(BASE, runs)))
            apart = abs(values.mean() - base.mean()) if np.isfinite([values.mean(), base.mean()]).all() else 0.0
            star = " *" if apart > 2 * math.hypot(error(values), error(base)) else ""
            scatter = "" if math.isnan(error(values)) else f" ± {error(values):.2g}"
            cells.append(f"{values.mean():.{2 if key in CRITERIA else 4}g}{scatter}{star}")
        yield "| " + " | ".join((change, *cells)) + " |"


def make_boxes(options: argparse.Namespace) -> None:
    """Simulate and cut up the boxes that all runs share, some at once."""
    boxes = config.load(options.config, [f"output={options.output / 'boxes'}", *options.set])
    if not simulate.stage(boxes).is_done():
        command = [sys.executable, "-m", "cosmogan.simulate", str(boxes.freeze())]
        n = min(options.jobs, boxes.simulate.n_simulations)
        parts = [subprocess.Popen([*command, "--part", f"{i + 1}/{n}"]) for i in range(n)]
        if any(part.wait() for part in parts):
            raise SystemExit("simulate: failed, see above")
        subprocess.run(command, check=True)
    subprocess.run([sys.executable, "-m", "cosmogan.preprocess", str(boxes.freeze())], check=True)


def main() -> None:
    """Run what is asked for, some at once, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("configs/demo.yaml"))
    parser.add_argument("--set", nargs="+", default=[], metavar="SETTING", help="of all runs, as train.epochs=8")
    parser.add_argument("--output", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--only", nargs="+", choices=list(CHANGES), default=list(CHANGES), help="beside the base")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4])
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at once")
    parser.add_argument("--seconds", type=float, help="each training ends after so many: its last whole epoch counts")
    options = parser.parse_args()
    make_boxes(options)
    wanted = dict.fromkeys([BASE, *options.only])
    with ThreadPoolExecutor(options.jobs) as pool:
        runs = [(change, pool.submit(complete, options, change, seed)) for seed in options.seeds for change in wanted]
        found: dict[str, list[dict[str, float]]] = {change: [] for change in wanted}
        for change, run in runs:
            try:
                found[change].append(criteria(run.result()))
            except (RuntimeError, ValueError) as problem:  # the table goes on
                print(f"{change}: {problem}", file=sys.stderr, flush=True)
    print(*table({change: of for change, of in found.items() if of}), sep="\n")


if __name__ == "__main__":
    main()
