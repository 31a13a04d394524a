"""From any way to name an operator to the one overload that is meant."""

from __future__ import annotations

from types import FunctionType
from typing import Any, TypeAlias, TypeGuard

import torch

# The types of what torch.export's graphs hold and what custom_op returns: no public alias exists.
from torch._library.custom_ops import CustomOpDef
from torch._ops import OpOverload, OpOverloadPacket

from lirpa_core.errors import PluginError

#: One overload of an ATen or custom operator, such as `torch.ops.aten.relu.default`.
Operator: TypeAlias = "OpOverload[..., Any]"

#: What may name an operator: an overload, a packet with one overload, a `torch.library.custom_op`, or
#: a string such as `"aten.relu.default"` or `"mylib::op"`.
OperatorLike: TypeAlias = "OpOverload[..., Any] | OpOverloadPacket[..., Any] | CustomOpDef | str"


def is_operator_like(value: object) -> TypeGuard[OperatorLike]:
    """Whether a value may name an operator, by its type."""
    return isinstance(value, (OpOverload, OpOverloadPacket, CustomOpDef, str))


def resolve_operator(op: OperatorLike) -> Operator:
    """The overload that `op` names.

    Raises:
        PluginError: `op` names no loaded operator, or leaves open which overload is meant.
    """
    if isinstance(op, OpOverload):
        return op
    if isinstance(op, OpOverloadPacket):
        return _only_overload(op)
    if isinstance(op, CustomOpDef):
        return op._opoverload  # torch offers no public way from a custom_op to its overload
    if isinstance(op, str):
        return _by_name(op)
    raise PluginError(
        f"expected an operator (an OpOverload such as torch.ops.aten.relu.default, a torch.library.custom_op "
        f'or a name such as "aten.relu.default"), got {op!r} of type {type(op).__name__}'
    )


def key_label(key: object) -> str:
    """How a key (operator, type, name, or a pair of them) is written in messages and sorted."""
    if isinstance(key, tuple):
        return " for ".join(key_label(part) for part in key)
    if isinstance(key, type | FunctionType):
        return f"{key.__module__}.{key.__qualname__}" if isinstance(key, FunctionType) else key.__qualname__
    return str(key)


def _only_overload(packet: OpOverloadPacket[..., Any]) -> Operator:
    overloads = [getattr(packet, name) for name in _overload_names(packet)]
    usable: list[Operator] = [o for o in overloads if _maps_tensors(o)]
    if len(usable) == 1:
        return usable[0]
    if not usable:
        raise PluginError(f"{packet} has no overload that takes tensors and returns its result")
    choices = ", ".join(str(o) for o in usable)
    raise PluginError(f"{packet} has {len(usable)} overloads; name the one you mean: {choices}")


def _maps_tensors(op: Operator) -> bool:
    """Whether a graph can hold it: not an `out=` variant, not one of those on plain numbers."""
    takes_tensors = any("Tensor" in str(argument.type) for argument in op._schema.arguments)
    return takes_tensors and not op._schema.is_mutable


def _by_name(name: str) -> Operator:
    parts = name.replace("::", ".").split(".")
    if not 2 <= len(parts) <= 3 or not all(part.isidentifier() for part in parts):
        raise PluginError(
            f'"{name}" is not the name of an operator; write "namespace.name", "namespace.name.overload" '
            f'or "namespace::name", for example "aten.relu.default"'
        )
    packet: Any = getattr(getattr(torch.ops, parts[0], None), parts[1], None)
    if not isinstance(packet, OpOverloadPacket):
        raise PluginError(
            f'no operator "{name}" is loaded; check the spelling, or import the module that defines it '
            f"before it is registered"
        )
    if len(parts) == 2:
        return _only_overload(packet)
    names = _overload_names(packet)
    if parts[2] not in names:
        raise PluginError(f'{packet} has no overload "{parts[2]}"; it has: {", ".join(names)}')
    overload: Operator = getattr(packet, parts[2])
    return overload


def _overload_names(packet: Any) -> list[str]:
    names: list[str] = packet.overloads()
    return names
