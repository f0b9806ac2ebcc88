import pytest
import torch

from cosmogan.config import Model, Train
from cosmogan.training import collapse
from cosmogan.training.dataset import Batch
from cosmogan.training.design import LatentDesign
from cosmogan.training.trainer import Trainer
from cosmogan.training.update import Collapse, Outcome
from hpc.distributed import Processes

BATCH = Batch(torch.empty(8, 0))


def make(**train):
    settings = Train(**{"batch_size": 8, "epochs": 2} | train)
    model = Model(kappa=4.0, width=4, latent_dimension=6)
    return Trainer(LatentDesign(model, 8), settings, 10, Processes(), torch.device("cpu"))


def watched(n, loss=1.0, gate=1.0):
    made = collapse.CollapseDetector(None)
    for _ in range(n):
        made.add(Outcome(loss, 0.5, 0.5, 0.0, 0.0, gate))
    return made


def test_a_sound_epoch_begins_the_next():
    made = watched(250, gate=0.01)
    made.check(make(), BATCH)
    assert made.sums == [0, 0, 0]


def test_short_epochs_are_judged_together():
    made = watched(150, gate=0.0)
    made.check(make(), BATCH)
    for _ in range(150):
        made.add(Outcome(1.0, 0.5, 0.5, 0.0, 0.0, 0.0))
    with pytest.raises(Collapse, match="300 steps"):
        made.check(make(), BATCH)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (watched(200, gate=0.0), r"rested for all of 200 steps.*lower train\.discriminator_rate \(5e-05\)"),
        (watched(200, loss=1e-4), r"loss is 1\.0e-04 over 200 steps.*lower train\.discriminator_rate"),
    ],
)
def test_what_the_losses_and_the_gate_tell(found, message):
    with pytest.raises(Collapse, match=message):
        found.check(make(), BATCH)


@pytest.mark.parametrize(
    ("loss", "settings", "line"),
    [
        (1.38, {}, "at chance (mean loss 1.380; 1.386 is knowing nothing)"),
        (0.69, {"loss": "relativistic", "gate": 0.0}, "at chance (mean loss 0.690; 0.693 is knowing nothing)"),
        (0.05, {}, "the discriminator wins (mean loss 0.050)"),
        (0.7, {}, ""),
        (0.0, {"loss": "wasserstein", "gate": 0.0}, ""),
    ],
)
def test_a_discriminator_at_chance_or_that_wins_is_warned_of(capsys, loss, settings, line):
    watched(200, loss=loss).check(make(**settings), BATCH)
    said = capsys.readouterr().out
    assert (line in said and "train.discriminator_rate (5e-05)" in said) if line else not said
    watched(150, loss=loss).check(make(**settings), BATCH)
    assert not capsys.readouterr().out  # too few steps to tell


def test_a_critics_loss_may_be_at_zero():
    assert watched(200, loss=0.0).check(make(loss="wasserstein", gate=0.0), BATCH) is None  # and raises nothing


def test_fakes_that_are_all_the_same():
    made = make()
    made.generator.network[0].weight.detach().zero_()  # the latents do not matter any more
    with pytest.raises(Collapse, match=r"all fakes are the same.*lower train\.generator_rate"):
        watched(1).check(made, BATCH)


def test_weights_that_are_no_numbers():
    made = make()
    made.discriminator.network[0].weight.detach()[0] = torch.nan
    with pytest.raises(Collapse, match="weights are not finite"):
        watched(1).check(made, BATCH)
