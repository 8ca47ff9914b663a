"""A second device that is none: its tensors compute on the CPU and refuse to mix with the CPU's.

They say that they are on the device ``meta``. What torch refuses between a GPU and the CPU is
refused here, so that code which would fail on a GPU fails without one. As on a GPU, a CPU tensor
without dimensions may stand in arithmetic, and CPU tensors may be indices.
"""

from __future__ import annotations

import warnings
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

DEVICE = torch.device("meta")

_aten = torch.ops.aten
_COPIES = {_aten.copy_, _aten._to_copy}
_INDEXING = {_aten.index, _aten.index_put, _aten.index_put_, _aten._index_put_impl_}
_FILLS = {_aten.masked_fill, _aten.masked_fill_, _aten.fill_}
_MIXED = "Expected all tensors to be on the same device, but found at least two, meta and cpu: {}"


class DeviceTensor(torch.Tensor):
    """A tensor of the pretended device around a CPU tensor, ``inner``."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> DeviceTensor:
        return torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
        )

    def __init__(self, inner: torch.Tensor) -> None:
        self.inner = inner

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})

    def __reduce_ex__(self, protocol: int) -> Any:
        return self.inner.__reduce_ex__(protocol)

    def __repr__(self) -> str:
        return f"DeviceTensor({self.inner})"


class Generator(torch.Generator):
    """A random generator that says whose it is; for the same seed its numbers are the CPU's."""

    def __new__(cls, device: Any = "cpu") -> Generator:
        made = super().__new__(cls)
        made._device = torch.device(device)
        return made

    @property
    def device(self) -> torch.device:
        return self._device


def _computed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Compute on the inner tensors, where devices are not mixed, and give the result its device."""
    on_device = _refuse_mixing(func, args, kwargs)
    if kwargs.get("device") is not None:
        on_device = torch.device(kwargs["device"]) == DEVICE
        kwargs = {**kwargs, "device": torch.device("cpu")}
    result = func(*_mapped(_inner, args), **_mapped(_inner, kwargs))
    returned = func._schema.returns
    if len(returned) == 1 and returned[0].alias_info and returned[0].alias_info.is_write:
        # what is done in place gives back the very tensor that it was done to
        return args[0]
    return _mapped(_wrapped, result) if on_device else result


def _refuse_mixing(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether any tensor is on the device; raise where a GPU would not take the others."""
    tensors = list(_tensors((*args, *kwargs.values())))
    own = [tensor for tensor in tensors if type(tensor) is DeviceTensor]
    if not own or len(own) == len(tensors):
        return bool(own)
    kind = func.overloadpacket
    if kind in _COPIES:
        return True
    if kind in _INDEXING and type(args[0]) is DeviceTensor:
        # indices of a tensor on the device may be on the CPU
        tensors = list(_tensors((args[0], *args[2:])))
    others = [tensor for tensor in tensors if type(tensor) is not DeviceTensor]
    # arithmetic takes one CPU tensor without dimensions
    arithmetic = torch.Tag.pointwise in func.tags and len(others) == 1
    scalars = arithmetic or kind in _FILLS | _INDEXING
    # what is done in place to a CPU tensor is done on the CPU
    in_place = func._schema.is_mutable and type(args[0]) is not DeviceTensor
    if others and (in_place or not scalars or any(tensor.dim() for tensor in others)):
        raise RuntimeError(_MIXED.format(func))
    return True


def _tensors(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def _mapped(change: Callable[[Any], Any], value: Any) -> Any:
    """Change what lies in lists, tuples and dictionaries."""
    if isinstance(value, (list, tuple)):
        return type(value)([_mapped(change, one) for one in value])
    if isinstance(value, dict):
        return {name: _mapped(change, one) for name, one in value.items()}
    return change(value)


def _inner(value: Any) -> Any:
    return value.inner if type(value) is DeviceTensor else value


def _wrapped(value: Any) -> Any:
    return DeviceTensor(value) if type(value) is torch.Tensor else value


class _Operations(TorchDispatchMode):
    """Makes new tensors on the device, and moves tensors to it and from it."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # or torch imports its compiler, which takes seconds
        return False

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """Sees what is lost on the way to the operations: whose generator it is, and data of lists."""

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if kwargs.get("generator") is not None:
            own = args[0].device if isinstance(args[0], torch.Tensor) else kwargs.get("device")
            wanted, given = torch.device(own or "cpu").type, kwargs["generator"].device.type
            if wanted != given:
                raise RuntimeError(
                    f"Expected a '{wanted}' device type for generator but found '{given}'"
                )
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            return func(*args, **{**kwargs, "device": "cpu"}).to(kwargs["device"])
        if func is torch.Tensor.tolist:
            args = (_inner(args[0]),)
        return func(*args, **kwargs)


@contextmanager
def pretended_device() -> Iterator[torch.device]:
    """Let torch have the pretended device, and give it."""
    autocast, load = torch.autocast, torch.load

    def cast(device: str, *args: Any, **kwargs: Any) -> Any:
        return autocast("cpu" if device == DEVICE.type else device, *args, **kwargs)

    def loaded(file: Any, map_location: Any = None, **kwargs: Any) -> Any:
        state = load(file, map_location="cpu", **kwargs)
        return _mapped(lambda value: _moved(value, map_location), state)

    with ExitStack() as stack, warnings.catch_warnings():
        # true of the device meta, and not of this one
        warnings.filterwarnings("ignore", "for .*copying from a non-meta parameter")
        for name, made in (("Generator", Generator), ("autocast", cast), ("load", loaded)):
            stack.enter_context(patch.object(torch, name, made))
        stack.enter_context(_Operations())
        stack.enter_context(_Functions())
        yield DEVICE


def _moved(value: Any, device: Any) -> Any:
    return value.to(device) if isinstance(value, torch.Tensor) and device is not None else value
