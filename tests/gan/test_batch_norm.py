import functools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cosmogan.gan import fused, layers
from cosmogan.gan.batch_norm import GroupedBatchNorm

needs_triton = pytest.mark.skipif(fused.triton is None, reason="no Triton, which torch's builds for CPUs lack")
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
# Without a GPU Triton's interpreter runs the kernels on the host (tests/conftest.py).
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def volumes(*shape, level=0.0, dtype=torch.float32):
    torch.manual_seed(0)
    x = (3 * torch.randn(shape) + level).to(DEVICE, dtype, memory_format=torch.channels_last_3d)
    return x.requires_grad_()


def expected(x, norm):
    """Each group by torch's own BatchNorm, in float64."""
    numbers = [t.double() for t in (norm.weight, norm.bias)]
    groups = [F.batch_norm(part, None, None, *numbers, True, 0.0, norm.eps) for part in x.double().split(norm.group)]
    return F.leaky_relu(torch.cat(groups), norm.slope)


def layer(channels, group, slope):
    norm = GroupedBatchNorm(channels, group, slope).to(DEVICE)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


def relative(found, right):
    return ((found.double() - right).abs().max() / right.abs().max()).item()


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_it_is_a_batch_norm_of_each_group_and_an_activation(slope):
    x, ours, theirs = volumes(12, 5, 3, 3, 3), layer(5, 4, slope), nn.BatchNorm3d(5, momentum=None).to(DEVICE)
    theirs.load_state_dict(ours.state_dict(), strict=False)
    torch.testing.assert_close(ours(x), F.leaky_relu(torch.cat([theirs(group) for group in x.split(4)]), slope))
    # momentum None: the plain mean over the three groups; ours moves a tenth of the way there
    torch.testing.assert_close(ours.running_mean, 0.1 * theirs.running_mean)
    torch.testing.assert_close(ours.running_var, 0.9 + 0.1 * theirs.running_var)
    ours.running_mean, ours.running_var = theirs.running_mean, theirs.running_var
    torch.testing.assert_close(ours.eval()(x), F.leaky_relu(theirs.eval()(x), slope))


KERNELS = [
    (8, 5, 4, 4, 0.2, 0.0),  # samples, channels, cells a side, samples a group, slope, level
    (4, 32, 4, 2, 0.0, 0.0),
    (4, 96, 4, 4, 0.2, 0.0),  # more channels than one program takes
    (6, 3, 8, 2, 0.0, 100.0),  # sums of squares would lose their digits
    (3, 4, 20, 3, 0.2, 0.0),  # rows in several chunks, of which the last is not full
]


@needs_triton
@pytest.mark.parametrize(("n", "channels", "side", "group", "slope", "level"), KERNELS)
def test_the_kernels_give_the_same_and_the_same_gradients(n, channels, side, group, slope, level):
    x, norm = volumes(n, channels, side, side, side, level=level), layer(channels, group, slope)
    plain = GroupedBatchNorm(channels, group, slope).to(DEVICE)
    settings = group, norm.momentum, norm.eps, slope
    for _ in range(2):  # counters are at 0 again
        found = fused.BatchNormActivation.apply(
            x, norm.weight, norm.bias, norm.running_mean, norm.running_var, *settings
        )
    right = expected(x, norm)
    assert relative(found, right) < 1e-5
    taught, gradient = (x, norm.weight, norm.bias), torch.randn_like(x)
    of_right = torch.autograd.grad(right, taught, gradient.double())
    for create_graph in (False, True):
        of_found = torch.autograd.grad(found, taught, gradient, create_graph=create_graph, retain_graph=True)
        assert all(relative(*both) < 3e-5 for both in zip(of_found, of_right, strict=True))
    for _ in range(2):
        plain.cpu()(x.detach().cpu())
    torch.testing.assert_close(norm.running_mean.cpu(), plain.running_mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(norm.running_var.cpu(), plain.running_var, rtol=1e-5, atol=1e-5)


@needs_triton
def test_a_penalty_on_the_gradient_can_be_differentiated():
    x, norm = volumes(4, 3, 4, 4, 4), layer(3, 2, 0.2)
    settings = 2, norm.momentum, norm.eps, 0.2
    found = fused.BatchNormActivation.apply(x, norm.weight, norm.bias, norm.running_mean, norm.running_var, *settings)
    seconds = []
    for out in (found, expected(x, norm)):
        (gradient,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
        seconds.append(torch.autograd.grad(gradient.square().sum(), (x, norm.weight)))
    assert all(relative(a, b.double()) < 1e-4 for a, b in zip(*seconds, strict=True))


@needs_triton
@pytest.mark.parametrize("channels", [1, 3])
def test_the_kernels_gather_the_same_blocks(channels):
    cells = volumes(3, channels, 8, 8, 8).detach()
    host = layers._Blocks.apply(cells.cpu(), torch.float32)
    blocks = fused.to_blocks(cells, torch.float32)
    assert torch.equal(blocks.cpu(), host)
    assert torch.equal(fused.to_cells(blocks, torch.float32), cells)


@needs_triton
def test_a_gpu_on_which_the_kernels_fail_or_err_gets_torchs_operations_and_one_line(monkeypatch, capsys):
    monkeypatch.setattr(fused, "_supported", functools.lru_cache(fused._supported.__wrapped__))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert fused._supported(DEVICE)
    launch = fused._launch

    def failing(*_, **__):
        raise RuntimeError("no compiler\nhere")

    def erring(kernel, grid, x, y, *more, **constants):
        launch(kernel, grid, x, y, *more, **constants)
        y.mul_(1.1)

    for broken, reason in ((failing, "RuntimeError: no compiler"), (erring, "other numbers than torch's")):
        fused._supported.cache_clear()
        monkeypatch.setattr(fused, "_launch", broken)
        assert not fused._supported(DEVICE)
        assert not fused._supported(DEVICE)
        printed = capsys.readouterr().out
        assert printed.count("\n") == 1 and f"does not work on this GPU ({reason})" in printed
    fused._supported.cache_clear()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert not fused._supported(DEVICE) and not capsys.readouterr().out


@GPU
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_on_a_gpu_large_layers_take_the_kernels_and_are_the_same_each_time(dtype, tolerance):
    x, norm = volumes(32, 64, 16, 16, 16, level=2.0, dtype=dtype), layer(64, 4, 0.2)
    found, right = norm(x), expected(x, norm)
    assert found.grad_fn.name().startswith("BatchNormActivation")
    assert relative(found, right) < tolerance
    assert torch.equal(norm(x), found)
    gradient = torch.randn_like(x)
    once, again = (torch.autograd.grad(y, (x, norm.weight, norm.bias), gradient) for y in (found, norm(x)))
    of_right = torch.autograd.grad(right, (x, norm.weight, norm.bias), gradient.double())
    for one, other, true in zip(once, again, of_right, strict=True):
        assert torch.equal(one, other) and relative(one, true) < 10 * tolerance
