import numpy as np
import pytest
import torch

from cosmogan.config import Input, Model
from cosmogan.gan import energy, local
from cosmogan.gan.scaling import unscale

KAPPA = 5.0
MODEL, INPUT = Model(kappa=10, width=4), Input(n_steps=2, blocks=1)


def made(seed=1):
    network = local.Generator(MODEL, INPUT)
    local.initialise(network, seed)
    return network


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [  # the vectors that come with Random123 (Salmon et al. 2011)
        ([0] * 4, (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, (0xFFFFFFFF,) * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            (0xA4093822, 0x299F31D0),
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_gives_the_published_words(counter, key, expected):
    words = local.philox([torch.tensor([word]) for word in counter], key)
    assert [int(word) for word in words] == expected


def noise(seed, number, cells, n=3):
    return local.cell_noise(seed, 0, torch.tensor([number]), torch.as_tensor(cells)[None], MODEL, n)[0]


def test_noise_belongs_to_the_cell_of_a_box():
    cells = np.arange(1000).reshape(10, 10, 10) + 2**33
    whole = noise(1, 5, cells)
    assert torch.equal(noise(1, 5, cells[3:7, :, 2:4]), whole[:, 3:7, :, 2:4])
    for other in (noise(2, 5, cells), noise(1, 6, cells), noise(1 + 2**32, 5, cells), noise(1, 5 + 2**32, cells)):
        assert abs(np.corrcoef(whole.flatten(), other.flatten())[0, 1]) < 0.1
    assert not torch.equal(noise(1, 5, cells + 2**32), whole)


def test_noise_is_students_t():
    from scipy.stats import kstest, t

    drawn = noise(3, 0, np.arange(40_000), n=3)
    for channel in drawn:
        assert kstest(channel.numpy(), t(MODEL.degrees_of_freedom).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(drawn)[np.triu_indices(3, 1)]).max() < 0.02


def test_an_untrained_generator_gives_its_input():
    density = 20 * torch.rand(2, 16, 16, 16) ** 4
    inputs = local.network_input(density, torch.randn(2, 2, 16, 16, 16))
    drawn = unscale(made()(inputs)[:, 0], MODEL.kappa)
    inner = density[:, 4:-4, 4:-4, 4:-4] + local.FLOOR
    assert drawn.shape == (2, 8, 8, 8)
    torch.testing.assert_close(drawn, inner, rtol=1e-4, atol=0)


def test_a_cell_sees_its_halo_and_nothing_beyond():
    network, x = made(), torch.randn(1, 3, 15, 15, 15, requires_grad=True)
    torch.nn.init.normal_(network[-1].weight)
    network(x)[0, 0, 3, 3, 3].backward()  # of 7³ cells that of the input's cell (7, 7, 7)
    seen = x.grad.abs().sum((0, 1)) > 0
    halo, cells = local.halo(INPUT), np.arange(15)
    near = abs(cells - 7) <= halo
    assert torch.equal(seen, torch.from_numpy(near[:, None, None] & near[:, None] & near))


def test_cells_of_a_periodic_mesh_have_one_number_each():
    numbers = local.cell_numbers(np.array([[-2, 3, 7]]), 4, 8)[0]
    i, j, k = np.meshgrid(*[(c + np.arange(4)) % 8 for c in (-2, 3, 7)], indexing="ij")
    np.testing.assert_array_equal(numbers, np.ravel_multi_index((i, j, k), (8, 8, 8)))


def test_the_energy_score_is_smallest_for_the_right_scatter():
    random = torch.Generator().manual_seed(1)
    real, one, other = (torch.randn(64, 1, 12, 12, 12, generator=random) for _ in range(3))
    directions = energy.directions(1, 0)

    def score(width, shift=0.0):
        """Of |y - x| - |x - x'| / 2, which `energy_score` has the gradient of."""
        x, other_x = (0.1 * (width * field + shift) for field in (one, other))
        y = 0.1 * real
        half = sum(
            side**1.5 * (a - b).abs().mean() / 2
            for side in energy.COARSER
            for a, b in [[features(field, side, directions) for field in (x, other_x)]]
        )
        return float(energy.energy_score(x, y, other_x, directions, KAPPA) + half)

    scores = {width: score(width) for width in (0.5, 0.8, 1.0, 1.25, 2.0)}
    assert min(scores, key=scores.get) == 1.0
    assert score(1.0, shift=0.5) > scores[1.0]


def features(field, side, directions):
    """The features of `energy_score`, by the definition: an average, then a sum over the neighbourhood."""
    logarithms = [energy.log_density(field, floor / KAPPA) for floor in energy.FLOORS]
    view = torch.cat([*logarithms, (1 + field) / (1 - field)], 1)
    n = view.shape[-1] // side
    coarse = view.reshape(*view.shape[:2], n, side, n, side, n, side).mean((3, 5, 7))
    windows = coarse.unfold(2, 3, 1).unfold(3, 3, 1).unfold(4, 3, 1)
    kernels = directions.view(3, -1, 3, 3, 3)
    return torch.einsum("nvxyzabc,vdabc->nvdxyz", windows, kernels)


def test_the_energy_score_by_its_definition():
    x, y, z = (torch.rand(2, 1, 12, 12, 12) * 1.8 - 0.9 for _ in range(3))
    directions = energy.directions(7, 3)
    expected = 0.0
    for side in energy.COARSER:
        a, b, c = (features(field, side, directions) for field in (x, y, z))
        expected += side**1.5 * ((b - a).abs().mean() - (a - c).abs().mean())
    torch.testing.assert_close(energy.energy_score(x, y, z, directions, KAPPA), expected, rtol=1e-4, atol=1e-6)


def test_directions_differ_from_step_to_step():
    first, second = energy.directions(1, 0), energy.directions(1, 1)
    assert not torch.equal(first, second) and torch.equal(first, energy.directions(1, 0))
    assert first.square().sum((1, 2, 3, 4)).mean() == pytest.approx(1, abs=0.3)
