"""Preprocess against nbodykit and Pylians on one snapshot, in one run on one machine; one JSON line each.

    python benchmarks/preprocess.py                      # 512³ particles: 1.6 GB of positions, 3 minutes
    python benchmarks/preprocess.py --side 256 --runs 3  # an eighth of that, three times in turn

The snapshot is a clustered GADGET-2 one, repeated in the three directions and shifted by a fraction of a cell, in 8
files of format 1. Its particles lie as GADGET-2 writes them: file after file and tile after tile along a space-filling
curve. cosmogan is timed as a whole command, from the shell: start, imports, reading, exchange, painting, shards with
checksums on disk. The others are timed from their first to their last call, imports
left out; they write nothing.
`floor` is what this machine can do: reading and writing as many bytes, and 8 weighted adds to cells that are in cache.
"""

import argparse
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numba
import numpy as np

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "tests" / "data" / "g2_64_kpc_f1" / "snapshot_006"  # 64³ particles in 64 Mpc/h
SOURCE_SIDE, SOURCE_BOX, POSITIONS_AT = 64, 64_000.0, 268
N_FILES = 8
SHIFT = 10_370.0  # [kpc/h], so that no tile is a subvolume

PYLIANS = """
import time, readgadget, MAS_library, numpy as np
start = time.perf_counter()
positions = readgadget.read_block({stem!r}, "POS ", [1])
read = time.perf_counter()
mesh = np.zeros(({side},) * 3, np.float32)
MAS_library.MA(positions, mesh, {box}, "CIC", verbose=False)
stop = time.perf_counter()
print("stages", read - start, stop - read)
"""
NBODYKIT = """
import time
from mpi4py import MPI
from nbodykit.source.catalog.file import Gadget1Catalog
MPI.COMM_WORLD.Barrier()
start = time.perf_counter()
catalog = Gadget1Catalog({stem!r} + ".*", ptype=1)
catalog.to_mesh({side}, resampler="cic", BoxSize={box}).compute()
MPI.COMM_WORLD.Barrier()
if MPI.COMM_WORLD.rank == 0:
    print("stages", time.perf_counter() - start)
"""


