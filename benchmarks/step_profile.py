"""Print what the device does in a step of training: kernels launched, and their time by kind; one JSON line each.

python benchmarks/step_profile.py                            # on a GPU: bf16 and tf32, batch 16
python benchmarks/step_profile.py --side 16 --batch 8 --precisions float32      # on a CPU: operations in their place
"""

import argparse
import collections
import json
import statistics
import time

import torch
from torch.profiler import ProfilerActivity, profile

from cosmogan.config import Model, Train
from cosmogan.training.cuda_graphs import WARM_UP
from cosmogan.training.dataset import Batch
from cosmogan.training.design import LatentDesign
from cosmogan.training.trainer import Trainer
from hpc.distributed import Processes

STEPS = 10  # that are profiled
# Kinds of kernel by a part of their name, the first that fits.
KINDS = {
    "BatchNorm": ("_moments", "_normalise", "_gradient", "batch_norm"),
    "blocks and crops": ("_blocks", "_cells", "_crop"),
    "convolutions": ("fprop", "dgrad", "wgrad", "conv", "xmma", "cutlass", "gemm", "cudnn", "sm80_", "sm90_", "nchw"),
    "Adam": ("FusedAdam", "fused_adam"),
    "copies": ("Memcpy", "Memset", "copy", "Cat", "fill"),
}


def kind(name: str) -> str:
    """Return the kind of a kernel."""
    return next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), "others")


def measure(model: Model, settings: Train, side: int, device: torch.device, repeats: int) -> dict[str, object]:
    """Return the time of a step, and how many kernels of which kind took how much of it."""
    trainer = Trainer(LatentDesign(model, side), settings, 1000, Processes(), device)
    batch = Batch(torch.rand(settings.batch_size, 1, *[side] * 3, device=device).square_() * 3)

    def step() -> None:
        trainer.update(batch, (False, False))

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    start = time.perf_counter()
    for _ in range(WARM_UP + 2):
        step()
    wait()
    warm = time.perf_counter() - start
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(STEPS):
            step()
        wait()
        seconds.append((time.perf_counter() - start) / STEPS)
    activities = [ProfilerActivity.CUDA if device.type == "cuda" else ProfilerActivity.CPU]
    with profile(activities=activities) as profiler:
        for _ in range(STEPS):
            step()
        wait()
    number: collections.Counter[str] = collections.Counter()
    spent: collections.Counter[str] = collections.Counter()
    names: collections.Counter[str] = collections.Counter()
    for event in profiler.key_averages():
        time_us = event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
        if time_us > 0:
            number[kind(event.key)] += event.count / STEPS
            spent[kind(event.key)] += time_us / STEPS / 1e3
            names[event.key[:90]] += time_us / STEPS / 1e3
    return {
        "ms_per_step": round(1e3 * statistics.median(seconds), 3),
        "samples_per_second": round(settings.batch_size / statistics.median(seconds)),
        "warm_up_seconds": round(warm, 1),
        "launches": {k: round(v, 1) for k, v in number.items()} | {"all": round(sum(number.values()), 1)},
        "device_ms": {k: round(v, 3) for k, v in spent.items()} | {"all": round(sum(spent.values()), 3)},
        "longest": {k: round(v, 3) for k, v in names.most_common(25)},
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--group", type=int, default=4)
    parser.add_argument("--precisions", nargs="+", default=["bf16", "tf32"])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    device = Processes().device()
    torch.backends.cudnn.benchmark = True
    for precision in options.precisions:
        settings = Train(
            precision=precision, gate=0.0, batch_size=options.batch, batch_norm_group=options.group, ema=10000
        )
        line = measure(Model(), settings, options.side, device, options.repeats)
        print(
            json.dumps({"benchmark": "step profile", "precision": precision, "group": options.group, **line}),
            flush=True,
        )


if __name__ == "__main__":
    main()
