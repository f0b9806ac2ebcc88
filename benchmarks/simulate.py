"""The embedded simulator's seconds a box and nanoseconds a particle-step, beside its floor; a JSON line a side.

    python benchmarks/simulate.py                           # 128³ particles: a minute or two on 2 cores
    python benchmarks/simulate.py --sides 128 256           # 256³: eight times as long
    python benchmarks/simulate.py --sides 512 --device cuda

A box is the whole command in a process of its own, from z = 49 to 0: start, imports, initial conditions, steps, and the
snapshot on disk; `cpu_seconds_a_box` is what all its threads took of the processors, which a busy machine changes
less, and `peak_gb` the most that it had of the host's memory. A particle-step is timed by itself, on
particles moved little from their lattice and on those at z = 0, whose cells are read in no order.
`floor` is what this machine can do: the step's two Fourier transforms, by themselves and as the step does them, and
reading and writing once whatever else the step has to touch, as fast as a large array is copied.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import yaml

from cosmogan import config
from cosmogan.nbody import particle_mesh
from cosmogan.nbody.transforms import transform, transform_back
from cosmogan.simulations import box

STEPS = 20
# Bytes that a step has to touch. A particle: twice drifted (36 each), painted (12), its force read (24), kicked (36). A
# cell: cleared and painted (12), read for forces (4); it is solved for between the transforms of its line.
PER_PARTICLE, PER_CELL = 144, 16


def experiment(folder: Path, side: int, device: str) -> Path:
    """Write the experiment of one box; return its path."""
    simulate = {"n_simulations": 1, "box_size": float(side), "n_particles": side, "n_steps": STEPS, "device": device}
    simulate |= {"mesh_factor": 2, "redshift_initial": 49.0, "transfer": "eisenstein-hu"}
    path = folder / f"{side}.yaml"
    path.write_text(yaml.safe_dump({"name": "speed", "output": str(folder / f"run-{side}"), "simulate": simulate}))
    return path


def whole_box(path: Path) -> dict[str, float]:
    """Run the command; return its seconds and its peak memory."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "cosmogan.simulate", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = process.stderr.read() if process.stderr else ""
    _, status, used = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(said)
    wall, cpu = time.perf_counter() - start, used.ru_utime + used.ru_stime
    return {
        "seconds_a_box": round(wall, 1),
        "cpu_seconds_a_box": round(cpu, 1),
        "peak_gb": round(used.ru_maxrss * 1024 / 1e9, 2),
    }


def best(call: Callable[[], object], device: torch.device, times: int = 5) -> float:
    """Return the fewest seconds that a call takes, after one that is not counted."""
    seconds = []
    for _ in range(times + 1):
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def particle_step(experiment: config.Experiment, device: torch.device) -> dict[str, float]:
    """Return the nanoseconds of a step for each particle, early and late."""
    settings, omega_m = experiment.simulate, experiment.cosmology.omega_m
    n, n_mesh = settings.n_particles**3, settings.mesh_factor * settings.n_particles
    positions, velocities = box.initial_conditions(experiment, 0, device)

    def steps(first: float, last: float, count: int) -> None:
        scale_factors = np.linspace(first, last, count + 1)
        for _ in particle_mesh.evolve(positions, velocities, scale_factors, settings.box_size, n_mesh, omega_m):
            pass

    early = best(lambda: steps(0.02, 0.0200001, 1), device)
    steps(0.02, 1.0, STEPS)
    late = best(lambda: steps(0.9999999, 1.0, 1), device)
    return {name: round(seconds / n * 1e9, 1) for name, seconds in (("early_ns", early), ("late_ns", late))}


def floor(side: int, n_mesh: int, device: torch.device) -> dict[str, float]:
    """Return the nanoseconds a particle of the Fourier transforms and of the memory traffic alone."""
    mesh = torch.rand((n_mesh,) * 3, device=device)
    seconds = best(lambda: transform_back(transform(mesh)), device)
    copy = torch.empty_like(mesh)
    bandwidth = 2 * mesh.nbytes / best(lambda: copy.copy_(mesh), device)
    traffic = (PER_PARTICLE * side**3 + PER_CELL * n_mesh**3) / bandwidth
    parts = {"fft_ns": seconds, "traffic_ns": traffic, "floor_ns": seconds + traffic}
    return {name: round(x / side**3 * 1e9, 1) for name, x in parts.items()} | {"gb_s": round(bandwidth / 1e9, 1)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[128])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    with tempfile.TemporaryDirectory(prefix="cosmogan-simulate-") as folder:
        for side in arguments.sides:
            path = experiment(Path(folder), side, arguments.device)
            line = {"side": side, "threads": torch.get_num_threads(), **whole_box(path)}
            line |= particle_step(config.load(path), device) | floor(side, 2 * side, device)
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
