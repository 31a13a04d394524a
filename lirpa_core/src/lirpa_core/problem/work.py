"""How much work a row of coefficients is on its way to the inputs, by what the rules say of their sums."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from lirpa_core.graph import Shape
from lirpa_core.linear.rounding import Accuracy
from lirpa_core.rules.call import Call


@dataclass(frozen=True)
class Work:
    """What one row over a node meets on its way to the inputs, of one example.

    Attributes:
        operators: Operators.
        products: Products of two numbers.
        elements: Elements of the operators' outputs.
        widest: Elements of the largest of these outputs.
    """

    operators: int = 0
    products: float = 0.0
    elements: int = 0
    widest: int = 1


def work_of(
    calls: Mapping[str, Call], affine: Collection[str], accuracy: Mapping[str, Accuracy]
) -> dict[str, Work]:
    """The work of a row over each operator's output.

    All operators before a node count, whether a way leads there or not: that is exact for chains, and takes one pass.

    Args:
        calls: The perturbed operators, in topological order.
        affine: Those that are affine in their perturbed operands.
        accuracy: How many terms are summed for one number, by operator.
    """
    found: dict[str, Work] = {}
    sum_ = Work()
    for name, call in calls.items():
        size = math.prod(call.shape)
        products = _of_operator(call, accuracy[name]) if name in affine else _of_relaxation(call)
        sum_ = Work(
            sum_.operators + 1, sum_.products + products, sum_.elements + size, max(sum_.widest, size)
        )
        found[name] = sum_
    return found


def _of_operator(call: Call, accuracy: Accuracy) -> float:
    """Products of an affine operator: what its rule sums for each element, where it is not one element by one."""
    constants = [c.value.shape[1:] if c.batched else c.value.shape for c in call.constants]
    size = math.prod(call.shape)
    return float(size if _broadcast((*call.shapes, *constants), call.shape) else size * accuracy.terms)


def _of_relaxation(call: Call) -> float:
    """Products with the lines or planes of a nonlinear operator.

    Of two operands that do not broadcast to the output, such as two matrices, each of the `a · b · c` products of an
    `a × b` by a `b × c` matrix is found as the root of the sizes' product.
    """
    size, operands = math.prod(call.shape), [math.prod(shape) for shape in call.shapes]
    if len(operands) == 2 and not _broadcast(call.shapes, call.shape):
        return 2.0 * math.sqrt(float(operands[0]) * operands[1] * size)
    return 2.0 * sum([*operands, size])


def _broadcast(shapes: Sequence[Shape], to: Shape) -> bool:
    """Whether tensors of these shapes go element by element into one of the other shape."""
    depth = len(to)
    aligned = [(1,) * (depth - len(shape)) + tuple(shape) for shape in shapes]
    return all(
        [
            len(shape) == depth and all([a in (1, b) for a, b in zip(shape, to, strict=True)])
            for shape in aligned
        ]
    )
