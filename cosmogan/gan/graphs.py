"""Work on a GPU in CUDA graphs: recorded once, then launched as a whole and not kernel by kernel.

A graph is a list of kernels and of the memory that each reads and writes. So all that differs from one run to the next
lies in tensors that stay where they are, and what the host reads or decides comes between two graphs.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch

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

    def record(self, work: Callable[[], T]) -> Callable[[], T]:
        """Record some work, which is not done; return what does it, and gives the same tensors each time."""
        graph = torch.cuda.CUDAGraph()
        # thread_local, as the loader's thread uses the GPU meanwhile
        with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
            result = work()

        def replay() -> T:
            graph.replay()
            return result

        return replay


class Graphs:
    """Runs work that comes in pieces, and records each piece when all ran `WARM_UP` times.

    A run may be broken off after any piece, but ends before the next begins: all compute in the same memory.

    Parameters
    ----------
    recorder : of the pieces
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._whole: Counter[str] = Counter()
        self._recorded: dict[str, tuple[list[torch.Tensor], list[Callable[[], Any]]]] = {}

    def run(self, name: str, work: Work, *inputs: torch.Tensor) -> Iterator[Any]:
        """Yield what each piece of the work of that name gives; tensors hold until it runs again."""
        if name in self._recorded:
            kept, replays = self._recorded[name]
            for old, new in zip(kept, inputs, strict=True):
                old.copy_(new)
            for replay in replays:
                yield replay()
            return
        pieces, end, length = work(*inputs), object(), 0
        while (given := self._recorder.rehearse(lambda: next(pieces, end))) is not end:
            length += 1
            yield given
        self._whole[name] += 1
        if self._whole[name] == WARM_UP:
            kept = [x.clone() for x in inputs]
            pieces = work(*kept)
            self._recorded[name] = kept, [self._recorder.record(lambda: next(pieces)) for _ in range(length)]


def directly(_: str, work: Work, *inputs: torch.Tensor) -> Iterator[Any]:
    """Do as `Graphs.run`, without graphs."""
    return work(*inputs)
