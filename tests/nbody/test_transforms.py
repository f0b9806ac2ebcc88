"""Transforms on a CPU: those of torch to rounding, the field back, the same bytes on any number of threads."""

import pytest
import torch

from cosmogan.nbody import lpt, transforms


@pytest.fixture
def threads():
    """Set the number of threads; put the old one back at the end."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def random_field(n, dtype=torch.float32):
    return torch.randn((n, n, n), generator=torch.Generator().manual_seed(n), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [2, 3, 16, 17, 70])
def test_modes_are_those_of_torch_and_the_field_comes_back(n, dtype, monkeypatch):
    monkeypatch.setattr(transforms, "BLOCK", 5000)  # of 70 planes several times two, and a block that is shorter
    field, eps = random_field(n, dtype), torch.finfo(dtype).eps
    modes = transforms.transform(field)
    torch.testing.assert_close(modes, torch.fft.rfftn(field), atol=10 * eps * n**1.5, rtol=0)
    torch.testing.assert_close(transforms.transform_back(modes), field, atol=10 * eps, rtol=0)


def test_the_field_lies_in_the_memory_of_its_modes():
    modes = transforms.transform(random_field(16))
    assert transforms.transform_back(modes).data_ptr() == modes.data_ptr()


@pytest.mark.parametrize("n", [48, 70])
def test_same_bytes_for_any_number_of_threads(n, threads):
    """Of what a step does, and initial conditions, on cubes large enough for torch to share out its own operations."""
    results = []
    for number in (1, 2, 3):
        threads(number)
        modes = lpt.fix_amplitudes(lpt.unit_modes(n, 1, 0))
        positions, _ = lpt.displace(modes.mul_(n), float(n), 0.02, 0.3)
        field = transforms.transform_back(transforms.transform(random_field(n)))
        results.append((positions, field.contiguous()))
    assert all(torch.equal(*pair) for other in results[1:] for pair in zip(results[0], other, strict=True))
