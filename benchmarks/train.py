"""Time training against a plain PyTorch loop, and the loader against what training consumes; one JSON line each.

    python benchmarks/train.py                       # the paper's networks and batch
    python benchmarks/train.py --precision bf16      # worth it where the processor multiplies bfloat16
    python benchmarks/train.py --side 32 --batch 4   # smaller
    python benchmarks/train.py --no-cuda-graphs      # our step kernel by kernel, on a GPU

The peer is the same networks in a loop as the paper's authors structured theirs: contiguous tensors, real and fake
samples through the discriminator one after the other, a backward pass each, and a generator's step whose backward
pass also fills the discriminator's gradients; layers are torch's own, and BatchNorm takes the whole batch. It runs in
a process of its own, so that it shares none of our process's settings but the precision, and that cuDNN chooses by
speed. Both train in every step (no gate), and their steps alternate, so that a busy machine slows both. Model FLOPs
are those of the convolutions of our step; the peak is the best that a large matrix product and a convolution of many
channels reach, of which a library may know one better.
"""

import argparse
import contextlib
import itertools
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cosmogan import shards
from cosmogan.config import Model, Train
from cosmogan.gan import networks, scaling
from cosmogan.gan.batch_norm import GroupedBatchNorm
from cosmogan.training import setup
from cosmogan.training.cuda_graphs import WARM_UP
from cosmogan.training.dataset import Batch, Share, TrainingSet
from cosmogan.training.design import LatentDesign
from cosmogan.training.learner import precision
from cosmogan.training.trainer import Trainer
from hpc import memory
from hpc.distributed import Processes

ROWS = 256  # subvolumes in the benchmark's training set, of four boxes of 4³


class PlainLoop:
    """A textbook GAN step of the same layers."""

    def __init__(self, model: Model, side: int, settings: Train, device: torch.device) -> None:
        self.latent, self.device = model.latent_dimension, device
        self.autocast = settings.precision == "bf16"
        pair = (networks.generator(model, side, 1), networks.discriminator(model, side, 1))
        self.generator, self.discriminator = (_plain(network).to(device) for network in pair)
        rates = (settings.generator_rate, settings.discriminator_rate)
        self.optimizers = [
            torch.optim.Adam(network.parameters(), rate, (0.5, 0.999))
            for network, rate in zip((self.generator, self.discriminator), rates, strict=True)
        ]
        self.loss = nn.BCEWithLogitsLoss()

    def _loss(self, samples: torch.Tensor, label: float) -> torch.Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            logits = self.discriminator(samples)
        return self.loss(logits.float(), torch.full_like(logits, label, dtype=torch.float32))

    def _fake(self, n: int) -> torch.Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            return self.generator(torch.randn(n, self.latent, 1, 1, 1, device=self.device))

    def step(self, density: torch.Tensor) -> None:
        """Train the discriminator, then the generator."""
        of_generator, of_discriminator = self.optimizers
        self.discriminator.zero_grad()
        self._loss(scaling.scale(density, 45.0), 1.0).backward()
        self._loss(self._fake(len(density)).detach(), 0.0).backward()
        of_discriminator.step()
        self.generator.zero_grad()
        self._loss(self._fake(len(density)), 1.0).backward()
        of_generator.step()


def _plain(network: nn.Sequential) -> nn.Sequential:
    """Return a network of torch's own layers, in contiguous memory."""
    own = itertools.chain.from_iterable(map(_own_of_torch, network))
    return nn.Sequential(*own).to(memory_format=torch.contiguous_format)


def _own_of_torch(layer: nn.Module) -> list[nn.Module]:
    if isinstance(layer, GroupedBatchNorm):
        activation = nn.LeakyReLU(layer.slope, inplace=True) if layer.slope else nn.ReLU(inplace=True)
        return [nn.BatchNorm3d(len(layer.weight)), activation]
    if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d):
        own = nn.Conv3d if isinstance(layer, nn.Conv3d) else nn.ConvTranspose3d
        sizes = layer.kernel_size, layer.stride, layer.padding
        return [own(layer.in_channels, layer.out_channels, *sizes, bias=layer.bias is not None)]
    return [layer]


class Plain:
    """A plain loop in a process of its own."""

    def __init__(self, options: argparse.Namespace, device: torch.device) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        context.Process(target=_serve, args=(theirs, options, device), daemon=True).start()

    def ask(self, what: str) -> float:
        """Return the ``seconds`` or the ``flops`` of another step."""
        self._pipe.send(what)
        return self._pipe.recv()


def _serve(pipe: Connection, options: argparse.Namespace, device: torch.device) -> None:
    """Take the steps that are asked for, until nobody is there to ask."""
    prepare(options, device)
    loop = PlainLoop(Model(), options.side, settings_of(options), device)
    density = torch.rand(options.batch, 1, *[options.side] * 3, device=device)
    with contextlib.suppress(EOFError):
        while True:
            pipe.send(MEASURES[pipe.recv()](lambda: loop.step(density), device))


def settings_of(options: argparse.Namespace) -> Train:
    """Return what both loops train with."""
    return Train(precision=options.precision, gate=0.0, batch_size=options.batch, cuda_graphs=options.cuda_graphs)


def prepare(options: argparse.Namespace, device: torch.device) -> None:
    """Let this process multiply in the precision that is compared, and cuDNN choose by speed, as the command does."""
    precision(options.precision, device)
    torch.backends.cudnn.benchmark = True


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds that some work takes."""
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def counted(work: Callable[[], object], _: torch.device) -> float:
    """Return the floating-point operations of some work."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