def make_snapshot(folder: Path, side: int) -> Path:
    """Write the snapshot of ``side``³ particles; return its stem."""
    tiles, stem = side // SOURCE_SIDE, folder / "snapshot_006"
    head = bytearray(SOURCE.read_bytes()[4:260])
    positions = np.fromfile(SOURCE, np.float32, 3 * SOURCE_SIDE**3, offset=POSITIONS_AT).reshape(-1, 3)
    box, n_here = SOURCE_BOX * tiles, side**3 // N_FILES
    struct.pack_into("<6I", head, 0, 0, n_here, 0, 0, 0, 0)
    struct.pack_into("<6I", head, 96, 0, side**3, 0, 0, 0, 0)
    struct.pack_into("<id", head, 124, N_FILES, 0.0)
    struct.pack_into("<d", head, 128, box)
    corners = sorted(np.ndindex(tiles, tiles, tiles), key=_along_curve)
    for i in range(N_FILES):
        with open(f"{stem}.{i}", "wb") as file:
            _record(file, bytes(head))
            file.write(struct.pack("<I", 12 * n_here))
            for corner in corners[i * len(corners) // N_FILES : (i + 1) * len(corners) // N_FILES]:
                moved = positions + np.float32(SOURCE_BOX) * np.float32(corner) + np.float32(SHIFT)
                np.where(moved >= box, moved - np.float32(box), moved).tofile(file)
            file.write(struct.pack("<I", 12 * n_here))
            for bytes_each in (12, 4):  # velocities and IDs: holes, which nobody here reads
                file.write(struct.pack("<I", bytes_each * n_here))
                file.seek(bytes_each * n_here, os.SEEK_CUR)
                file.write(struct.pack("<I", bytes_each * n_here))
    return stem


def _along_curve(corner: tuple[int, ...]) -> int:
    return sum(((c >> bit) & 1) << (3 * bit + 2 - axis) for axis, c in enumerate(corner) for bit in range(10))


def _record(file, data: bytes) -> None:
    file.write(struct.pack("<I", len(data)) + data + struct.pack("<I", len(data)))


def run(command: list[str]) -> tuple[str, float, float]:
    """Run a command; return its output, its seconds, and the peak memory of its largest process [MB]."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen(command, stdout=output, stderr=errors, env=environment)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0), errors.seek(0)
        if child.returncode != 0:
            raise RuntimeError(f"{' '.join(command[:6])} …: exit {child.returncode}\n{errors.read()[-2000:]}")
        return output.read(), seconds, usage.ru_maxrss / 1000


def cosmogan(stem: Path, side: int, ranks: int, folder: Path) -> dict:
    """Time the whole command."""
    shutil.rmtree(folder / "run", ignore_errors=True)
    settings = [f"output={folder / 'run'}", f"preprocess.snapshots=[{stem}]", f"preprocess.n_mesh={side}"]
    config = folder / "benchmark.yaml"
    config.write_text("name: benchmark\noutput: run\npreprocess: {length_unit: kpc/h, subvolume: 64}\n")
    command = [sys.executable, "-m", "cosmogan.preprocess", str(config), *settings]
    _, seconds, peak = run([*mpirun(ranks), *command])
    receipt = json.loads((folder / "run" / "shards" / "receipts" / "preprocess.json").read_text())
    stages = {line["stage"]: line["longest"] for line in receipt["results"]["stages"]}
    stages["start and end"] = round(seconds - sum(stages.values()), 3)
    return {"name": "cosmogan", "ranks": ranks, "seconds": seconds, "stages": stages, "peak_mb_a_rank": peak}


def pylians(stem: Path, side: int, folder: Path) -> dict:
    """Time reading and painting on one core."""
    code = PYLIANS.format(stem=str(stem), side=side, box=SOURCE_BOX * side / SOURCE_SIDE)
    output, _, peak = run([sys.executable, "-c", code])
    read, paint = map(float, output.split("stages")[-1].split())
    stages = {"read": round(read, 3), "paint": round(paint, 3)}
    return {"name": "Pylians", "ranks": 1, "seconds": read + paint, "stages": stages, "peak_mb_a_rank": peak}


def nbodykit(stem: Path, side: int, ranks: int, folder: Path) -> dict:
    """Time reading and painting."""
    code = NBODYKIT.format(stem=str(stem), side=side, box=SOURCE_BOX * side / SOURCE_SIDE)
    output, _, peak = run([*mpirun(ranks), sys.executable, "-c", code])
    seconds = float(output.split("stages")[-1])
    return {"name": "nbodykit", "ranks": ranks, "seconds": seconds, "stages": {}, "peak_mb_a_rank": peak}


def mpirun(ranks: int) -> list[str]:
    """Return what starts a command on MPI ranks."""
    beside = Path(sys.executable).parent / "mpirun"
    return [str(beside) if beside.exists() else "mpirun", "-n", str(ranks)]


def floor(stem: Path, side: int, folder: Path) -> dict:
    """Measure what the machine can do on one core: read, write, and add."""
    buffer, n_read = np.empty(1 << 20, np.uint8), 0
    start = time.perf_counter()
    for i in range(N_FILES):
        with open(f"{stem}.{i}", "rb", buffering=0) as file:
            for _ in range(12 * side**3 // N_FILES >> 20):
                n_read += file.readinto(buffer)
    read = time.perf_counter() - start
    start = time.perf_counter()
    with open(folder / "floor", "wb", buffering=0) as file:
        for _ in range(4 * side**3 >> 20):
            file.write(buffer)
        os.fsync(file.fileno())
    write = time.perf_counter() - start
    (folder / "floor").unlink()
    mesh, weights = np.zeros(1 << 12, np.float32), np.full(8, 0.125, np.float32)
    add_in_cache(mesh, weights, 1)
    start = time.perf_counter()
    add_in_cache(mesh, weights, 1 << 24)
    adds = (time.perf_counter() - start) / (1 << 24) * 1e9
    return {
        "name": "floor",
        "read_gb_s": round(n_read / read / 1e9, 2),
        "write_gb_s": round(4 * side**3 / write / 1e9, 2),
        "adds_ns_a_particle": round(adds, 2),
        "seconds_on_one_core": round(read + write + adds * side**3 / 1e9, 2),
    }


@numba.njit
def add_in_cache(mesh, weights, n):
    """Add 8 weights to the cells around one of 16³ that are in the first-level cache, ``n`` times."""
    for p in range(n):
        i = np.uint64((p * 7) & 2047)
        for j in range(2):
            for k in range(2):
                row = i + np.uint64(j * 256 + k * 16)
                mesh[row] += weights[4 * j + 2 * k]
                mesh[row + np.uint64(1)] += weights[4 * j + 2 * k + 1]


def main() -> None:
    """Make the snapshot, time all that is installed, and print one JSON line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=512, help="particles and cells a side, a multiple of 128")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--runs", type=int, default=1, help="of all in turn; the fastest of each counts")
    parser.add_argument(
        "--folder", type=Path, help="where to make the snapshot and the shards; default: a temporary one"
    )
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="cosmogan-benchmark-", dir=arguments.folder))
    side, ranks = arguments.side, arguments.ranks
    try:
        stem = make_snapshot(folder, side)
        print(json.dumps(floor(stem, side, folder)), flush=True)
        best: dict[str, dict] = {}
        cosmogan(stem, side, ranks, folder)  # brings the snapshot into the page cache
        for _ in range(arguments.runs):
            for call in (
                lambda: cosmogan(stem, side, ranks, folder),
                lambda: pylians(stem, side, folder),
                lambda: nbodykit(stem, side, ranks, folder),
            ):
                try:
                    result = call()
                except RuntimeError as error:
                    if "ModuleNotFoundError" not in str(error):
                        raise
                    continue
                if result["name"] not in best or result["seconds"] < best[result["name"]]["seconds"]:
                    best[result["name"]] = result
        for result in best.values():
            seconds = result["seconds"]
            result |= {
                "seconds": round(seconds, 3),
                "ns_a_particle": round(seconds / side**3 * 1e9, 2),
                "gb_s": round(12 * side**3 / seconds / 1e9, 3),
                "times_cosmogan": round(seconds / best["cosmogan"]["seconds"], 2),
            }
            print(json.dumps(result), flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
