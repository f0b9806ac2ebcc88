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
        self.notes, self.before, self.made, self.read = [], [], {}, set()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        assert operation not in OF_THE_HOST, f"{operation} while recording"
        for argument, value in zip(operation._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                self.before += [(x, x.detach().clone()) for x in tree_leaves(value) if isinstance(x, torch.Tensor)]
        given = {memory(x) for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        results = operation(*args, **kwargs)
        self.notes.append((operation, args, kwargs, results))
        self.read |= given
        new = [x for x in tree_leaves(results) if isinstance(x, torch.Tensor) and memory(x) not in given]
        self.made.update((memory(x), x) for x in new if memory(x) not in self.read)
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

    def spoil(self):
        """Overwrite what was made while recording, as a graph does that computes in the same memory."""
        for x in self.made.values():
            storage = x.untyped_storage()
            torch.empty(0, dtype=torch.uint8).set_(storage).fill_(255)  # NaN, as floating-point numbers


def memory(x):
    return x.untyped_storage().data_ptr()


class Tapes:
    """A recorder for the CPU, whose pieces compute in the same memory unless one reads what another made."""

    def __init__(self, device):
        self.tapes = []

    @property
    def pieces(self):
        return len(self.tapes)

    def rehearse(self, work):
        return work()

    def record(self, work):
        with Tape() as tape:
            work()
        tape.undo()
        before = self.tapes[-1:]
        tape.run = before[0].run if before and before[0].made.keys() & tape.read else self.pieces
        self.tapes.append(tape)

        def replay():
            for other in self.tapes:
                if other.run != tape.run:
                    other.spoil()
            tape.replay()

        return replay
