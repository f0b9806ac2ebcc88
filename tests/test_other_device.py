"""On a device that is not the host all is as it is on the host, and the host waits for it only where it has to.

Where there is a GPU, it is the same there, up to rounding.
"""

import importlib
import itertools
from concurrent.futures import Future

import numpy as np
import pytest
import small_experiment
import torch
from other_device import DEVICE, OtherDevice
from safetensors.torch import load_file

from cosmogan import config, sample, select, shards, validate
from cosmogan.config import Model, Train
from cosmogan.gan.conditions import TrainingConditions
from cosmogan.nbody import particle_mesh
from cosmogan.shards import statistics_file
from cosmogan.simulations import box
from cosmogan.training import dataset
from cosmogan.training.design import LatentDesign
from cosmogan.training.metrics import MetricsLogger
from cosmogan.training.trainer import Trainer
from cosmogan.training.work import train
from hpc.distributed import Processes
from hpc.log import Progress
from hpc.mpi import SerialComm

HOST = torch.device("cpu")
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
DEVICES = [DEVICE, pytest.param(torch.device("cuda"), marks=GPU)]
CONDITIONAL = Model(width=2, latent_dimension=6, condition=("redshift",), kappa_redshift=1.0)


class InThisThread:
    """In place of the thread that reads."""

    def __init__(self, threads):
        assert threads == 1

    def submit(self, work, *arguments):
        """Do the work now."""
        done = Future()
        done.set_result(work(*arguments))
        return done


@pytest.fixture(autouse=True)
def known_to_torch_and_the_loader(monkeypatch):
    """Let torch's fused Adam take the device, and the loader read in this thread, the only one that knows of it."""
    devices = ["cpu", "cuda", DEVICE.type]
    for name in ("adam", "optimizer"):  # by torch's version
        module = importlib.import_module(f"torch.optim.{name}")
        monkeypatch.setattr(module, "_get_fused_kernels_supported_devices", lambda: devices, raising=False)
    monkeypatch.setattr(dataset, "ThreadPoolExecutor", InThisThread)


@pytest.fixture
def other():
    with OtherDevice() as made:
        yield made


def assert_same(found, expected, device):
    """Compare arrays: to the last bit, on a GPU to what its order of additions leaves of 16 digits, or of 7."""
    found, expected = np.asarray(found), np.asarray(expected)
    if device == DEVICE:
        np.testing.assert_array_equal(found, expected)
    else:
        tolerance = 1e-7 if expected.dtype == np.float64 else 1e-4
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * abs(expected).max())


def trained(folder, device, model, steps, waits=(), **settings):
    """Take some steps as a session does; return what they came to and how often the host waited in them."""
    cubes = np.random.default_rng(0).gamma(0.5, 2.0, (16, 16, 16, 16)).astype(np.float32)
    conditions = TrainingConditions(model, np.arange(16.0)[:, None] % 2, "uniform") if model.condition else None
    around = (np.arange(16)[:, None] + np.arange(8)) % 16 if settings.pop("crops") else None
    data = dataset.TrainingSet(cubes.__getitem__, np.arange(16), 16, device, device, conditions, around)
    data._hold(np.arange(16))  # as the first pass does
    design, train = LatentDesign(model, 16), Train(batch_size=8, ema=100, precision="float64", **settings)
    made = Trainer(design, train, 10, Processes(), device)
    with MetricsLogger(folder, made, None) as record:
        before, losses = len(waits), []
        for batch in itertools.islice(data.batches(1, 0, 8, made.part), steps):
            outcome = made.update(batch, (False, True))
            record.add(outcome)
            losses.append(outcome.loss_discriminator)
        waited = len(waits) - before
    return waited, losses, record.sums.tolist(), made.preview_samples(data.previews(2)).cpu()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("model", "settings"),
    [
        (Model(width=2, latent_dimension=6, density_bias=True), {"r1": 1.0, "crops": True}),
        (Model(width=2, latent_dimension=6), {"loss": "wasserstein", "gate": 0.0, "crops": False}),
        (CONDITIONAL, {"crops": False}),
    ],
)
def test_a_step_is_the_hosts_and_waits_once(tmp_path, other, device, model, settings):
    _, *expected = trained(tmp_path / "host", HOST, model, 3, **settings)
    waited, *found = trained(tmp_path / "other", device, model, 3, other.waits, **settings)
    for one, same in zip(found, expected, strict=True):
        assert_same(one, same, device)
    assert waited == (3 if device == DEVICE else 0), other.waits


