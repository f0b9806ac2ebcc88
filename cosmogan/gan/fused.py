"""Normalise, activate, gather blocks and cut crops on a GPU, each in one or two passes over memory: Triton kernels.

Triton comes with torch's CUDA builds. Where it is missing, or the GPU is older than it supports, `available` says no,
and the callers take torch's own operations.

Arrays of samples are in channels-last memory, rows of channels: a group of samples is a block of rows. Sums are taken
in float32 in an order that depends on the shape alone, so the same input gives the same bytes.
"""

import contextlib
import functools
import sys

import torch
import torch.nn.functional as F

from hpc.log import say

triton = None
if torch.backends.cuda.is_built() or "triton" in sys.modules:  # a second of imports that a CPU does not need
    with contextlib.suppress(ImportError):
        import triton
        import triton.language as tl

OLDEST = (8, 0)  # compute capability that Triton supports
CHUNKS = 128  # parts that the rows of a group are summed in, at most
TILE = 4096  # numbers that a program works on at once
LANES = 64  # channels that a program works on, at most

if triton is not None:

    @triton.jit
    def _arrived_last(arrivals, programs):
        """Say whether all other programs that share a counter are done; what they wrote can be read then."""
        tl.debug_barrier()
        before = tl.atomic_add(arrivals, 1, sem="acq_rel")
        tl.debug_barrier()
        return before == programs - 1

    @triton.jit
    def _moments(
        x, partial, mean, rstd, running_mean, running_var, arrivals,
        rows, chunk, channels, groups, momentum, eps,
        CHUNKS: tl.constexpr, ROWS: tl.constexpr, LANES: tl.constexpr,
    ):  # fmt: skip
        """Find each group's mean and 1 / deviation, and move the running statistics towards their mean over groups.

        A program takes the moments of a chunk of rows; the last one that is done merges them (Chan, Golub & LeVeque).
        """
        part, group, column = tl.program_id(0), tl.program_id(1), tl.program_id(2)
        lane = column * LANES + tl.arange(0, LANES)
        inside = lane < channels
        begin, end = part * chunk, tl.minimum(rows, (part + 1) * chunk)
        average, squares = tl.zeros((LANES,), tl.float32), tl.zeros((LANES,), tl.float32)
        for first in range(begin, end, ROWS):
            row = first + tl.arange(0, ROWS)
            mask = (row < end)[:, None] & inside[None, :]
            place = (group * rows + row).to(tl.int64)[:, None] * channels + lane[None, :]
            values = tl.load(x + place, mask=mask, other=0.0).to(tl.float32)
            more = tl.minimum(ROWS, end - first).to(tl.float32)
            seen = (first - begin).to(tl.float32)
            own = tl.sum(values, 0) / more
            apart = tl.where(mask, values - own[None, :], 0.0)
            step = own - average
            average += step * (more / (seen + more))
            squares += tl.sum(apart * apart, 0) + step * step * (seen * more / (seen + more))
        at = partial + ((group * CHUNKS + part) * 2) * channels + lane
        tl.store(at, average, mask=inside)
        tl.store(at + channels, squares, mask=inside)
        if _arrived_last(arrivals + column, CHUNKS * groups):
            parts = tl.arange(0, CHUNKS)
            counts = tl.maximum(tl.minimum(rows - parts * chunk, chunk), 0).to(tl.float32)[:, None]
            all_means, all_vars = tl.zeros((LANES,), tl.float32), tl.zeros((LANES,), tl.float32)
            for g in range(groups):
                at_all = partial + (g * CHUNKS + parts)[:, None] * 2 * channels + lane[None, :]
                averages = tl.load(at_all, mask=inside[None, :], other=0.0, cache_modifier=".cg")
                spreads = tl.load(at_all + channels, mask=inside[None, :], other=0.0, cache_modifier=".cg")
                centre = tl.sum(counts * averages, 0) / rows
                apart = averages - centre[None, :]
                total = tl.sum(spreads + counts * apart * apart, 0)
                tl.store(mean + g * channels + lane, centre, mask=inside)
                tl.store(rstd + g * channels + lane, 1 / tl.sqrt(total / rows + eps), mask=inside)
                all_means += centre
                all_vars += total / (rows - 1)
            old_mean = tl.load(running_mean + lane, mask=inside, other=0.0)
            old_var = tl.load(running_var + lane, mask=inside, other=0.0)
            tl.store(running_mean + lane, old_mean + momentum * (all_means / groups - old_mean), mask=inside)
            tl.store(running_var + lane, old_var + momentum * (all_vars / groups - old_var), mask=inside)
            tl.store(arrivals + column, 0)

    @triton.jit
    def _own_rows(rows, channels, ROWS: tl.constexpr, LANES: tl.constexpr):
        """Return this program's group and channels, which of those exist, and where its numbers are and which exist."""
        row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
        group, lane = tl.program_id(1), tl.program_id(2) * LANES + tl.arange(0, LANES)
        inside = lane < channels
        mask = (row < rows)[:, None] & inside[None, :]
        place = (group * rows + row).to(tl.int64)[:, None] * channels + lane[None, :]
        return group, lane, inside, place, mask

    @triton.jit
    def _per_channel(mean, rstd, weight, bias, first, lane, inside):
        """Return channels' mean and 1 / deviation in their group, whose first number is given; weight and bias."""
        centre = tl.load(mean + first + lane, mask=inside, other=0.0)
        scale = tl.load(rstd + first + lane, mask=inside, other=0.0)
        factor = tl.load(weight + lane, mask=inside, other=0.0)
        shift = tl.load(bias + lane, mask=inside, other=0.0)
        return centre, scale, factor, shift

    @triton.jit
    def _normalise(
        x, y, mean, rstd, weight, bias, rows, channels, slope, ROWS: tl.constexpr, LANES: tl.constexpr
    ):  # fmt: skip
        """Normalise rows by their group's moments, scale, shift, and take a leaky ReLU."""
        group, lane, inside, place, mask = _own_rows(rows, channels, ROWS, LANES)
        centre, scale, factor, shift = _per_channel(mean, rstd, weight, bias, group * channels, lane, inside)
        values = tl.load(x + place, mask=mask, other=0.0).to(tl.float32)
        out = (values - centre[None, :]) * (scale * factor)[None, :] + shift[None, :]
        tl.store(y + place, tl.where(out > 0, out, slope * out), mask=mask)

    @triton.jit
    def _through_activation(x, gradient, place, mask, centre, rstd, weight, bias, slope):
        """Return the normalised values, and the gradient of the activation's input."""
        values = tl.load(x + place, mask=mask, other=0.0).to(tl.float32)
        normalised = (values - centre[None, :]) * rstd[None, :]
        given = tl.load(gradient + place, mask=mask, other=0.0).to(tl.float32)
        active = (values - centre[None, :]) * (rstd * weight)[None, :] + bias[None, :] > 0  # as `_normalise` has it
        return normalised, tl.where(mask, tl.where(active, given, slope * given), 0.0)

    @triton.jit
    def _gradient_sums(
        x, gradient, partial, sums, of_weight, of_bias, mean, rstd, weight, bias, arrivals,
        rows, chunk, channels, groups, slope,
        CHUNKS: tl.constexpr, ROWS: tl.constexpr, LANES: tl.constexpr,
    ):  # fmt: skip
        """Sum the gradient, and its product with the normalised values: for each group, and over all of them."""
        part, group, column = tl.program_id(0), tl.program_id(1), tl.program_id(2)
        lane = column * LANES + tl.arange(0, LANES)
        inside = lane < channels
        centre, scale, factor, shift = _per_channel(mean, rstd, weight, bias, group * channels, lane, inside)
        begin, end = part * chunk, tl.minimum(rows, (part + 1) * chunk)
        plain, product = tl.zeros((LANES,), tl.float32), tl.zeros((LANES,), tl.float32)
        for first in range(begin, end, ROWS):
            row = first + tl.arange(0, ROWS)
            mask = (row < end)[:, None] & inside[None, :]
            place = (group * rows + row).to(tl.int64)[:, None] * channels + lane[None, :]
            normalised, given = _through_activation(x, gradient, place, mask, centre, scale, factor, shift, slope)
            plain += tl.sum(given, 0)
            product += tl.sum(given * normalised, 0)
        at = partial + ((group * CHUNKS + part) * 2) * channels + lane
        tl.store(at, plain, mask=inside)
        tl.store(at + channels, product, mask=inside)
        if _arrived_last(arrivals + column, CHUNKS * groups):
            parts = tl.arange(0, CHUNKS)
            all_plain, all_product = tl.zeros((LANES,), tl.float32), tl.zeros((LANES,), tl.float32)
            for g in range(groups):
                at_all = partial + (g * CHUNKS + parts)[:, None] * 2 * channels + lane[None, :]
                of_group = tl.sum(tl.load(at_all, mask=inside[None, :], other=0.0, cache_modifier=".cg"), 0)
                products = tl.sum(tl.load(at_all + channels, mask=inside[None, :], other=0.0, cache_modifier=".cg"), 0)
                tl.store(sums + 2 * g * channels + lane, of_group, mask=inside)
                tl.store(sums + (2 * g + 1) * channels + lane, products, mask=inside)
                all_plain += of_group
                all_product += products
            tl.store(of_bias + lane, all_plain, mask=inside)
            tl.store(of_weight + lane, all_product, mask=inside)
            tl.store(arrivals + column, 0)

    @triton.jit
    def _gradient(
        x, gradient, out, sums, mean, rstd, weight, bias, rows, channels, slope,
        ROWS: tl.constexpr, LANES: tl.constexpr,
    ):  # fmt: skip
        """Find the gradient of the input of the normalisation."""
        group, lane, inside, place, mask = _own_rows(rows, channels, ROWS, LANES)
        centre, scale, factor, shift = _per_channel(mean, rstd, weight, bias, group * channels, lane, inside)
        plain = tl.load(sums + 2 * group * channels + lane, mask=inside, other=0.0) / rows
        product = tl.load(sums + (2 * group + 1) * channels + lane, mask=inside, other=0.0) / rows
        normalised, given = _through_activation(x, gradient, place, mask, centre, scale, factor, shift, slope)
        change = given - plain[None, :] - normalised * product[None, :]
        tl.store(out + place, (factor * scale)[None, :] * change, mask=mask)

    @triton.jit
    def _blocks(cells, blocks, n, channels, m, h, BLOCK: tl.constexpr):
        """Copy cells, padded by one at either end of an axis, to the blocks of 2³ that they are in."""
        place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        mask = place < n * h * h * h * 8 * channels
        channel, rest = place % channels, place // channels
        bits, rest = rest % 8, rest // 8
        x, rest = 2 * (rest % h) + bits % 2 - 1, rest // h
        y, rest = 2 * (rest % h) + bits // 2 % 2 - 1, rest // h
        z, sample = 2 * (rest % h) + bits // 4 - 1, rest // h
        inside = mask & (x >= 0) & (x < m) & (y >= 0) & (y < m) & (z >= 0) & (z < m)
        source = (((sample * channels + channel) * m + z) * m + y) * m + x
        tl.store(blocks + place, tl.load(cells + source, mask=inside, other=0.0), mask=mask)

    @triton.jit
    def _cells(blocks, cells, n, channels, m, h, BLOCK: tl.constexpr):
        """Copy the cells of blocks of 2³, but for the padding, to their places."""
        place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        mask = place < n * channels * m * m * m
        x, rest = place % m + 1, place // m
        y, rest = rest % m + 1, rest // m
        z, rest = rest % m + 1, rest // m
        channel, sample = rest % channels, rest // channels
        bits = 4 * (z % 2) + 2 * (y % 2) + x % 2
        block = ((sample * h + z // 2) * h + y // 2) * h + x // 2
        values = tl.load(blocks + (block * 8 + bits) * channels + channel, mask=mask, other=0.0)
        tl.store(cells + place, values, mask=mask)

    @triton.jit
    def _crop(
        boxes, pieces, tables, out, m, BLOCK: tl.constexpr
    ):  # fmt: skip
        """Copy a plane of each crop: where a cell lies is the sum of a table's entry for each of its axes."""
        sample, plane = tl.program_id(0).to(tl.int64), tl.program_id(1)
        cell = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
        mask = cell < m * m
        table = tables + sample * 6 * m  # (far, offset) × three axes × m
        far = tl.load(table + plane)
        offset = tl.load(table + 3 * m + plane)
        for axis in tl.static_range(1, 3):
            along = axis * m + (cell // m if axis == 1 else cell % m)
            far += tl.load(table + along, mask=mask, other=0)
            offset += tl.load(table + 3 * m + along, mask=mask, other=0)
        piece = tl.load(pieces + sample * 8 + far, mask=mask, other=0)
        values = tl.load(boxes + piece.to(tl.int64) * m * m * m + offset, mask=mask, other=0.0)
        tl.store(out + (sample * m + plane) * m * m + cell, values, mask=mask)


@functools.lru_cache
def _supported(device: torch.device) -> bool:
    if triton is None or torch.cuda.get_device_capability(device) < OLDEST:
        return False
    try:
        agree = _agrees(device)
    except Exception as error:  # whatever a compiler or a driver can raise
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
    else:
        reason = "other numbers than torch's"
        if agree:
            return True
    say(f"warning: Triton does not work on this GPU ({reason}); torch's own operations are used, which are slower")
    return False


def _agrees(device: torch.device) -> bool:
    """Say whether the kernels agree with torch's operations on a device."""
    x = torch.randn(4, 8, 4, 4, 4, generator=torch.Generator().manual_seed(1)).to(device)
    weight, bias, mean, var = torch.linspace(-1, 1, 32, device=device).view(4, 8)
    taught = [t.clone().requires_grad_() for t in (x, weight, bias)]
    with torch.enable_grad(), torch.inference_mode(False):
        ours = BatchNormActivation.apply(*taught, mean.clone(), var.clone(), 2, 0.1, 1e-5, 0.2)
        normal = torch.cat(
            [F.batch_norm(part, None, None, *taught[1:], True, 0.0, 1e-5) for part in taught[0].split(2)]
        )
        expected = F.leaky_relu(normal, 0.2)
        pairs = [(ours, expected)]
        pairs += zip(*(torch.autograd.grad(y.square().sum(), taught) for y in (ours, expected)), strict=True)
    cells = to_cells(to_blocks(x[:, :1], x.dtype), x.dtype)
    return torch.equal(cells, x[:, :1]) and all(torch.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in pairs)


def available(x: torch.Tensor) -> bool:
    """Say whether these kernels take a tensor: on a GPU that Triton supports, in float32 or bfloat16."""
    return x.is_cuda and x.dtype in (torch.float32, torch.bfloat16) and _supported(x.device)


def _launch(kernel, grid: tuple[int, ...], *arguments, **constants) -> None:
    """Run a kernel."""
    kernel[grid](*arguments, **constants)


class BatchNormActivation(torch.autograd.Function):
    """BatchNorm of each group by its own statistics, and the leaky ReLU after it."""

    @staticmethod
    def forward(ctx, x, weight, bias, running_mean, running_var, group, momentum, eps, slope):
        """Return what `batch_norm.GroupedBatchNorm` gives in training, and update its running statistics in place."""
        x = x.contiguous(memory_format=torch.channels_last_3d)
        plan = _plan(x, group)
        partial, moments = _scratch(x, plan), x.new_empty(2, plan.groups, plan.channels, dtype=torch.float32)
        results = *moments, running_mean, running_var, _arrivals(x.device)
        _launch(
            _moments, plan.summing, x, partial, *results, *plan.sizes, momentum, eps, CHUNKS=plan.chunks, **plan.tile
        )
        y = torch.empty_like(x)
        scaling = *moments, weight, bias
        _launch(_normalise, plan.mapping, x, y, *scaling, plan.rows, plan.channels, slope, **plan.tile)
        ctx.save_for_backward(x, weight, bias, moments)
        ctx.settings = group, eps, slope
        return y

    @staticmethod
    def backward(ctx, gradient):
        """Return the gradients of x, weight and bias."""
        x, weight, bias, moments = ctx.saved_tensors
        group, eps, slope = ctx.settings
        if torch.is_grad_enabled():  # it is to be differentiated again, as the R1 penalty is
            return *differentiable_gradients(x, gradient, weight, bias, group, eps, slope), *[None] * 6
        gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
        plan = _plan(x, group)
        sums = x.new_empty(plan.groups, 2, plan.channels, dtype=torch.float32)
        of_weight, of_bias = torch.empty_like(weight), torch.empty_like(bias)
        scaling = *moments, weight, bias
        results = (_scratch(x, plan), sums, of_weight, of_bias)
        arguments = x, gradient, *results, *scaling, _arrivals(x.device), *plan.sizes, slope
        _launch(_gradient_sums, plan.summing, *arguments, CHUNKS=plan.chunks, **plan.tile)
        out = torch.empty_like(x)
        arguments = x, gradient, out, sums, *scaling, plan.rows, plan.channels, slope
        _launch(_gradient, plan.mapping, *arguments, **plan.tile)
        return out, of_weight, of_bias, *[None] * 6


def differentiable_gradients(
    x: torch.Tensor,
    gradient: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    group: int,
    eps: float,
    slope: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the gradients of x, weight and bias, in torch's operations, which can be differentiated again."""
    values, given = (t.to(weight.dtype).unflatten(0, (-1, group)) for t in (x, gradient))
    axes = (1, 3, 4, 5)
    var, mean = torch.var_mean(values, axes, correction=0, keepdim=True)
    rstd = (var + eps).rsqrt()
    normalised = (values - mean) * rstd
    factor, shift = (t.view(-1, 1, 1, 1) for t in (weight, bias))
    given = torch.where(normalised * factor + shift > 0, given, slope * given)
    plain, product = given.mean(axes, keepdim=True), (given * normalised).mean(axes, keepdim=True)
    out = factor * rstd * (given - plain - normalised * product)
    rows = values[0, :, 0].numel()
    of_weight, of_bias = (rows * t.sum(0).flatten() for t in (product, plain))
    return out.flatten(0, 1).to(x.dtype), of_weight, of_bias


class _Plan:
    """How samples (n, channels, …) in groups are assigned to the kernels' programs."""

    def __init__(self, groups: int, rows: int, channels: int) -> None:
        self.groups, self.rows, self.channels = groups, rows, channels
        lanes = min(LANES, triton.next_power_of_2(channels))
        at_once = TILE // lanes
        self.tile = {"ROWS": at_once, "LANES": lanes, "num_warps": 8}
        self.chunks = min(CHUNKS, triton.next_power_of_2(-(-rows // at_once)))
        columns = -(-channels // lanes)
        self.summing = self.chunks, groups, columns
        self.mapping = -(-rows // at_once), groups, columns
        self.sizes = rows, -(-rows // self.chunks), channels, groups


@functools.lru_cache
def _plan_of(groups: int, rows: int, channels: int) -> _Plan:
    return _Plan(groups, rows, channels)


def _plan(x: torch.Tensor, group: int) -> _Plan:
    return _plan_of(len(x) // group, group * x[0, 0].numel(), x.shape[1])


def _scratch(x: torch.Tensor, plan: _Plan) -> torch.Tensor:
    return x.new_empty(plan.groups, plan.chunks, 2, plan.channels, dtype=torch.float32)


@functools.lru_cache
def _arrivals(device: torch.device) -> torch.Tensor:
    """Return counters, which every kernel leaves at 0."""
    return torch.zeros(1024, dtype=torch.int32, device=device)


def crop(boxes: torch.Tensor, pieces: torch.Tensor, tables: torch.Tensor) -> torch.Tensor:
    """Return crops (n, m, m, m).

    Parameters
    ----------
    boxes : (…, m, m, m), the subvolumes
    pieces : (n, 8) int32, the places of those that each crop lies in
    tables : (n, 2, 3, m) int32, for the cells along each axis of the crop: which bit of the piece they set, and where
        they lie in it
    """
    n, m = len(pieces), boxes.shape[-1]
    out, block = boxes.new_empty(n, m, m, m), 1024
    _launch(_crop, (n, m, -(-m * m // block)), boxes, pieces, tables, out, m, BLOCK=block)
    return out


def to_blocks(cells: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Gather (n, channels, m, m, m), padded by one at either end, to blocks (n, 8 channels, h, h, h), channels last."""
    cells = cells.contiguous()
    n, channels, m = cells.shape[:3]
    h, block = m // 2 + 1, 1024
    blocks = cells.new_empty(n, h, h, h, 8 * channels, dtype=dtype)
    _launch(_blocks, (-(-blocks.numel() // block),), cells, blocks, n, channels, m, h, BLOCK=block)
    return blocks.permute(0, 4, 1, 2, 3)


def to_cells(blocks: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Scatter blocks (n, 8 channels, h, h, h) to their cells (n, channels, m, m, m), without the padding."""
    blocks = blocks.contiguous(memory_format=torch.channels_last_3d)
    n, channels, h = len(blocks), blocks.shape[1] // 8, blocks.shape[2]
    m, block = 2 * h - 2, 1024
    cells = blocks.new_empty(n, channels, m, m, m, dtype=dtype)
    _launch(_cells, (-(-cells.numel() // block),), blocks, cells, n, channels, m, h, BLOCK=block)
    return cells
