"""Time `sample` against the bare forward passes of its network; one JSON line each.

    python benchmarks/sample.py                        # 512 volumes of the paper's network, 64³
    python benchmarks/sample.py --volumes 64 --side 32

The peer draws Gaussian numbers and calls the network in eval mode on batches of the same size, in inference mode,
and throws the output away. Ours is the whole command: reading the generator, latents of each sample's own, physical
densities, shards on disk with their checksums. Both are done in halves that alternate, so that a busy machine slows
both; the ratio is the median of the halves'.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
import yaml

from cosmogan import config, sample
from cosmogan.gan import networks, released
from hpc.mpi import SerialComm

PARTS = 2


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volumes", type=int, default=512)
    parser.add_argument("--side", type=int, default=64, help="cells a side of a volume")
    parser.add_argument("--batch", type=int, default=16)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        experiment = release(Path(folder), arguments.side, arguments.batch)
        network = released.load(experiment.generator_path).network
        forward(network, 2 * arguments.batch, arguments.batch)  # to warm up
        part = arguments.volumes // PARTS
        peer, ours = [], []
        for seed in range(PARTS):
            peer.append(forward(network, part, arguments.batch))
            overrides = [f"sample.n_samples={part}", f"sample.seed={seed}"]
            ours.append(draw(config.load(Path(folder) / "config.yaml", overrides)))
    size = {"volumes": PARTS * part, "side": arguments.side, "batch": arguments.batch}
    size["threads"] = torch.get_num_threads()
    ratio = statistics.median(b / a for a, b in zip(peer, ours, strict=True))
    print(json.dumps({"benchmark": "forward passes", **size, "seconds": round(sum(peer), 2)}))
    print(json.dumps({"benchmark": "sample", **size, "seconds": round(sum(ours), 2), "ratio": round(ratio, 3)}))


def release(folder: Path, side: int, batch: int) -> config.Experiment:
    """Release an untrained generator of the paper's width in a folder, and return its experiment."""
    tree = {
        "name": "benchmark",
        "output": str(folder),
        "preprocess": {"n_mesh": side, "subvolume": side},
        "train": {"device": "cpu"},
        "sample": {"batch_size": batch},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(tree))
    experiment = config.load(path)
    network = networks.generator(experiment.model, side, group=1)
    networks.initialise(network, 1, output=0.0)
    model = experiment.section("model")["model"] | {"subvolume": side}
    box = {"redshift": 0.0, "box_size": experiment.simulate.box_size, "n_mesh": side, "subvolume": side}
    settings = {"model": model, "geometry": {**box, "mean_cell_mass": 1.0}, "latent_scale": 1.0}
    released.write(experiment.generator_path, network, settings)
    return experiment


def forward(network: torch.nn.Module, n: int, batch: int) -> float:
    """Return the seconds that n samples take in bare forward passes."""
    start = time.perf_counter()
    with torch.inference_mode():
        for first in range(0, n, batch):
            network(torch.randn(min(batch, n - first), network[0].in_channels, 1, 1, 1))
    return time.perf_counter() - start


def draw(experiment: config.Experiment) -> float:
    """Return the seconds that the command takes."""
    start = time.perf_counter()
    sample.sample(experiment, SerialComm())
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
