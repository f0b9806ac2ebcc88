"""What each change of a recipe does with the same samples seen: its criteria beside the unchanged one's, as a table.

    python benchmarks/ablation.py                                       # all changes of the demo's recipe
    python benchmarks/ablation.py --only "random crops" --seeds 1 2      # a part; what is complete is kept

A run of the demo's size takes 2 to 3 minutes on a core (AMD EPYC, Zen 5).

All runs train on the boxes of one and differ in `train.seed` beside the change. A figure is the mean over seeds of the
report's criterion of that name, ± its standard deviation from seed to seed; lower is better.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from cosmogan import config, results
from cosmogan.reporting import verdict

BASE = ("model.discriminator_kappa=[]", "select.orient=false")  # without what has shown to help, a row each
CHANGES = {
    "the recipe": (),
    "discriminator with a second κ, 0.5": ("model.discriminator_kappa=[0.5]",),
    "all orientations": ("select.orient=true",),
    "random crops": ("train.random_crops=true",),
    "no average of the generator": ("train.ema=null",),
    "rates that do not fall": ("train.rate_end=1",),
    "BatchNorm over 4 samples": ("train.batch_norm_group=4",),
    "κ = 8": ("model.kappa=8",),
    "Gaussian prior": ("model.prior=gaussian",),
    "no bias next to the density": ("model.density_bias=false",),
    "R1, γ = 1": ("train.r1=1",),
    "twice as long": ("train.epochs=64", "select.first_epoch=33"),
    "second κ and all orientations": ("model.discriminator_kappa=[0.5]", "select.orient=true"),
    "these two, not calibrated": ("model.discriminator_kappa=[0.5]", "select.orient=true", "select.calibrate=false"),
}
CRITERIA = {
    "power": "mean P(k)",
    "variance": "variance of P(k)",
    "mean_density": "median of mean density",
    "voxel_pdf": "voxel PDF agrees from ρ/ρ̄ =",
    "bispectrum": "bispectrum",
    "peaks": "peaks",
    "diversity": "diversity",
}


def complete(options: argparse.Namespace, change: str, seed: int) -> Path:
    """Run the chain of one change and seed, each of whose stages is one process; return its statistics."""
    name = f"{list(CHANGES).index(change):02d}-{seed}"
    folders = f"output={options.output / name}", f"data={options.output / 'boxes'}"
    settings = (f"name={name}", *folders, f"train.seed={seed}", *BASE, *CHANGES[change])
    command = [sys.executable, "-m", "cosmogan.run", str(options.config), "--cluster", "debug", *settings]
    with open(options.output / f"{name}.txt", "w") as log:
        subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=log, stderr=log, check=True)
    print(f"{change}, seed {seed}: done", file=sys.stderr, flush=True)
    return config.load(options.config, settings).statistics_path


def table(found: dict[str, list[Path]]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield " | ".join(("", "", *CRITERIA.values(), "")).strip()
    yield "|" + "---|" * (1 + len(CRITERIA))
    for change, paths in found.items():
        judged = [{row.name: row for row in verdict.rows(results.read(path))} for path in paths]
        cells = []
        for key in CRITERIA:
            values = np.array([rows[key].found.value for rows in judged])
            scatter = f" ± {values.std(ddof=1):.2g}" if len(values) > 1 and np.isfinite(values).all() else ""
            cells.append(f"{values.mean():.2g}{scatter}")
        yield "| " + " | ".join((change, *cells)) + " |"


def main() -> None:
    """Run what is asked for, some at once, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("configs/demo.yaml"))
    parser.add_argument("--output", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--only", nargs="+", choices=list(CHANGES), default=list(CHANGES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at once, a core each")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    boxes = config.load(options.config, [f"output={options.output / 'boxes'}"]).freeze()
    for stage in ("simulate", "preprocess"):
        subprocess.run([sys.executable, "-m", f"cosmogan.{stage}", str(boxes)], check=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        runs = {c: [pool.submit(complete, options, c, seed) for seed in options.seeds] for c in options.only}
        found = {change: [run.result() for run in tries] for change, tries in runs.items()}
    print(*table(found), sep="\n")


if __name__ == "__main__":
    main()
