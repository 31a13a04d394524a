"""What is inside of a Python value, in a form that can be compared with what is inside of it later."""

from __future__ import annotations

import array
import contextvars
import functools
import sys
import types
from collections import deque
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lirpa_core.capture.fingerprint.libraries import is_opaque
from lirpa_core.graph import Graph

#: Values that never change, and whose type and equality are all that matters.
PLAIN = (
    int,
    float,
    complex,
    str,
    bytes,
    bool,
    type(None),
    torch.dtype,
    torch.device,
    torch.Size,
    range,
    slice,
)

#: Things looked into before what is left counts as unknown.
BUDGET = 1024

#: Elements of a tensor that are compared one by one; of larger ones the version and the memory are.
SMALL = 2**16


class Identity:
    """Equal to itself alone, and keeps what it stands for alive, lest another object get the same id."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and other.value is self.value

    __hash__ = None  # type: ignore[assignment]


class _Copy:
    """Equal to another copy of the same numbers; NaN equals NaN."""

    __slots__ = ("value",)

    def __init__(self, value: Tensor) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Copy) or other.value.shape != self.value.shape:
            return False
        a, b = self.value, other.value
        if a.dtype != b.dtype or a.device != b.device:
            return False
        return torch.equal(a, b) or bool(((a == b) | (a.isnan() & b.isnan())).all())

    __hash__ = None  # type: ignore[assignment]


def values_of(tensor: Tensor) -> object:
    """A tensor's elements, however many, for comparison with what they are later."""
    return _Copy(tensor.detach().clone())


def same(now: Any, then: Any) -> bool:
    """Whether two values are one object, or equal and plain, or tuples of such: an export makes tuples anew."""
    if now is then:
        return True
    if type(now) is not type(then):
        return False
    if type(now) is tuple:
        return len(now) == len(then) and all(map(same, now, then))
    return isinstance(now, PLAIN) and bool(now == then)


def contents(value: Any, live: Collection[int]) -> object:
    """What is inside of a value: equal for two looks between which nothing changed.

    Args:
        value: Any value.
        live: Ids of tensors whose elements do not matter, because they are read anew whenever they are needed.
    """
    return _Look(live).at(value)


def contents_and_parts(value: Any, live: Collection[int]) -> tuple[object, list[Any]]:
    """What is inside of a value as `contents` gives it, and all values that were looked into, the value itself the first."""
    look = _Look(live)
    return look.at(value), list(look.seen.values())


class _Look:
    """One look at a value; every object is entered once."""

    def __init__(self, live: Collection[int]) -> None:
        self.live, self.left = live, BUDGET
        self.seen: dict[int, Any] = {}  # values kept alive, lest another one get the same id

    def at(self, value: Any) -> object:
        if isinstance(value, PLAIN):
            return type(value), value
        if id(value) in self.seen or self.left <= 0 or value is sys.modules:  # any import changes these
            return Identity(value)
        self.left -= 1
        self.seen[id(value)] = value
        if isinstance(value, Tensor):
            return self._tensor(value)
        if isinstance(value, list | tuple | deque | array.array | set | frozenset):
            ordered = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
            return type(value), [self.at(item) for item in ordered], self._attributes(value)
        if isinstance(value, bytearray):
            return type(value), bytes(value)
        if isinstance(value, Mapping):
            items = [(self.at(k), self.at(v)) for k, v in value.items()]
            return type(value), items, self._attributes(value)
        if isinstance(value, _CODE):
            return self._code(value)
        if isinstance(value, contextvars.ContextVar):
            return Identity(value), self.at(value.get(None))
        if isinstance(value, nn.Module):  # one that is not registered
            held = {k: v for k, v in vars(value).items() if k not in INTERNAL or k in STATE}
            return Identity(value), type(value), self.at(held)
        if isinstance(value, type | types.ModuleType | types.CodeType | Graph):  # a graph never changes
            return Identity(value)
        return self._object(value)

    def _code(self, value: Any) -> object:
        """What is inside of something that runs code."""
        if isinstance(value, types.FunctionType):
            cells = [_cell(cell) for cell in value.__closure__ or ()]
            return (
                Identity(value),
                Identity(value.__code__),
                self.at(value.__defaults__),
                self.at(value.__kwdefaults__),
                [self.at(c) for c in cells],
                self._attributes(value),
            )
        if isinstance(value, types.MethodType):
            return self.at(value.__func__), self.at(value.__self__)
        if isinstance(value, types.BuiltinMethodType | types.MethodWrapperType):
            return Identity(value), self.at(value.__self__)
        if isinstance(value, property):
            return Identity(value), self.at(value.fget)
        if isinstance(value, functools.partial):
            return type(value), self.at(value.func), self.at(value.args), self.at(value.keywords)
        return Identity(value), self.at(value.__wrapped__)

    def _attributes(self, value: Any) -> object:
        """Those of a function, or of a container of the user's own class."""
        held = getattr(value, "__dict__", None)
        return self.at(held) if held else None

    def _tensor(self, value: Tensor) -> object:
        place = Identity(value), value.data_ptr() if value.layout == torch.strided else 0
        if id(value) in self.live:
            return place
        if value.numel() > SMALL or value.layout != torch.strided:
            return *place, value._version  # no public name for it
        return *place, _Copy(value.detach().clone())

    def _object(self, value: Any) -> object:
        numpy = sys.modules.get(
            "numpy"
        )  # there are values that have every attribute, so that none says what they are
        if numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic)):
            return Identity(value), value.tobytes() if value.nbytes <= 8 * SMALL else None
        held = getattr(value, "__dict__", None)
        slots = [n for kind in type(value).__mro__ for n in getattr(kind, "__slots__", ())]
        inside = {n: getattr(value, n, None) for n in slots if isinstance(n, str)}
        if is_opaque(type(value).__module__):
            return Identity(value)
        return Identity(value), type(value), self.at({**inside, **(held or {})})


#: What `functools.lru_cache` makes of a function.
_CACHED = type(functools.lru_cache(is_opaque))

#: Values that run code, and can be looked into.
_CODE = (
    types.FunctionType,
    types.MethodType,
    types.BuiltinMethodType,
    types.MethodWrapperType,
    property,
    functools.partial,
    _CACHED,
)


def _cell(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


#: Attributes of every module that are not the user's.
INTERNAL = frozenset(vars(nn.Module())) - {"training"}

#: Those of them that hold a module's parameters, buffers, parts and hooks.
STATE = frozenset({"_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks"})


__all__ = ["INTERNAL", "PLAIN", "STATE", "Identity", "contents", "contents_and_parts", "same", "values_of"]
