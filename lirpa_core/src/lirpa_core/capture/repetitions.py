"""Common subexpressions: what a model computes twice from the same is one node, so that bounds know that it is the same.

The classical optimisation (Cocke, *Global common subexpression elimination*, SIGPLAN Notices 5(7), 1970), here for tightness:
`f(x) − 0.9 f(x)` is bounded as `0.1 f(x)` only if both are one node.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from torch import Tensor

from lirpa_core.graph import Node, NodeKind, Ref
from lirpa_core.rules.leaf_modules import LeafModule
from lirpa_core.rules.precision import is_narrower

aten = torch.ops.aten

#: Operators of two operands that may change places; a sum only without a factor.
_COMMUTATIVE = frozenset(
    {
        aten.add.Tensor,
        aten.mul.Tensor,
        aten.maximum.default,
        aten.minimum.default,
        aten.logical_or.default,
        aten.logical_and.default,
    }
)

#: Operators that return what was in memory before.
_UNDEFINED = ("empty", "new_empty", "empty_like", "empty_strided")


def identity(node: Node, constants: Mapping[str, Tensor]) -> Hashable | None:
    """What two nodes have in common if they compute the same; None for a node that is like no other one.

    A tensor that forward() reads from elsewhere is lifted out of the code once for each time that it is read.

    In a type in which each operator rounds by itself two nodes are two, because kernels may sum up in another order each time.

    Args:
        node: The node; what it reads has been merged already.
        constants: Tensors that capture lifted out of the code, by path.
    """
    if node.kind is NodeKind.CONSTANT and node.path in constants:
        tensor = constants[node.path]
        place = tensor.data_ptr() if tensor.layout == torch.strided else 0
        return (place, tensor.shape, tensor.stride(), tensor.dtype, tensor.device) if place else None
    if node.kind is not NodeKind.OPERATOR or is_narrower(node.dtype, torch.float32):
        return None
    target: Any = node.target
    if isinstance(target, LeafModule):
        static = _frozen(tuple(sorted(target.static.items())))
        whole: Hashable = (target.key, id(target.module), static)
    elif isinstance(target, torch._ops.OpOverload):  # no public name for the type exists
        if torch.Tag.nondeterministic_seeded in target.tags or target._schema.is_mutable:
            return None
        if target._opname in _UNDEFINED:
            return None
        whole = target
    else:
        return None
    values = [(a.name, _frozen(a.value)) for a in node.arguments]
    if (
        target in _COMMUTATIVE
        and isinstance(node.arguments[0].value, Ref)
        and isinstance(node.arguments[1].value, Ref)
    ):
        first, second = sorted([values[0][1], values[1][1]], key=str)
        values[:2] = [("", first), ("", second)]
        if dict(values[2:]).get("alpha", (int, "1")) != (int, "1"):
            return None
    found = (whole, tuple(values), node.output, node.shape, node.dtype)
    try:
        hash(found)
    except TypeError:
        return None
    return found


def _frozen(value: Any) -> Hashable:
    """A value with its type: `1`, `1.0` and `True` are equal in Python, and so are `0.0` and `-0.0`."""
    if isinstance(value, tuple):
        return tuple([_frozen(v) for v in value])
    if isinstance(value, Ref):
        return value
    return (type(value), repr(value) if isinstance(value, int | float | complex) else value)
