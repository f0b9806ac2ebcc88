import math

import pytest
import torch
from torch import nn

from cosmogan.config import Model
from cosmogan.gan import layers, networks, scaling
from cosmogan.training.learner import Learner


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_papers_networks_have_the_papers_parameters():
    assert count(networks.generator(Model(), 64, 4)) == 4_393_920
    assert count(networks.discriminator(Model(), 64, 4)) == 2_771_840
    assert count(networks.generator(Model(latent_dimension=101), 64, 4)) == 4_410_304


def test_the_layers_are_the_papers():
    def convolutions(network, kind):
        made = [layer for layer in network if isinstance(layer, kind)]
        assert all(layer.kernel_size == (4, 4, 4) and layer.bias is None for layer in made)
        return [(layer.in_channels, layer.out_channels, layer.stride[0], layer.padding[0]) for layer in made]

    generator, discriminator = networks.generator(Model(), 64, 4), networks.discriminator(Model(), 64, 4)
    assert convolutions(generator, nn.ConvTranspose3d) == [
        (100, 256, 1, 0), (256, 128, 2, 1), (128, 64, 2, 1), (64, 32, 2, 1), (32, 1, 2, 1)
    ]  # fmt: skip
    assert convolutions(discriminator, nn.Conv3d) == [
        (1, 32, 2, 1), (32, 64, 2, 1), (64, 128, 2, 1), (128, 256, 2, 1), (256, 1, 1, 0)
    ]  # fmt: skip
    norms = [isinstance(layer, networks.GroupedBatchNorm) for layer in discriminator]
    assert norms == [False, False, False, True, False, False, True, False, False, True, False, False]


@pytest.mark.parametrize(("subvolume", "layers"), [(8, 2), (16, 3), (32, 4), (64, 5)])
def test_every_size_fits(subvolume, layers):
    model = Model(width=2, latent_dimension=5)
    generator = networks.generator(model, subvolume, 2)
    volumes = generator(torch.randn(4, 5, 1, 1, 1))
    assert volumes.shape == (4, 1, subvolume, subvolume, subvolume)
    assert networks.discriminator(model, subvolume, 2)(volumes).shape == (4, 1, 1, 1, 1)
    assert sum(isinstance(layer, nn.ConvTranspose3d) for layer in generator) == layers


@pytest.mark.parametrize("subvolume", [4, 12, 48])
def test_other_sizes_are_refused(subvolume):
    with pytest.raises(ValueError, match=rf"preprocess\.subvolume.*found {subvolume}"):
        networks.generator(Model(), subvolume, 4)


def test_initial_weights():
    network = networks.generator(Model(), 32, 4)
    networks.initialise(network, 1, output=0.0)
    convolution, norm = network[0].weight, network[1].weight
    assert convolution.std().item() == pytest.approx(0.02, rel=0.01) and abs(convolution.mean().item()) < 1e-3
    assert norm.mean().item() == pytest.approx(1, abs=0.01) and norm.std().item() == pytest.approx(0.02, rel=0.3)
    assert not network[1].bias.any()


def test_with_a_density_bias_fakes_start_at_the_mean_density():
    model = Model(kappa=45.0, density_bias=True, width=4)
    network = networks.generator(model, 16, 4)
    networks.initialise(network, 1, output=networks.mean_output(model.kappa))
    density = scaling.unscale(network(torch.randn(8, 100, 1, 1, 1)), 45.0)
    assert density.mean().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("density_bias", "sees"), [(False, False), (True, True)])
def test_only_with_a_density_bias_the_discriminator_sees_the_scale_of_its_input(density_bias, sees):
    """Without biases all is homogeneous up to the first BatchNorm, which takes the scale off."""
    torch.manual_seed(0)
    network = networks.discriminator(Model(density_bias=density_bias, width=4), 16, 4)
    with torch.no_grad():
        network[0].weight *= 20  # so that BatchNorm's epsilon does not count
        if density_bias:
            network[0].bias.fill_(10.0)
    x = torch.randn(4, 1, 16, 16, 16) - 1
    change = (network(0.7 * x) - network(x)).norm() / network(x).norm()
    assert (change > 1e-4) == sees, change  # homogeneous: 1e-6, rounding


def test_groups_do_not_see_one_another():
    network = networks.discriminator(Model(width=2), 16, 2)
    x = torch.randn(4, 1, 16, 16, 16)
    torch.testing.assert_close(network(x)[2:], network(x[2:]))
    assert not torch.allclose(network(x)[2:3], network(torch.cat((x[:2], x[2:3], x[:1])))[2:3])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("ours", "theirs", "channels", "side"),
    [
        (networks.DensityConv, nn.Conv3d, (1, 3), 8),
        (networks.DensityConv, nn.Conv3d, (2, 3), 8),
        (networks.DensityDeconv, nn.ConvTranspose3d, (3, 1), 4),
    ],
)
def test_the_layers_next_to_the_density_are_those_of_torch_and_so_are_their_gradients(
    ours, theirs, channels, side, bias
):
    layers = [kind(*channels, 4, 2, 1, bias=bias).double() for kind in (ours, theirs)]
    layers[1].load_state_dict(layers[0].state_dict())
    x = torch.randn(2, channels[0], side, side, side, dtype=torch.float64, requires_grad=True)
    found = []
    for layer in layers:
        out = layer(x)
        weights = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).view_as(out)
        found.append([out, *torch.autograd.grad((weights * out).sum(), [x, *layer.parameters()])])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("bias", [False, True])
