"""A network that learns: its optimiser and rates, its gradients in one buffer, and the precision of its arithmetic."""

import math
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.func import functional_call

from cosmogan.config import Train
from hpc.distributed import Processes

PACE_GAIN = 0.01  # at chance, 0.4 above the aim, the rates move apart by a factor e in 250 steps
LARGEST_EXCESS, LARGEST_PACE = 0.4, math.log(64)
AMPERE = (8, 0)  # the compute capability from which a GPU multiplies in TF32 and bfloat16


class Precision(NamedTuple):
    """How numbers are held and multiplied."""

    dtype: torch.dtype  # of weights, gradients and moments
    autocast: torch.dtype | None  # of convolutions, where that is another


def precision(wanted: str, device: torch.device) -> Precision:
    """Return a setting's meaning on a device, and allow or forbid TF32 in this process.

    Raises
    ------
    ValueError
        when the device cannot do what is wanted.
    """
    modern = device.type == "cuda" and torch.cuda.get_device_capability(device) >= AMPERE
    if wanted == "auto":
        wanted = "tf32" if modern else "float32"
    # Without these instructions a CPU takes a minute for what is done in a second in float32.
    quick = device.type == "cpu" and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    possible = modern or wanted.startswith("float") or (wanted == "bf16" and quick)
    if not possible:
        raise ValueError(f"train.precision: expected auto or float32, as this {device.type} has no {wanted}")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = wanted == "tf32"
    return Precision(
        torch.float64 if wanted == "float64" else torch.float32, torch.bfloat16 if wanted == "bf16" else None
    )


