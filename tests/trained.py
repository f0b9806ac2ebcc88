"""Training in processes of its own, and what it left, for the tests that compare two of them."""

import json
import os
import signal
import subprocess
import sys

import torch
from conftest import HANGS, environment
from safetensors.torch import load_file

from cosmogan.training.trainer import Trainer

DRIVER = """\
import os, runpy
from cosmogan.training import metrics
from cosmogan.training.trainer import Trainer
metrics.INTERVAL = 5
update = Trainer.update
def stopped(self, density, votes):
    if self.step == {step}:
        os.kill(os.getpid(), {number})
    return update(self, density, votes)
Trainer.update = stopped
runpy.run_module("cosmogan.train", run_name="__main__")
"""


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


def assert_close(one, other, tolerance):
    assert one.keys() == other.keys()
    for name in one:
        a, b = one[name].double(), other[name].double()
        assert (a - b).norm() <= tolerance * a.norm() + 1e-30, (name, ((a - b).norm() / a.norm()).item())


def interrupt_after(monkeypatch, step, number=signal.SIGTERM):
    """Send this process a signal in the middle of a step; return what lifts it."""
    update = Trainer.update

    def interrupted(self, density, votes):
        if self.step == step:
            os.kill(os.getpid(), number)
        return update(self, density, votes)

    monkeypatch.setattr(Trainer, "update", interrupted)
    return lambda: monkeypatch.setattr(Trainer, "update", update)


def start(path, processes, step, number):
    """Train in processes of their own, which one signal each ends in the middle of a step, or never at step -1."""
    driver = path.parent / "driver.py"
    driver.write_text(DRIVER.format(step=step, number=int(number)))
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *(torchrun if processes > 1 else []), driver, path]
    options = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "env": environment()}
    return subprocess.Popen([str(word) for word in command], **options)


def finish(run, status=0):
    """Wait for the end of processes that `start` began; return what they said."""
    text, _ = run.communicate(timeout=HANGS)
    assert (run.returncode == 0) == (status == 0), text
    return text