def made_by_the_chain(folder):
    """Train, select, sample and validate; return the generators, the samples and the statistics."""
    path = small_experiment.write(folder, epochs=1, cache="device", random_crops=True, precision="float64")
    overrides = [
        "select.bispectrum=true",
        "select.calibrate=true",
        "select.n_calibrate=96",
        "sample.rejection=true",
        "sample.rejection_epochs=1",
    ]
    experiment = config.load(path, [*overrides, "sample.n_samples=24", "sample.rejection_bound=128"])
    train(experiment, Processes())
    for stage in (select.select, sample.sample, validate.validate):
        stage(experiment, SerialComm())
    generators = [load_file(path) for path in sorted(experiment.train_folder.glob("generators/*"))]
    with shards.open(experiment.samples_folder) as volumes:
        return generators, volumes[:], statistics_file.read(experiment.statistics_path)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")  # torch thinks that the device has no numbers
def test_the_chain_makes_what_it_makes_on_the_host(tmp_path, monkeypatch, other, device):
    monkeypatch.setattr(Processes, "device", lambda self, wanted: HOST)
    expected = made_by_the_chain(tmp_path / "host")
    monkeypatch.setattr(Processes, "device", lambda self, wanted: device)
    found = made_by_the_chain(tmp_path / "other")
    for one, same in zip(found[0], expected[0], strict=True):
        for name, weights in same.items():
            assert_same(one[name], weights, device)
    assert_same(found[1], expected[1], device)
    for name, group in expected[2].items():
        for key, values in group.items() if isinstance(group, dict) and device == DEVICE else ():
            np.testing.assert_equal(found[2][name][key], values, err_msg=f"{name}/{key}")


@pytest.mark.parametrize("device", DEVICES)
def test_a_box_is_the_hosts(tmp_path, other, device):
    settings = config.Simulate(n_particles=8, box_size=32.0, n_steps=4, redshifts=(1.0, 0.0), transfer="eisenstein-hu")
    experiment, kept = config.Experiment(name="small", output="nowhere", simulate=settings), []

    def save(output, positions, velocities):
        kept.append(
            [
                box.in_file_units(positions, experiment.simulate.box_size, "Mpc/h"),
                box.gadget_velocities(velocities, 1.0, 0.29),
            ]
        )

    for place in (HOST, device):
        with Progress("simulate", 4, "steps") as progress:
            box.run(experiment, 0, tmp_path / "state.npz", place, save, progress)
    assert len(kept) == 4  # at both redshifts
    np.testing.assert_allclose(kept[2:], kept[:2], rtol=1e-3, atol=1e-3)


def test_the_steps_of_a_box_wait_for_nothing(other):
    positions, velocities = torch.rand(512, 3).to(DEVICE), torch.zeros(512, 3).to(DEVICE)
    before = len(other.waits)
    for _ in particle_mesh.evolve(positions, velocities, np.linspace(0.1, 0.2, 3), 1.0, 16, 0.3):
        pass
    assert len(other.waits) == before, other.waits


def test_the_device_is_one(other):
    numbers = torch.arange(4.0)
    there = numbers.to(DEVICE)
    assert other.waits == ["aten._to_copy.default"] and numbers.to(DEVICE, non_blocking=True).device == DEVICE
    assert len(other.waits) == 1 and torch.equal((there * 2 + 1).cpu(), numbers * 2 + 1) and len(other.waits) == 2
    with pytest.raises(RuntimeError, match=r"\(4,\)\] on the device, \[\(4,\)\] not"):
        there + numbers
    with pytest.raises(RuntimeError, match="numpy"):
        there.numpy()
    there[1:3] = 7  # a view changes what it is of
    assert there.tolist() == [0, 7, 7, 3] and there.sum().item() == 17 and there.new_tensor([1.0]).device == DEVICE