def test_doubled_cells_are_convolved(bias):
    layer = layers.ResizeDeconv(3, bias).double()
    x = torch.randn(2, 3, 4, 4, 4, dtype=torch.float64, requires_grad=True)
    weight = layer.weight.detach().transpose(0, 1).requires_grad_()
    doubled = x.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4)
    expected = nn.functional.conv3d(doubled, weight, layer.bias, padding=1)
    torch.testing.assert_close(layer(x), expected)
    slopes = torch.randn_like(expected)
    ours, theirs = (torch.autograd.grad(y, (x, w), slopes) for y, w in ((layer(x), layer.weight), (expected, weight)))
    torch.testing.assert_close(ours[0], theirs[0])
    torch.testing.assert_close(ours[1], theirs[1].transpose(0, 1))
    made = networks.generator(Model(width=4, resize=True), 16, 2)
    networks.initialise(made, 1, output=0.0)
    assert made(torch.randn(2, 100, 1, 1, 1)).shape == (2, 1, 16, 16, 16)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (networks.LatentDeconv(5, 3, 4, 1, 0, bias=False), (2, 5, 1, 1, 1)),
        (networks.LogitConv(3, 1, 4), (2, 3, 4, 4, 4)),
    ],
)
def test_what_a_gpu_multiplies_is_the_convolution(layer, shape):
    x = torch.randn(shape, dtype=torch.float64)
    layer = layer.double().to(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(layer.product(x), layer(x))


def test_views_are_the_density_scaled_with_each_kappa():
    density = torch.tensor([0.0, 1e-3, 0.5, 4.0, 300.0], dtype=torch.float64).view(1, 1, 1, 1, 5)
    views = networks.Views([0.5 / 4, 30 / 4])(scaling.scale(density, 4.0))
    expected = torch.cat([scaling.scale(density, kappa) for kappa in (4.0, 0.5, 30.0)], 1)
    torch.testing.assert_close(views, expected)


def test_the_discriminator_sees_the_logarithm_of_all_densities_with_finite_slopes():
    kappa, floor = 45.0, 0.01
    density = torch.logspace(-5, 5, 200).view(-1, 1, 1, 1, 1)
    scaled = scaling.scale(density, kappa)
    seen = networks.Views([], floor / kappa)(scaled)[:, 1:]
    exact = ((density.double() + floor) / kappa).log() / -math.log(floor / kappa)
    torch.testing.assert_close(seen.double(), exact, rtol=0, atol=2e-4)
    before = torch.tensor([-20.0, -9.0, 0.0, 4.0, 9.0, 20.0], requires_grad=True)  # the tanh: -1 and 1 at the ends
    values = networks.Views([], floor / kappa)(before.tanh().view(-1, 1, 1, 1, 1))[:, 1].flatten()
    assert (values.diff() >= 0).all() and values[0].item() == pytest.approx(-1, abs=1e-6)
    (slope,) = torch.autograd.grad(values.sum(), before)
    assert slope.isfinite().all() and (slope >= 0).all() and slope.max() < 1 and slope[2:4].min() > 0.1


def test_with_a_small_kappa_the_discriminator_tells_empty_cells_apart_in_bfloat16():
    """Densities of 0.01 and 0.02 differ by 0.0004 when scaled with 45; bfloat16 has steps of 0.004 there."""

    def change(*kappas):
        network = networks.discriminator(Model(width=4, kappa=45.0, discriminator_kappa=kappas), 16, 2).eval()
        networks.initialise(network, 1, output=0.0)
        learner = Learner(network, 1e-3, (0.5, 0.9), torch.bfloat16)
        few, more = (learner(scaling.scale(torch.full((2, 1, 16, 16, 16), x), 45.0)) for x in (0.01, 0.02))
        return ((more - few) / few).abs().max().item()

    assert change() == 0
    assert change(0.1) > 0.01


def test_a_critic_has_views_too():
    critic = networks.critic(Model(width=4, discriminator_kappa=(0.5, 300.0), discriminator_log=0.01), 16)
    assert critic(torch.zeros(2, 1, 16, 16, 16)).shape == (2, 1, 1, 1, 1)


def test_the_generator_in_bfloat16_makes_more_than_a_few_densities_near_zero():
    torch.manual_seed(0)
    network = networks.generator(Model(width=4), 16, 2)
    with torch.no_grad():
        network[-2].weight *= 100
    scaled = Learner(network, 1e-3, (0.5, 0.9), torch.bfloat16)(torch.randn(2, 100, 1, 1, 1))
    near = scaled[(scaled < -0.9) & (scaled > -1)]
    assert near.unique().numel() > 200  # 25 in bfloat16
