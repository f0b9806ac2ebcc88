"""Measure a GPU on the paper's work: training beside a plain loop and the matrix peak, and seconds of other stages.

    python benchmarks/gpu.py                                                     # the paper's sizes, on a GPU
    python benchmarks/gpu.py --parts profiling                                   # what a step consists of
    python benchmarks/gpu.py --side 16 --batches 8 --volumes 32 --validated 64 --particles 32     # a rehearsal

Training is that of `benchmarks/train.py`, with its peer, at each precision; a row says why where that fails. A step's
profile is that of `benchmarks/step_profile.py`. Volumes are drawn by the paper's network, untrained. Validation is the
whole command on random volumes, its start included.
"""

import argparse
import dataclasses
import itertools
import multiprocessing
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import step_profile  # benchmarks/step_profile.py
import torch
import train  # benchmarks/train.py
from sample import release  # benchmarks/sample.py

from cosmogan import config
from cosmogan.config import Model, Train
from cosmogan.gan import released
from cosmogan.simulations import box
from hpc.distributed import Processes
from hpc.log import Progress

Row = tuple[str, str]
PRECISIONS = ("float32", "tf32", "bf16")


def apart(work: Callable[..., Any], *inputs: Any) -> Any:
    """Return what some work gives in a process of its own: a GPU's error spoils all that its process does later."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *inputs).result()


def training(options: argparse.Namespace, device: torch.device) -> Iterator[Row]:
    """Yield a row for each precision and batch, and some for the loader."""
    fastest = 0.0
    for precision, batch in itertools.product(options.precisions, options.batches):
        sizes = {"batch": batch, "side": options.side, "repeats": options.repeats}
        settings = SimpleNamespace(precision=precision, cuda_graphs=None, **sizes)
        name = f"train, {precision}, batch {batch}"
        try:
            speeds = apart(train.compare_steps, settings, device)
        except ValueError as error:  # the device lacks this precision, or is no GPU
            yield name, str(error)
            continue
        except Exception as error:  # the table goes on
            traceback.print_exc()
            yield name, f"failed: {str(error).splitlines()[:1]}"
            continue
        fastest = max(fastest, speeds["samples_per_second"])
        yield (
            name,
            f"{speeds['samples_per_second']:.4g} samples/s, {speeds['speedup']:.2f} × the plain loop, "
            f"{speeds['fraction_of_peak']:.1%} of the matrix peak of {speeds['matrix_peak_teraflops']:.3g} TFLOP/s",
        )
    with tempfile.TemporaryDirectory() as folder:
        written = train.write_shards(Path(folder), options.side)
        for kind, speed in train.loader_speeds(written, options.batches[0], device):
            yield f"loader and augmentation, {kind}", f"{speed:.4g} samples/s, {speed / fastest:.3g} × the fastest step"


def profiling(options: argparse.Namespace, device: torch.device) -> Iterator[Row]:
    """Yield what the kernels of a step take, by kind, at each precision."""
    for precision in options.precisions:
        settings = Train(precision=precision, gate=0.0, batch_size=options.batches[0], ema=10000)
        try:
            profile = apart(step_profile.measure, Model(), settings, options.side, device, 5)
        except ValueError as error:  # the device lacks this precision
            yield f"profile, {precision}", str(error)
            continue
        for kind, milliseconds in profile["device_ms"].items():
            share = profile["device_ms"]["convolutions"] / milliseconds
            detail = f"; {share:.0%} of it convolutions" if kind == "all" else ""
            yield (
                f"profile, {precision}, {kind}",
                f"{milliseconds:.3f} ms, {profile['launches'][kind]:.0f} launches{detail}",
            )


def drawing(options: argparse.Namespace, device: torch.device) -> Iterator[Row]:
    """Yield the time to draw volumes: on the device, and with the copy to the host's memory."""
    with tempfile.TemporaryDirectory() as folder:
        experiment = release(Path(folder), options.side, options.batches[0])
        generator = released.load(experiment.generator_path, device)
    host = torch.empty(options.volumes, *[options.side] * 3, pin_memory=device.type == "cuda")

    def draw(copy: bool) -> None:
        for first in range(0, options.volumes, 64):
            n = min(64, options.volumes - first)
            volumes = generator.draw(1, first, n)
            if copy:
                host[first : first + n].copy_(volumes, non_blocking=True)

    draw(True)  # to warm up
    for name, copy in (("on the device", False), ("to host memory", True)):
        yield f"draw {options.volumes} volumes, {name}", f"{train.timed(lambda c=copy: draw(c), device):.3g} s"


def simulating(options: argparse.Namespace, device: torch.device) -> Iterator[Row]:
    """Yield the time of one box of the paper's settings, from random numbers to redshift 0."""
    n = options.particles
    overrides = [f"simulate.n_particles={n}", f"simulate.box_size={0.695 * n}", "simulate.transfer=eisenstein-hu"]
    experiment = config.load(config.configs_folder() / "reproduce-full.yaml", overrides)
    fitting, steps = box.fitting(experiment.simulate, device), experiment.simulate.n_steps
    experiment = dataclasses.replace(experiment, simulate=fitting)
    with tempfile.TemporaryDirectory() as folder, Progress("simulate", steps, "steps") as progress:
        state = Path(folder) / "state.npz"
        seconds = train.timed(lambda: box.run(experiment, 0, state, device, lambda *_: None, progress), device)
    yield f"simulate a box of {n}³ particles", f"{seconds:.3g} s, {steps} steps"


def validating(options: argparse.Namespace, device: torch.device) -> Iterator[Row]:
    """Yield the time of `validate` for as many random volumes as the paper's 2000, or fewer, against as many."""
    n, generator = options.validated, np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{name}.npy" for name in ("samples", "reference")]
        for file in files:
            np.save(file, generator.standard_exponential((n, *[options.side] * 3), np.float32))
        command = [sys.executable, "-m", "cosmogan.validate", "--samples", files[0], "--reference", files[1]]
        start = time.perf_counter()
        done = subprocess.run([*map(str, command), "--box-size", "44.48"], cwd=folder, capture_output=True, text=True)
        seconds = time.perf_counter() - start
    said = done.stderr.strip().splitlines()
    yield f"validate {n} volumes against {n}", f"{seconds:.3g} s" if done.returncode == 0 else f"failed: {said[-1:]}"


PARTS = {part.__name__: part for part in (training, profiling, drawing, simulating, validating)}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=64, help="cells a side of a volume")
    parser.add_argument("--batches", type=int, nargs="+", default=[16])
    parser.add_argument("--precisions", nargs="+", default=list(PRECISIONS), choices=PRECISIONS)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--repeats", type=int, default=20, help="steps timed of each loop")
    parser.add_argument("--volumes", type=int, default=512, help="drawn")
    parser.add_argument("--validated", type=int, default=2000, help="volumes validated")
    parser.add_argument("--particles", type=int, default=512, help="a side of the simulated box")
    options = parser.parse_args()
    device = Processes().device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    print(f"{name}, torch {torch.__version__}, volumes of {options.side}³ cells", flush=True)
    for part in map(PARTS.get, options.parts):
        try:
            for what, result in part(options, device):
                print(f"{what:<48}  {result}", flush=True)
        except Exception as error:  # the table goes on
            traceback.print_exc()
            print(f"{part.__name__:<48}  failed: {str(error).splitlines()[:1]}", flush=True)


if __name__ == "__main__":
    main()
