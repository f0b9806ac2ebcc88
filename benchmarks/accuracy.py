"""The embedded simulator against GADGET-2 from the same initial conditions, and its linear growth; one JSON line each.

    python benchmarks/accuracy.py                        # half a minute on 2 cores
    python benchmarks/accuracy.py --figure accuracy.png  # draws what docs/simulations.md shows

The GADGET-2 run is that of tests/data/g2_32_mpc_f1: 32³ particles in 32 Mpc/h, from 2LPT initial conditions at z = 49.
Fields are CIC on 64³ cells. Growth is that of the longest waves of a box of 1 Gpc/h with fixed amplitudes and σ8 = 0.1.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import yaml

from cosmogan import config, simulate
from cosmogan.nbody import cosmology
from cosmogan.nbody.paint import Painter
from cosmogan.nbody.snapshot import open_snapshot
from cosmogan.statistics import cross_power, power_spectrum
from hpc.mpi import SerialComm

DATA = Path(__file__).parent.parent / "tests" / "data" / "g2_32_mpc_f1"
GADGET = {3.0: "snapshot_000", 1.0: "snapshot_003", 0.0: "snapshot_006"}
N_MESH = 64
UNIVERSE = {"omega_m": 0.29, "omega_b": 0.047, "h": 0.69, "n_s": 0.96, "sigma_8": 0.82}
PAPER = [3.0, 2.0, 1.5, 1.0, 0.5, 0.25, 0.0]


def run(folder: Path, universe: dict[str, float], **settings) -> list[Path]:
    """Simulate one box; return its snapshots, one a redshift."""
    tree = {"name": "accuracy", "output": str(folder), "cosmology": UNIVERSE | universe}
    tree["simulate"] = {"n_simulations": 1, "transfer": "eisenstein-hu", "device": "cpu", **settings}
    path = folder.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(tree))
    experiment = config.load(path)
    simulate.simulate(experiment, SerialComm())
    return sorted(experiment.simulations_folder.glob("box-000/snapshot_*"))


def density(path: Path) -> tuple[np.ndarray, float]:
    """Return the CIC density (n, n, n) of a snapshot, in units of the mean, and its box size [Mpc/h]."""
    snapshot = open_snapshot(path, "all")
    positions = np.empty((snapshot.n_particles, 3), snapshot.position_dtype)
    snapshot.read_positions(positions, 0)
    painter = Painter((N_MESH / snapshot.box_size, N_MESH, N_MESH), np.zeros(1, np.int32))
    painter.add(positions)
    return painter.density(N_MESH**3 / snapshot.n_particles)[0][0], snapshot.box_size


def compare(ours: Path, theirs: Path) -> dict[str, np.ndarray]:
    """Return k [h/Mpc], the ratio of powers, the correlation coefficient of the fields, and the ratio of voxel PDFs."""
    (a, box_size), (b, _) = density(ours), density(theirs)
    first, second, both = power_spectrum(a, box_size), power_spectrum(b, box_size), cross_power(a, b, box_size)
    p, q, c = (np.asarray(spectrum.power).reshape(-1) for spectrum in (first, second, both))
    edges = np.linspace(-1, 1.5, 26)
    pdfs = [np.histogram(np.log10(np.maximum(field, 1e-9)), edges)[0] for field in (a, b)]
    return {"k": np.asarray(first.k), "ratio": p / q, "correlation": c / np.sqrt(p * q), "pdfs": np.array(pdfs)}


def growth(folder: Path, n_steps: int) -> dict[str, float]:
    """Return, for each redshift of the paper, the power of the largest modes over linear theory's."""
    box_size = 1000.0
    settings = {"box_size": box_size, "n_particles": 128, "fixed_amplitudes": True, "n_steps": n_steps}
    paths, ratios = run(folder, {"sigma_8": 0.1}, redshifts=[40.0, *PAPER], **settings), {}
    spectra = []
    for path in paths:
        result = power_spectrum(density(path)[0], box_size)
        large, n_modes = np.asarray(result.k) < 2.5 * 2 * np.pi / box_size, np.asarray(result.n_modes)
        spectra.append((np.asarray(result.power).reshape(-1) * n_modes)[large].sum())
    start = cosmology.growth(1 / 41, UNIVERSE["omega_m"])
    for z, power in zip(PAPER, spectra[1:], strict=True):
        ratios[f"{z:g}"] = float(power / spectra[0] * (start / cosmology.growth(1 / (1 + z), UNIVERSE["omega_m"])) ** 2)
    return ratios


