"""Numbers that stand in the code of a model, as its kernels take them: rounded to the type that an operator computes in.

`torch.remainder(x, 0.1)` of float32 divides by the number of float32 that is nearest to a tenth, and so do the bounds: a
quotient of a million falls into another step otherwise. In the types of 16 bits kernels differ, some round a number to
the type and some to float32; what that may matter for is left to the rules (`rules.evaluated`).
"""

from __future__ import annotations

import ctypes
import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

#: Kinds of arguments that are rounded; those that are declared as `float` enter in other ways, such as a scale of pixels.
_ROUNDED = frozenset({"number", "Optional[number]", "Tensor", "Optional[Tensor]"})

#: Arguments that are, although they are declared as `float`.
_ROUNDED_BY_NAME = frozenset({("pad", "value"), ("derivative", "parameters")})


def as_taken(node: Node, name: str, value: Any) -> Any:
    """An argument of an operator, with its numbers as the kernel takes them.

    Args:
        node: The operator.
        name: The argument's.
        value: Its value.
    """
    if isinstance(value, tuple):
        return tuple([as_taken(node, name, v) for v in value])
    if type(value) not in (int, float) or not math.isfinite(value):
        return value
    if name not in _names(node.target) or computed_in(node) is not torch.float32:
        return value
    rounded = ctypes.c_float(value).value
    return value if rounded == value else rounded


def computed_in(node: Node) -> torch.dtype | None:
    """The floating type that an operator computes in; None where that is none.

    Args:
        node: The operator.
    """
    given = node.meta.get("val")
    tensors = [given, *[x.meta.get("val") for x in node.all_input_nodes]]
    return next((x.dtype for x in tensors if isinstance(x, Tensor) and x.is_floating_point()), None)


@lru_cache(maxsize=1024)
def _names(target: Any) -> frozenset[str]:
    """The arguments of an operator whose numbers are rounded."""
    schema = getattr(target, "_schema", None)
    if schema is None:
        return frozenset()
    operator = schema.name.partition("::")[2]
    return frozenset(
        [
            a.name
            for a in schema.arguments
            if str(a.type) in _ROUNDED or (operator, a.name) in _ROUNDED_BY_NAME
        ]
    )
