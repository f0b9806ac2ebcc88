"""Time statistics against Pylians and nbodykit, and a whole validation; one JSON line each.

    python benchmarks/estimators.py                        # one thread: P(k) and bispectra of 200 fields of 64³ cells
    python benchmarks/estimators.py --validate 2000        # that many generated and held-out subvolumes, on two ranks
    python benchmarks/estimators.py --validate 100000 --side 16

Peers are measured in the same run, in parts that alternate with ours, so that a busy machine slows all alike; the ratio
is the median of the parts' (``make reference`` adds the peers). Fields are lognormal. `validate` reads its volumes from
shards on disk, with as many training volumes to look for copies of.
"""

import argparse
import contextlib
import importlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are imported

import numpy as np
import torch
import yaml

from cosmogan import shards
from cosmogan.statistics import bispectra, power

CELL, PARTS = 1.0, 10


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=int, default=200)
    parser.add_argument("--side", type=int, default=64, help="cells a side of a field")
    parser.add_argument("--validate", type=int, metavar="N", help="validate N generated against N held-out subvolumes")
    parser.add_argument("--ranks", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.validate is not None:
        with tempfile.TemporaryDirectory() as folder:
            say(validation(Path(folder), arguments.validate, arguments.side, arguments.ranks))
        return
    fields = torch.from_numpy(lognormal(np.random.default_rng(0), arguments.fields, arguments.side))
    fields -= fields.mean(dim=(1, 2, 3), keepdim=True)  # the peers take fluctuations
    for line in spectra(fields):
        say(line)
    for sides in bispectra.paper_triangles(CELL * arguments.side, arguments.side):
        for line in triangles(fields, sides):
            say(line)


def say(line: dict[str, Any]) -> None:
    """Print a line as JSON."""
    print(json.dumps(line), flush=True)


def lognormal(rng: np.random.Generator, n: int, side: int) -> np.ndarray:
    """Return fields whose logarithm has P(k) ~ 1/k² and variance 1, (n, side, side, side) float32, of mean 1."""
    axis = np.fft.fftfreq(side, 1 / side)
    q = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + np.arange(side // 2 + 1) ** 2)
    amplitude = torch.from_numpy(np.where(q > 0, 1 / np.maximum(q, 1), 0).astype(np.float32))
    fields = np.empty((n, side, side, side), np.float32)
    for field in fields:
        white = torch.from_numpy(rng.standard_normal(field.shape, np.float32))
        smooth = torch.fft.irfftn(torch.fft.rfftn(white) * amplitude, s=field.shape)
        field[:] = torch.exp(smooth / smooth.std() - 0.5)
    return fields


def spectra(fields: torch.Tensor) -> list[dict[str, Any]]:
    """Time P(k)."""
    size = CELL * fields.shape[1]

    def by_pylians(part: torch.Tensor) -> None:
        pylians = importlib.import_module("Pk_library")
        for delta in part.numpy():
            pylians.Pk(delta, size, 2, "None", 1, False)

    def by_nbodykit(part: torch.Tensor) -> None:
        lab = importlib.import_module("nbodykit.lab")
        for delta in part.numpy():
            mesh = lab.ArrayMesh(delta, BoxSize=size)
            lab.FFTPower(mesh, mode="1d", dk=2 * np.pi / size, kmin=2 * np.pi / size)

    programs = {
        "cosmogan": lambda part: power.power_spectrum(part, size),
        "Pylians": by_pylians,
        "nbodykit": by_nbodykit,
    }
    return compared("power spectrum", programs, fields)


def triangles(fields: torch.Tensor, sides: bispectra.Triangles) -> list[dict[str, Any]]:
    """Time the bispectrum of one pair of sides, all its angles."""
    size = CELL * fields.shape[1]

    def by_pylians(part: torch.Tensor) -> None:
        pylians = importlib.import_module("Pk_library")
        for delta in part.numpy():
            pylians.Bk(delta, size, sides.k1, sides.k2, sides.theta, "None", 1)

    programs = {"cosmogan": lambda part: bispectra.bispectrum(part, size, sides), "Pylians": by_pylians}
    what = f"bispectrum of k1 = {sides.k1:.3g}, k2 = {sides.k2:.3g}, {len(sides.theta)} angles"
    return compared(what, programs, fields)


def compared(
    what: str, programs: dict[str, Callable[[torch.Tensor], Any]], fields: torch.Tensor
) -> list[dict[str, Any]]:
    """Time programs on the same fields, part by part in turn."""
    programs = {name: program for name, program in programs.items() if works(program, fields[:1])}
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for part in fields.tensor_split(PARTS):
        for name, program in programs.items():
            start = time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()):  # Pylians says what it does
                program(part)
            seconds[name].append(time.perf_counter() - start)
    lines = []
    for name, own in seconds.items():
        ratio = float(np.median(np.array(own) / seconds["cosmogan"]))
        size = {"side": fields.shape[1], "fields": len(fields), "ms_a_field": round(1e3 * sum(own) / len(fields), 3)}
        lines.append({"benchmark": what, "program": name, **size, "over_ours": round(ratio, 2)})
    return lines


def works(program: Callable[[torch.Tensor], Any], field: torch.Tensor) -> bool:
    """Warm a program up; false when it is not installed."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            program(field)
    except ImportError as error:
        print(error, file=sys.stderr)
        return False
    return True


def validation(folder: Path, n: int, side: int, ranks: int) -> dict[str, Any]:
    """Time ``mpirun python -m cosmogan.validate`` on 3 n volumes: generated, held out and trained on."""
    path = write_run(folder, n, side)
    command = ["mpirun", "-n", str(ranks), sys.executable, "-m", "cosmogan.validate", str(path)]
    start = time.perf_counter()
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - start
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
    size = {
        "volumes": n,
        "side": side,
        "ranks": ranks,
        "file_MB": round((folder / "statistics.h5").stat().st_size / 1e6),
    }
    return {"benchmark": "validate", **size, "seconds": round(seconds, 1), "largest_rank_MB": round(largest)}


def write_run(folder: Path, n: int, side: int) -> Path:
    """Write four simulations to hold out, four to train on, and as many generated volumes; return the config."""
    rng = np.random.default_rng(0)
    geometry = shards.Geometry(0.0, 8 * side * CELL, 8 * side, side, 1.0)
    for kind, name, numbers in (("simulated", "shards", range(8)), ("generated", "samples", range(4))):
        lines: list[dict[str, Any]] = []
        for number in numbers:
            rows = (number % 4 + 1) * n // 4 - number % 4 * n // 4
            with shards.create(folder / name / f"{number}.h5", rows, geometry, kind, {}, lines) as file:
                for start in range(0, rows, 500):
                    file["density"][start : start + 500] = lognormal(rng, min(500, rows - start), side)
                if kind == "simulated":
                    file["simulation"][:] = number
        shards.write_manifest(folder / name, geometry, kind, lines, {})
    tree = {"name": "benchmark", "output": str(folder), "held_out": [4, 5, 6, 7]}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(tree | {"simulate": {"n_simulations": 8}, "validate": {"device": "cpu"}}))
    return path


if __name__ == "__main__":
    main()