MEASURES = {"seconds": timed, "flops": counted}


def matrix_peak(dtype: torch.dtype, device: torch.device) -> float:
    """Return the FLOP/s of a large matrix product or convolution of many channels, the best of some."""
    n = 8192 if device.type == "cuda" else 2048
    a = torch.randn(n, n, device=device).to(dtype)
    x, kernel = (
        torch.randn(*shape, device=device).to(dtype, memory_format=torch.channels_last_3d)
        for shape in ((16, 256, 16, 16, 16), (256, 256, 3, 3, 3))
    )
    product = 2 * n**3 / min(timed(lambda: a @ a, device) for _ in range(6))
    inside = 16 * 14**3 * 256 * kernel[0].numel()
    return max(product, 2 * inside / min(timed(lambda: nn.functional.conv3d(x, kernel), device) for _ in range(6)))


def compare_steps(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Return how our step compares with the plain one."""
    memory.keep_freed()  # as the command does
    prepare(options, device)
    ours = Trainer(LatentDesign(Model(), options.side), settings_of(options), 100, Processes(), device)
    plain = Plain(options, device)
    density = torch.rand(options.batch, 1, *[options.side] * 3, device=device)
    steps = {
        "ours": lambda what: MEASURES[what](lambda: ours.update(Batch(density), (False, False)), device),
        "plain": plain.ask,
    }
    flops = {name: step("flops") for name, step in steps.items()}  # also warms up
    for _ in range(WARM_UP):  # before it is recorded in CUDA graphs
        steps["ours"]("seconds")
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _, (name, step) in itertools.product(range(options.repeats), steps.items()):
        seconds[name].append(step("seconds"))
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    peak = matrix_peak(torch.bfloat16 if options.precision == "bf16" else torch.float32, device)
    return {
        "benchmark": "train step", "device": device.type, "precision": options.precision, "batch": options.batch,
        "side": options.side, "cuda_graphs": options.cuda_graphs,
        "threads": torch.get_num_threads(), "torch": torch.__version__,
        "seconds": medians, "speedup": medians["plain"] / medians["ours"],
        "teraflop": {name: count / 1e12 for name, count in flops.items()},
        "samples_per_second": options.batch / medians["ours"],
        "matrix_peak_teraflops": peak / 1e12, "fraction_of_peak": flops["ours"] / medians["ours"] / peak,
    }  # fmt: skip


def write_shards(folder: Path, side: int) -> shards.Folder:
    """Write a training set of some hundred MB."""
    geometry = shards.Geometry(redshift=0.0, box_size=4.0 * side, n_mesh=4 * side, subvolume=side, mean_cell_mass=1.0)
    lines = []
    for number in range(4):
        path = folder / f"{number}.h5"
        with shards.create(path, ROWS // 4, geometry, "simulated", {}) as file:
            for row in range(ROWS // 4):
                file["density"][row] = np.float32(1) + np.random.default_rng(row).random((side,) * 3, np.float32)
            file["simulation"][:] = number
            file["corner"][:] = side * np.stack(np.unravel_index(np.arange(64), (4, 4, 4)), axis=1)
        lines.append(shards.describe(path))
    shards.write_manifest(folder, geometry, "simulated", lines, {})
    return shards.Folder(folder)


def drop_from_memory(folder: Path) -> None:
    """Ask the system to forget the files' contents, as if the set were larger than its memory."""
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def loader_speeds(folder: shards.Folder, batch: int, device: torch.device) -> Iterator[tuple[str, float]]:
    """Yield (kind, samples a second): a pass over the shuffled set, augmented, on the device."""
    side, rows = folder.geometry.subvolume, np.arange(len(folder))
    around = setup.neighbours(folder, rows)
    kinds = {"from disk": (None, None), "from the system's memory": (None, None), "cached": (device, None)}
    kinds["random crops"] = (device, around)
    for kind, (cache, neighbours) in kinds.items():
        data = TrainingSet(folder.read, rows, side, device, cache, neighbours=neighbours)
        batches = data.batches(1, 0, batch, Share(0, batch))
        if kind == "from disk":
            drop_from_memory(folder.path)
        if cache is not None:
            for _ in range(ROWS // batch):  # the pass that fills it
                next(batches)
        n = ROWS // batch
        yield kind, n * batch / timed(lambda b=batches, n=n: [next(b) for _ in range(n)], device)


def main() -> None:
    """Run both benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", default="float32", choices=("float32", "tf32", "bf16"))
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--no-cuda-graphs", dest="cuda_graphs", action="store_false", default=None)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    device = Processes().device()
    try:
        line = compare_steps(options, device)
    except ValueError as error:  # the device lacks this precision, or is no GPU
        parser.exit(1, f"{error}\n")
    print(json.dumps(line), flush=True)
    consumed = line["samples_per_second"]
    with tempfile.TemporaryDirectory() as folder:
        for kind, speed in loader_speeds(write_shards(Path(folder), options.side), options.batch, device):
            line = {"benchmark": "train data", "device": device.type, "kind": kind, "samples_per_second": speed}
            print(json.dumps({**line, "times_what_a_step_consumes": speed / consumed}), flush=True)


if __name__ == "__main__":
    main()
