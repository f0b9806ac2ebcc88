"""A device beside the host, for tests of what a GPU would refuse, or would let the host wait for, where there is none.

Its tensors say that they are on `DEVICE`; their numbers lie in tensors of the host, which computes with them. So the
results are the host's to the last bit, and an operation on tensors of both sides is an error, as on a GPU.
"""

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")  # which torch knows on any machine, and which has no numbers of its own
aten = torch.ops.aten
COPIES = (aten._to_copy.default, aten.copy_.default)  # what may have tensors of both sides


class OtherDevice(TorchDispatchMode):
    """While it is entered, tensors can be made on `DEVICE` in this thread.

    Attributes
    ----------
    waits : names of the operations for which the host would have to wait for a GPU
    """

    def __init__(self):
        super().__init__()
        self.waits = []
        self._numbers = _OfNumbers()

    def __enter__(self):
        self._numbers.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self._numbers.__exit__(*error)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        self.waits += [str(func)] * _waits(func, args, kwargs)
        return _computed(func, args, kwargs)


class _OfNumbers(TorchFunctionMode):
    """Makes tensors of the host's numbers on the host first; torch would forget the numbers at once."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.Tensor.new_tensor:
            kwargs = {"dtype": args[0].dtype, "device": args[0].device, **kwargs}
            func, args = torch.tensor, args[1:]
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            return func(*args, **{**kwargs, "device": None}).to(kwargs["device"])
        return func(*args, **kwargs)


class _Other(torch.Tensor):
    """A tensor on `DEVICE`; ``held`` has its numbers."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held):
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset()}
        with torch.inference_mode(held.is_inference()):  # a view made in inference mode is not of it
            made = torch.Tensor._make_wrapper_subclass(cls, held.shape, dtype=held.dtype, device=DEVICE, **layout)
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _computed(func, args, kwargs or {})

    def tolist(self):
        """Return the numbers, copied to the host."""
        return self.cpu().tolist()

    @property
    def data(self):
        """The tensor without its history."""
        return self.detach()

    @data.setter
    def data(self, value):
        self.held = value.held
        torch.Tensor.data.__set__(self, value)


def _computed(func, args, kwargs):
    """Return what an operation makes, on the side where a GPU would have it."""
    leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    others = [leaf for leaf in leaves if isinstance(leaf, _Other)]
    own = [leaf for leaf in leaves if not isinstance(leaf, _Other)]
    assert all(leaf.device != DEVICE for leaf in own), f"{func}: a tensor without numbers, made in another thread"
    if others and func not in COPIES and any(leaf.ndim for leaf in own):
        there, here = ([tuple(leaf.shape) for leaf in side] for side in (others, own))
        raise RuntimeError(f"{func}: {there} on the device, {here} not")
    away = _is_away(func, args, kwargs, bool(others))
    if kwargs.get("device") == DEVICE:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    plain_args, plain_kwargs = tree_map(lambda x: x.held if isinstance(x, _Other) else x, (args, kwargs))
    made = func(*plain_args, **plain_kwargs)
    if not away:
        return made
    known = {id(other.held): other for other in others}  # what is changed in place stays the tensor that it was
    return tree_map(lambda x: known.get(id(x), _Other(x)) if isinstance(x, torch.Tensor) else x, made)


def _is_away(func, args, kwargs, others):
    """Say whether an operation's result is on `DEVICE`."""
    if func is aten.copy_.default:
        return isinstance(args[0], _Other)
    return others if kwargs.get("device") is None else kwargs["device"] == DEVICE


def _waits(func, args, kwargs):
    """Say whether an operation lets the host wait for the device."""
    if func in COPIES:
        source = args[1] if func is aten.copy_.default else args[0]
        away = _is_away(func, args, kwargs, isinstance(source, _Other))
        at_once = kwargs.get("non_blocking") or args[2:3] == (True,)
        return isinstance(source, _Other) != away and not (away and at_once)
    read = (aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default, aten.bincount.default)
    by_mask = func is aten.index.Tensor and any(x is not None and x.dtype == torch.bool for x in args[1])
    return isinstance(args[0], _Other) and (func in read or by_mask)