class Learner:
    """A network, its optimiser, and its gradients in one buffer.

    One all-reduce of the buffer averages the gradients, and the loss that rides in its last place.
    DistributedDataParallel would hide the same sum in hooks, which have to be told of every step that the gate skips
    and of the discriminator's pass in the generator's step. Running statistics lie in one buffer too, for the same
    reason. Convolutions of lower precision have copies of their weights in it, renewed once a step: autocast would
    make them in every pass.
    """

    def __init__(self, network: nn.Sequential, rate: float, betas: tuple[float, ...], low: torch.dtype | None):
        self.network, self.rate = network, rate
        named = dict(network.named_parameters())
        self.parameters = list(named.values())
        self._copies = {name: named[name].detach().to(low).requires_grad_() for name in _convolved(network) if low}
        self._taught = [self._copies.get(name, parameter) for name, parameter in named.items()]
        first = self.parameters[0]
        sizes = [parameter.numel() for parameter in self.parameters]
        self._buffer = first.new_zeros(sum(sizes) + 1)
        self.gradients = self._buffer[:-1]
        for parameter, part in zip(self.parameters, self.gradients.split(sizes), strict=True):
            parameter.grad = part.as_strided(parameter.shape, parameter.stride())
        self._statistics = _gathered(network)
        # On the device, where recorded work reads it anew; in the type that the fused kernel of a GPU, or a CPU, takes.
        dtype = torch.float32 if first.is_cuda else torch.float64
        self._present_rate = torch.tensor(rate, dtype=dtype, device=first.device)
        moments = betas[0], betas[1]
        self.optimizer = torch.optim.Adam(self.parameters, self._present_rate, moments, fused=True, capturable=True)

    def __call__(self, x: torch.Tensor, *told: torch.Tensor) -> torch.Tensor:
        """Return what the network makes of a batch and its conditions, if any, in the weights' precision."""
        return functional_call(self.network, self._copies, (x, *told)).to(self._buffer.dtype)

    def set_rate(self, factor: float) -> None:
        """Move on at ``factor`` times the rate."""
        self._present_rate.fill_(self.rate * factor)

    def differentiate(self, loss: torch.Tensor) -> None:
        """Put the loss and its gradients into the buffer.

        Only this network's gradients are computed: not the discriminator's in the generator's step.
        """
        torch._foreach_copy_([p.grad for p in self.parameters], torch.autograd.grad(loss, self._taught))
        self._buffer[-1] = loss.detach()

    def share_gradients(self, processes: Processes) -> None:
        """Average what `differentiate` found over the processes."""
        processes.mean(self._buffer)

    def descend(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Take one step down the gradients.

        Returns
        -------
        loss, norm
            the loss, and the Euclidean norm of its gradient, both on the device
        """
        self.optimizer.step()
        self._renew_copies()
        return self._buffer[-1].clone(), self.gradients.norm()

    def _renew_copies(self) -> None:
        """Give the copies of lower precision the present weights."""
        if self._copies:
            with torch.no_grad():
                torch._foreach_copy_([*self._copies.values()], [self.network.get_parameter(n) for n in self._copies])

    def share_statistics(self, processes: Processes) -> None:
        """Give all processes the same running statistics: the mean over all of the batch's groups."""
        if len(self._statistics):
            processes.mean(self._statistics)

    def norm(self) -> torch.Tensor:
        """Return the Euclidean norm of all weights."""
        return torch.stack([parameter.detach().norm() for parameter in self.parameters]).norm()

    def state(self) -> dict[str, Any]:
        """Return weights, running statistics and the optimiser's moments."""
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what ``state`` returned."""
        self.network.load_state_dict(state["network"])
        self._renew_copies()
        settings = self.optimizer.state_dict()["param_groups"]  # this run's, as it may be told to go on with others
        self.optimizer.load_state_dict({**state["optimizer"], "param_groups": settings})
        self.optimizer.param_groups[0]["lr"] = self._present_rate


class Pace:
    """Keeps the discriminator's loss near an aim.

    A discriminator at chance teaches the generator nothing, nor does one that always wins; and how fast it learns
    depends on the size of the networks, the batch and the data. Above the aim its rate is raised and the generator's
    lowered, below it its rate is lowered. The logarithm of the ratio of the rates is the sum over the steps of the
    loss's excess over the aim: the same on any number of processes, whose losses are averaged.

    Parameters
    ----------
    aim : None: rates stay as they are

    Attributes
    ----------
    log : ln of the factor by which the rates move apart, up to `LARGEST_PACE` either way
    """

    def __init__(self, aim: float | None) -> None:
        self._aim, self.log = aim, 0.0

    def add(self, loss: float) -> None:
        """Take in the discriminator's loss of a step."""
        if self._aim is not None:
            excess = min(max(loss - self._aim, -LARGEST_EXCESS), LARGEST_EXCESS)
            self.log = min(max(self.log + PACE_GAIN * excess, -LARGEST_PACE), LARGEST_PACE)

    @property
    def discriminator(self) -> float:
        """What multiplies the discriminator's rate."""
        return math.exp(self.log / 2)

    @property
    def generator(self) -> float:
        """What multiplies the generator's rate."""
        return math.exp(-max(self.log, 0.0) / 2)


def rate_factor(train: Train, progress: float, updates: int) -> float:
    """Return what multiplies the rates.

    Parameters
    ----------
    train : rate_end, rate_decay, decay_every
    progress : fraction of the training that is done: in its second half the rates fall linearly to ``rate_end``
    updates : steps that the generator took; after each ``decay_every`` of them ``rate_decay`` multiplies the rates
    """
    line = 1.0 - (1.0 - train.rate_end) * max(0.0, 2 * progress - 1)
    return line * train.rate_decay ** (updates // train.decay_every)


def _convolved(network: nn.Module) -> list[str]:
    """Return the names of the weights of convolutions, and of the biases of those that are not transposed."""
    kinds = {"weight": (nn.Conv3d, nn.ConvTranspose3d), "bias": nn.Conv3d}
    return [
        name
        for name, _ in network.named_parameters()
        if isinstance(network.get_submodule(name.rpartition(".")[0]), kinds[name.rpartition(".")[2]])
    ]


def _gathered(network: nn.Module) -> torch.Tensor:
    """Move a network's buffers into one, of which they become views; return it."""
    buffers = list(network.buffers())
    gathered = torch.cat(buffers) if buffers else torch.empty(0)
    for buffer, part in zip(buffers, gathered.split([len(buffer) for buffer in buffers]), strict=True):
        buffer.data = part
    return gathered
