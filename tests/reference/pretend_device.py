"""A CUDA device that is none: what lies "on it" lies in the processor's memory, and is marked.

Storages are marked, and every operation hands the mark on. What torch refuses where there is a card
is refused here: tensors of both sides in one operation, a generator of the other side, `numpy()` of
what is on the card. Numbers, kernels and random streams are the processor's: nothing is learned of
those. Beneath a call that has a tensor on the card, torch's own code may make tensors of its own:
these are taken to be there as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["WrongDevice", "pretend_cuda"]

CARD = torch.device("cuda", 0)
COPIES = ("copy_", "_to_copy")
INDEXED = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")
"""What is on a card may be indexed from the processor, though not the other way about."""
FROM_NUMBERS = ("tensor", "as_tensor", "asarray", "new_tensor")

_device, _Generator, _Autocast = torch.Tensor.device, torch.Generator, torch.autocast
_marked: dict[int, StorageWeakRef] = {}
"""By number. A weak reference keeps the number of a storage that is gone from being used again."""
_within: list[bool] = []
"""Of the calls that are under way: whether what they make is on the card."""


class WrongDevice(RuntimeError):
    """What torch would refuse where there is a card."""


def _number(tensor: torch.Tensor) -> int | None:
    if tensor.layout is not torch.strided or _device.__get__(tensor).type != "cpu":
        return None
    with torch._C.DisableTorchFunction():
        return tensor.untyped_storage()._cdata


def _on_card(tensor: torch.Tensor) -> bool:
    return _number(tensor) in _marked


def _put(tensor: torch.Tensor, card: bool) -> None:
    number = _number(tensor)
    if number is None or card == (number in _marked):
        return
    if not card:
        del _marked[number]
        return
    if len(_marked) % 4096 == 4095:
        for gone in [one for one, storage in _marked.items() if storage.expired()]:
            del _marked[gone]
    with torch._C.DisableTorchFunction():
        _marked[number] = StorageWeakRef(tensor.untyped_storage())


def _tensors(*values: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


def _is_card(device: Any) -> bool:
    return torch.device(device).type == "cuda"


class _Spread(TorchDispatchMode):
    """Marks what an operation gives, and refuses one that mixes."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given, name = _tensors(args, kwargs), func.overloadpacket.__name__
        cards = [_on_card(tensor) for tensor in given]
        if any(cards) and name not in COPIES and not (name in INDEXED and cards[0]):
            # As torch has it, a single number may stay behind.
            behind = [t for t, card in zip(given, cards, strict=True) if t.ndim and not card]
            if any(_device.__get__(tensor).type == "cpu" for tensor in behind):
                sides = ("cpu", "cuda")
                found = [f"{list(t.shape)} {sides[c]}" for t, c in zip(given, cards, strict=True)]
                raise WrongDevice(f"{func} of tensors on two devices: {', '.join(found)}")
        known = {_number(tensor) for tensor in given}
        result = func(*args, **(kwargs or {}))
        card = cards[0] if name in COPIES else any(cards) or (not given and any(_within[-1:]))
        for tensor in _tensors(result):
            if _number(tensor) not in known:
                _put(tensor, card)
        return result


class _Front(TorchFunctionMode):
    """Takes the device out of every call, and marks what the call makes."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        card = any(_on_card(tensor) for tensor in _tensors(args, kwargs))
        if name in ("numpy", "__array__") and card:
            raise WrongDevice(f"{name}() of a tensor on the card")
        if name in ("to", "cpu", "cuda") and isinstance(args[0], torch.Tensor):
            return _moved(name, *args, **kwargs)
        named = kwargs.get("device") is not None
        target = _is_card(kwargs["device"]) if named else card
        if named and target:
            kwargs["device"] = torch.device("cpu")
        for value in (*args, *kwargs.values()):
            if isinstance(value, _Generator) and _is_card(value.device) != target:
                raise WrongDevice(f"{name} with a generator on {value.device}")
        if name in FROM_NUMBERS and named and isinstance(args[-1], torch.Tensor):
            args = (*args[:-1], _moved("to", args[-1], CARD if target else "cpu"))
        _within.append(target)
        try:
            result = func(*args, **kwargs)
        finally:
            _within.pop()
        if target and (named or name in ("__deepcopy__", *FROM_NUMBERS)):
            for tensor in _tensors(result):
                _put(tensor, True)
        return result


def _moved(name: str, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """What `to`, `cpu` and `cuda` give."""
    here = _on_card(tensor)
    target = {"cpu": False, "cuda": True}.get(name, here)
    rest = [value for value in args if value is not None] if name == "to" else []
    device = kwargs.pop("device", None)
    if rest and isinstance(rest[0], (str, torch.device)):
        device = rest.pop(0)
    elif rest and isinstance(rest[0], torch.Tensor):
        target, rest[0] = _on_card(rest[0]), rest[0].dtype
    if device is not None and torch.device(device).type == "meta":
        return tensor.to("meta", *rest, **kwargs)
    target = target if device is None else _is_card(device)
    if rest and isinstance(rest[0], bool):
        kwargs["non_blocking"] = rest.pop(0)
    moved = tensor.to(*rest, **kwargs) if rest or kwargs else tensor
    if target != here:
        moved = moved.clone() if _number(moved) == _number(tensor) else moved
        _put(moved, target)
    return moved


class Generator(_Generator):
    """One that knows on which side it is."""

    def __new__(cls, device: Any = "cpu") -> Generator:
        made = super().__new__(cls, "cpu")
        made.place = torch.device(device)
        return made

    def __init__(self, device: Any = "cpu") -> None:
        pass

    @property
    def device(self) -> torch.device:
        return self.place


class Autocast(_Autocast):
    """The card's, carried out on the processor; the processor's own is a mistake here."""

    def __init__(
        self,
        device_type: str,
        dtype: Any = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if device_type == "cpu" and enabled:
            raise WrongDevice("autocast for the processor")
        super().__init__("cpu", torch.float16 if dtype is None else dtype, enabled, cache_enabled)


@contextmanager
def pretend_cuda(free: int = 1 << 40) -> Iterator[torch.device]:
    """Gives torch one card with so many free bytes; yields the device."""
    state = _Generator().get_state()
    place = property(lambda tensor: CARD if _on_card(tensor) else _device.__get__(tensor))
    asked = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "mem_get_info": lambda device=None: (free, free),
        "get_device_properties": lambda device=None: SimpleNamespace(L2_cache_size=1 << 20),
        "get_rng_state": lambda device=None: state,
        "set_rng_state": lambda new, device=None: None,
    }
    with ExitStack() as stack:
        for owner, name, value in (
            (torch.Tensor, "device", place),
            (torch.Tensor, "is_cuda", property(_on_card)),
            (torch, "Generator", Generator),
            (torch, "autocast", Autocast),
            (torch.accelerator, "current_accelerator", lambda check_available=False: None),
            *((torch.cuda, name, value) for name, value in asked.items()),
        ):
            stack.enter_context(mock.patch.object(owner, name, value, create=True))
        stack.enter_context(_Spread())
        stack.enter_context(_Front())
        stack.callback(_marked.clear)
        yield CARD
