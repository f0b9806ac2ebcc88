"""What a training left, for the tests that compare two of them."""

import json

import torch
from safetensors.torch import load_file

MACHINE = ("samples_per_second", "data_wait", "memory")


def generators(folder):
    """All epochs' generators of a run: {name: {tensor's name: tensor}}."""
    return {path.name: load_file(path) for path in sorted((folder / "run/train/generators").iterdir())}


def metrics(folder):
    """The metrics without what the machine did."""
    lines = (folder / "run/train/metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in MACHINE} for line in lines]


def state(folder):
    """The trainer of a run's last checkpoint, flattened: {dotted name: tensor}."""
    path = max((folder / "run/train/checkpoints").glob("step-*.pt"))
    return dict(flattened("", torch.load(path, weights_only=True)["trainer"]))


def flattened(prefix, tree):
    for name, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from flattened(f"{prefix}.{name}", value)
    if isinstance(tree, torch.Tensor):
        yield prefix, tree


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        for key, value in one[name].items():
            assert torch.equal(value, other[name][key]), (name, key)
