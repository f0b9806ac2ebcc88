"""How many kernels a step of training launches on a GPU, counted on a device that pretends to be one."""

import importlib
import math

import pytest
import torch
from other_device import DEVICE, OtherDevice
from torch.utils._python_dispatch import TorchDispatchMode

from cosmogan.config import Model, Train
from cosmogan.gan import fused
from cosmogan.training import cuda_graphs
from cosmogan.training.cuda_graphs import WARM_UP
from cosmogan.training.dataset import Batch
from cosmogan.training.design import LatentDesign
from cosmogan.training.trainer import Trainer
from hpc.distributed import Processes

pytestmark = pytest.mark.skipif(fused.triton is None, reason="no Triton, which torch's builds for CPUs lack")
NOT_LAUNCHED = ("empty", "detach", "_unsafe_view", "_record_function", "promote_types")  # allocate, or do nothing


class Counted(TorchDispatchMode):
    """Counts operations that are kernels on a GPU; a convolution's backward pass is one for each gradient."""

    number, active = 0, False

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        results = operation(*args, **(kwargs or {}))
        returned = operation._schema.returns
        is_view = any(x.alias_info is not None and not x.alias_info.is_write for x in returned)
        if not is_view and not any(part in str(operation) for part in NOT_LAUNCHED):
            gradients = operation is torch.ops.aten.convolution_backward.default
            self.number += sum(args[-1]) if gradients else 1
        return results


class Counter:
    """A recorder that counts."""

    def __init__(self, device):
        self.counted = Counted()

    def rehearse(self, work):
        return work()

    def record(self, work):
        with self.counted:
            self.counted.active = True
            work()
            self.counted.active = False
        return lambda: None


@pytest.fixture
def launches(monkeypatch):
    """Return the function that gives the kernels in the graphs of a step, of settings."""
    for name in ("adam", "optimizer"):  # by torch's version
        module = importlib.import_module(f"torch.optim.{name}")
        monkeypatch.setattr(module, "_get_fused_kernels_supported_devices", lambda: [DEVICE.type], raising=False)
    recorders = []
    monkeypatch.setattr(cuda_graphs, "Recorder", lambda device: recorders.append(Counter(device)) or recorders[-1])
    monkeypatch.setattr(fused, "available", lambda x: True)
    monkeypatch.setattr(math, "isfinite", lambda x: True)  # the kernels are counted, and not run

    def count(side, **settings):
        """Return the kernels of a step of networks for so many cells a side."""

        def launch(*_, **__):
            recorders[-1].counted.number += recorders[-1].counted.active

        with OtherDevice():
            train = Train(gate=0.0, precision="float32", cuda_graphs=True, **settings)
            made = Trainer(LatentDesign(Model(width=1, latent_dimension=2), side), train, 100, Processes(), DEVICE)
            monkeypatch.setattr(fused, "_launch", launch)
            for _ in range(WARM_UP):
                made.update(Batch(torch.zeros(train.batch_size, 1, *[side] * 3).to(DEVICE)), (False, False))
        return recorders[-1].counted.number

    return count


def test_a_step_launches_few_kernels_and_no_more_for_more_groups_or_samples(launches):
    few = launches(16, batch_size=4, batch_norm_group=4)
    assert launches(16, batch_size=16, batch_norm_group=4) == few
    assert launches(16, batch_size=16, batch_norm_group=2) == few
    assert launches(64, batch_size=4, batch_norm_group=4) <= 160