def draw(comparisons: dict[float, dict[str, np.ndarray]], path: Path) -> None:
    """Draw the ratio of powers, the correlation and the voxel PDFs."""
    fig, axes = plt.subplots(1, 3, figsize=(11, 3.2), constrained_layout=True)
    for (z, comparison), color in zip(comparisons.items(), ("#0072b2", "#d55e00", "#000000"), strict=True):
        axes[0].plot(comparison["k"], comparison["ratio"], color=color, label=f"z = {z:g}")
        axes[1].plot(comparison["k"], comparison["correlation"], color=color)
    edges = np.linspace(-1, 1.5, 26)
    for counts, style in zip(comparisons[0.0]["pdfs"], ("-", "--"), strict=True):
        axes[2].stairs(counts / counts.sum(), 10**edges, color="#000000", ls=style)
    axes[2].text(0.97, 0.95, "z = 0: — ours, ‒ ‒ GADGET-2", transform=axes[2].transAxes, ha="right", va="top")
    axes[0].axhspan(0.95, 1.05, color="0.9")
    axes[0].legend(frameon=False)
    axes[0].set(xlabel="k [h/Mpc]", ylabel="P(k) / P(k) of GADGET-2", xlim=(0.15, 2), ylim=(0.8, 1.2), xscale="log")
    axes[1].set(xlabel="k [h/Mpc]", ylabel="correlation of the fields", xlim=(0.15, 3), ylim=(0.9, 1.005), xscale="log")
    axes[2].set(xlabel="density of a cell of 0.5 Mpc/h, ρ/ρ̄", ylabel="fraction of cells", xscale="log", yscale="log")
    for ax, ticks in ((axes[0], (0.2, 0.5, 1, 2)), (axes[1], (0.2, 0.5, 1, 2, 3))):
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.minorticks_off()
    axes[2].set(ylim=(3e-3, 0.2))
    fig.savefig(path, dpi=150)


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--steps", type=int, default=20, help="from z = 49 to 0")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cosmogan-accuracy-") as temporary:
        folder, start = Path(temporary), time.perf_counter()
        same = {"initial_conditions": str(DATA / "ic32_mpc"), "n_particles": 32, "box_size": 32.0}
        paths = run(folder / "gadget", {}, redshifts=list(GADGET), n_steps=arguments.steps, **same)
        comparisons = {z: compare(path, DATA / name) for path, (z, name) in zip(paths, GADGET.items(), strict=True)}
        for z, comparison in comparisons.items():
            for name, low, high in (("k <= 1", 0, 1.05), ("1 < k <= 1.57", 1.05, 1.6)):
                chosen = (comparison["k"] > low) & (comparison["k"] <= high)
                line = {
                    "z": z,
                    "range": name,
                    "power_ratio": [round(float(f(comparison["ratio"][chosen])), 3) for f in (np.min, np.max)],
                }
                print(
                    json.dumps(line | {"correlation_min": round(float(comparison["correlation"][chosen].min()), 4)}),
                    flush=True,
                )
        print(json.dumps({"growth": {z: round(x, 4) for z, x in growth(folder / "growth", arguments.steps).items()}}))
        print(json.dumps({"seconds": round(time.perf_counter() - start, 1)}))
        if arguments.figure:
            draw(comparisons, arguments.figure)


if __name__ == "__main__":
    main()
