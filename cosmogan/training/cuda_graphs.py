"""Work on a GPU in CUDA graphs: recorded once, then launched as a whole and not kernel by kernel.

A graph is a list of kernels and of the memory that each reads and writes. So all that differs from one run to the next
lies in tensors that stay where they are, and what the host reads or decides comes between two graphs.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch.utils._pytree import tree_leaves, tree_map_only

from hpc.log import say

T = TypeVar("T")
Work = Callable[..., Iterator[Any]]  # tensors → what each piece of the work gives
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
        here = torch.cuda.current_stream()
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            result = work()
        here.wait_stream(self._stream)
        return result

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record some work, which is not done; return what does it."""
        graph = torch.cuda.CUDAGraph()
        # thread_local, as the loader's thread uses the GPU meanwhile
        with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
            work()
        return graph.replay


class Graphs:
    """Runs work that comes in pieces, and records each piece when all ran `WARM_UP` times.

    A run may be broken off after any piece, but ends before the next begins: all compute in the same memory. What they
    give lies elsewhere, or the next graph would overwrite it. Where recording fails one line says so, and the work
    is done without it.

    Parameters
    ----------
    recorder : of the pieces
    rank : this process's; the first says what fails
    """

    def __init__(self, recorder: Recorder, rank: int = 0) -> None:
        self._recorder, self._rank = recorder, rank
        self._failed = False
        self._whole: Counter[str] = Counter()
        self._recorded: dict[str, tuple[list[torch.Tensor], list[tuple[Callable[[], Any], Any]]]] = {}

    def run(self, name: str, work: Work, *inputs: torch.Tensor) -> Iterator[Any]:
        """Yield what each piece of the work of that name gives; tensors hold until it runs again."""
        if name in self._recorded:
            kept, pieces = self._recorded[name]
            for old, new in zip(kept, inputs, strict=True):
                old.copy_(new)
            for replay, given in pieces:
                replay()
                yield given
            return
        results = []
        for given in self._rehearsed(work(*inputs)):
            results.append(given)
            yield given
        self._whole[name] += 1
        if self._whole[name] == WARM_UP and not self._failed:
            self._record(name, work, [x.clone() for x in inputs], results)

    def _rehearsed(self, pieces: Iterator[Any]) -> Iterator[Any]:
        end = object()
        while (given := self._recorder.rehearse(lambda: next(pieces, end))) is not end:
            yield given

    def _record(self, name: str, work: Work, kept: list[torch.Tensor], results: list[Any]) -> None:
        """Record the pieces, with a copy of what each gives into tensors outside of the graphs' memory."""
        pieces, given = work(*kept), tree_map_only(torch.Tensor, torch.clone, results)
        try:
            replays = [self._recorder.record(lambda to=one: _copy(next(pieces), to)) for one in given]
        except RuntimeError as error:
            self._failed = True
            reason = str(error).partition("\n")[0]
            say(f"train: CUDA graphs cannot be recorded ({reason}); kernels are launched one by one", self._rank)
            return
        self._recorded[name] = kept, list(zip(replays, given, strict=True))


def _copy(results: Any, given: Any) -> None:
    """Copy the tensors of some results, in place, into those of others of their kind."""
    for new, old in zip(tree_leaves(results), tree_leaves(given), strict=True):
        if isinstance(old, torch.Tensor):
            old.copy_(new)


def directly(_: str, work: Work, *inputs: torch.Tensor) -> Iterator[Any]:
    """Do as `Graphs.run`, without graphs."""
    return work(*inputs)
