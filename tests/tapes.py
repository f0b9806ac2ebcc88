"""A stand-in for CUDA graphs on a CPU: a tape of operations, done again on the memory that they had first."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# What the host reads of the device, or copies to it: neither can be captured.
OF_THE_HOST = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.lift_fresh.default)


class Tape(TorchDispatchMode):
    """Notes all operations with their tensors, and nothing else, to do the same again on the same memory."""

    def __init__(self):
        super().__init__()
        self.notes, self.before = [], []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        assert operation not in OF_THE_HOST, f"{operation} while recording"
        for argument, value in zip(operation._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                self.before += [(x, x.detach().clone()) for x in tree_leaves(value) if isinstance(x, torch.Tensor)]
        results = operation(*args, **kwargs)
        self.notes.append((operation, args, kwargs, results))
        return results

    def undo(self):
        """Give all memory its contents before the recording, which a CUDA graph's would not have touched."""
        for x, contents in reversed(self.before):
            x.data.copy_(contents)

    @torch.no_grad()
    def replay(self):
        for operation, args, kwargs, results in self.notes:
            again = operation(*args, **kwargs)
            for old, new in zip(tree_leaves(results), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class Tapes:
    """A recorder for the CPU."""

    def __init__(self, device):
        self.pieces = 0

    def rehearse(self, work):
        return work()

    def record(self, work):
        self.pieces += 1
        with Tape() as tape:
            result = work()
        tape.undo()

        def replay():
            tape.replay()
            return result

        return replay
