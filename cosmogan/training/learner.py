"""Hold a network with its optimiser, its gradients in one buffer, and the precision of its arithmetic."""

from typing import Any, NamedTuple

import torch
from torch import nn
from torch.func import functional_call

from hpc.distributed import Processes

AMPERE = (8, 0)  # the compute capability from which a GPU multiplies in TF32 and bfloat16


class Precision(NamedTuple):
    """The number formats of weights and of convolutions."""

    dtype: torch.dtype  # of weights, gradients and moments
    autocast: torch.dtype | None  # of convolutions, where that is another


def precision(wanted: str, device: torch.device) -> Precision:
    """Return the formats of ``train.precision`` on a device, and switch TF32 on or off in this process.

    Raises
    ------
    ValueError
        when the device lacks the format.
    """
    modern = device.type == "cuda" and torch.cuda.get_device_capability(device) >= AMPERE
    if wanted == "auto":
        wanted = "tf32" if modern else "float32"
    # Without these instructions bfloat16 takes a CPU a minute where float32 takes a second.
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
    DistributedDataParallel would hide the same sum in hooks, which would need special cases for each step that the
    gate skips, and for the discriminator's pass in the generator's step. Running statistics lie in one buffer too, for
    the same reason. Convolutions of lower precision have copies of their weights in it, renewed once per step:
    autocast would make them in every pass.
    """

    def __init__(self, network: nn.Sequential, rate: float, betas: tuple[float, ...], low: torch.dtype | None):
        self.network, self.rate = network, rate
        named = dict(network.named_parameters())
        self.parameters = list(named.values())
        self._copies = {name: named[name].detach().to(low).requires_grad_() for name in _convolved(network) if low}
        self._differentiated = [self._copies.get(name, parameter) for name, parameter in named.items()]
        first = self.parameters[0]
        sizes = [parameter.numel() for parameter in self.parameters]
        self._buffer = first.new_zeros(sum(sizes) + 1)
        self.gradients = self._buffer[:-1]
        parts = zip(self.parameters, self.gradients.split(sizes), strict=True)
        self._gradients = [part.as_strided(parameter.shape, parameter.stride()) for parameter, part in parts]
        for parameter, gradient in zip(self.parameters, self._gradients, strict=True):
            parameter.grad = gradient
        self._statistics = _gathered(network)
        # On the device, where recorded work reads it anew; in the type that the fused kernel of a GPU, or a CPU, takes.
        dtype = torch.float32 if first.is_cuda else torch.float64
        self._rate_on_device = torch.tensor(rate, dtype=dtype, device=first.device)
        moments = betas[0], betas[1]
        self.optimizer = torch.optim.Adam(self.parameters, self._rate_on_device, moments, fused=True, capturable=True)

    def __call__(self, x: torch.Tensor, *conditions: torch.Tensor) -> torch.Tensor:
        """Return the network's output for a batch and its conditions, if any, in the weights' precision."""
        return functional_call(self.network, self._copies, (x, *conditions)).to(self._buffer.dtype)

    def set_rate(self, factor: float) -> None:
        """Set the present rate to ``factor`` times the rate of the settings."""
        self._rate_on_device.fill_(self.rate * factor)

    def backward(self, loss: torch.Tensor) -> None:
        """Compute the gradients of the loss; both go into the buffer.

        Only this network's gradients are computed: not the discriminator's in the generator's step.
        """
        torch._foreach_copy_(self._gradients, torch.autograd.grad(loss, self._differentiated))
        self._buffer[-1] = loss.detach()

    def average_gradients(self, processes: Processes) -> None:
        """Average the loss and the gradients over the processes."""
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
        """Copy the present weights into those of lower precision."""
        if self._copies:
            with torch.no_grad():
                torch._foreach_copy_([*self._copies.values()], [self.network.get_parameter(n) for n in self._copies])

    def average_statistics(self, processes: Processes) -> None:
        """Average the running statistics over the processes: the mean over all of the batch's groups."""
        if len(self._statistics):
            processes.mean(self._statistics)

    def norm(self) -> torch.Tensor:
        """Return the Euclidean norm of all weights."""
        return torch.stack([parameter.detach().norm() for parameter in self.parameters]).norm()

    def state(self) -> dict[str, Any]:
        """Return weights, running statistics and the optimiser's moments."""
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore what ``state`` returned."""
        self.network.load_state_dict(state["network"])
        self._renew_copies()
        settings = self.optimizer.state_dict()["param_groups"]  # this run's, which train.allow_changed may have changed
        self.optimizer.load_state_dict({**state["optimizer"], "param_groups": settings})
        self.optimizer.param_groups[0]["lr"] = self._rate_on_device


def _convolved(network: nn.Module) -> list[str]:
    """Return the names of the weights of convolutions, and of the biases of those that are not transposed."""
    kinds: dict[str, Any] = {"weight": (nn.Conv3d, nn.ConvTranspose3d), "bias": nn.Conv3d}
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
