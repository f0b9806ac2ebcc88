"""Replace methods by CUDA graphs of them: recorded once, then launched as a whole and not kernel by kernel.

A graph is a list of kernels and of the memory that each reads and writes. So all that differs from one run to the next
lies in tensors that stay where they are, and what the host reads or decides comes between two graphs.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only

from hpc.log import say

T = TypeVar("T")
WARM_UP = 3  # whole runs before the recording: in them cuDNN chooses its algorithms, and Adam makes its moments


class Recorder:
    """Records work in CUDA graphs, which share a stream and the memory of what they compute.

    Raises
    ------
    ValueError
        when the device is no GPU.
    """

    def __init__(self, device: torch.device) -> None:
        if device.type != "cuda":
            raise ValueError(f"train.cuda_graphs: expected false without a CUDA GPU; training is on the {device.type}")
        self._stream, self._pool = torch.cuda.Stream(device), torch.cuda.graph_pool_handle()

    def rehearse(self, work: Callable[[], T]) -> T:
        """Do some work, on the stream of the recording: autograd's nodes remember theirs."""
        caller = torch.cuda.current_stream()
        self._stream.wait_stream(caller)
        with torch.cuda.stream(self._stream):
            result = work()
        caller.wait_stream(self._stream)
        return result

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record some work without doing it; return the function that does it."""
        graph = torch.cuda.CUDAGraph()
        # thread_local, as the loader's thread uses the GPU meanwhile
        with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
            work()
        return graph.replay


class Graphs:
    """Replaces methods by CUDA graphs of them.

    Methods that are called one after the other are recorded together, when all of them ran `WARM_UP` times. A run may
    be broken off after any of them, but ends before the next begins: all compute in the same memory. What they return
    lies elsewhere, or the next graph would overwrite it. Where recording fails one line says so, and kernels are
    launched one by one.

    Parameters
    ----------
    recorder : of the methods
    rank : this process's; the first says what fails
    """

    def __init__(self, recorder: Recorder, rank: int = 0) -> None:
        self.recorder, self.rank = recorder, rank
        self.failed = False

    def replace(self, owner: object, *names: str) -> None:
        """Replace an object's methods by ones that launch their graphs.

        Parameters
        ----------
        owner : of the methods
        names : of the methods, as they are called. The first takes tensors; each of the others takes the tensors that
            require gradients among what the one before it returns
        """
        sequence = _Sequence(self, [getattr(owner, name) for name in names])
        for i, name in enumerate(names):
            setattr(owner, name, functools.partial(sequence.call, i))


class _Sequence:
    """Methods that are called one after the other, and their recordings."""

    def __init__(self, graphs: Graphs, methods: list[Callable[..., Any]]) -> None:
        self._graphs, self._methods = graphs, methods
        self._inputs: Any = ()  # of the first method: the latest, or those that the graphs read
        self._results: list[Any] = [None] * len(methods)
        self._replays: list[Callable[[], None]] = []
        self._runs = 0

    def call(self, i: int, *inputs: torch.Tensor) -> Any:
        """Call method i, or launch its graph; tensors that it returns hold until it is called again."""
        if self._replays:
            if i == 0:
                _copy(inputs, self._inputs)
            self._replays[i]()
            return self._results[i]
        result = self._graphs.recorder.rehearse(lambda: self._methods[i](*inputs))
        if self._runs < WARM_UP:
            self._inputs = inputs if i == 0 else self._inputs
            self._results[i] = tree_map(_returned, result)
            self._runs += i == len(self._methods) - 1
            if self._runs == WARM_UP and not self._graphs.failed:
                self._record()
        return result

    def _record(self) -> None:
        """Record all methods, with a copy of what each returns into tensors outside of the graphs' memory."""
        self._inputs = tree_map_only(torch.Tensor, torch.clone, self._inputs)
        inputs, replays = [*self._inputs], []

        def call(method: Callable[..., Any], copies: object) -> None:
            result = method(*inputs)
            inputs[:] = [x for x in tree_leaves(result) if _requires_gradient(x)]
            _copy(result, copies)

        try:
            for method, copies in zip(self._methods, self._results, strict=True):
                replays.append(self._graphs.recorder.record(functools.partial(call, method, copies)))
        except RuntimeError as error:
            self._graphs.failed = True
            reason = str(error).partition("\n")[0]
            line = f"train: CUDA graphs cannot be recorded ({reason}); kernels are launched one by one"
            say(line, self._graphs.rank)
            return
        self._replays = replays


def _requires_gradient(x: object) -> bool:
    return isinstance(x, torch.Tensor) and x.requires_grad


def _returned(x: object) -> object:
    """Return a copy of a tensor; None of one that the next method alone takes, as it requires gradients."""
    return None if _requires_gradient(x) else x.clone() if isinstance(x, torch.Tensor) else x


def _copy(tensors: object, copies: object) -> None:
    """Copy the tensors of nested containers, in place, into those of others of their kind, where there are any."""
    for x, copy in zip(tree_leaves(tensors), tree_leaves(copies), strict=True):
        if isinstance(copy, torch.Tensor):
            copy.copy_(x)
