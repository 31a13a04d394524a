"""The proof by example that what takes the place of a part of a program computes the same."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from lirpa_core.capture.numbers import as_taken

#: Factors of the random numbers that are tried: around the kinks, in the middle, and where functions saturate.
_SCALES = (1.0, 0.05, 6.0)

#: How far results may be apart, relative to the largest.
_TOLERANCE = 1e-9


def region(root: Node, inputs: Collection[Node]) -> list[Node]:
    """The nodes that a root is made of, itself included, down to what is given."""
    found: dict[Node, None] = {}
    todo = [root]
    while todo:
        node = todo.pop()
        if node not in found and node not in inputs:
            found[node] = None
            todo += node.all_input_nodes
    return list(found)


def evaluate(root: Node, values: Mapping[Node, Any]) -> Any:
    """What a node computes, from what other nodes do, in float64.

    Args:
        root: The node.
        values: Values of nodes; what is not reached from the root without them is not looked at.

    Raises:
        KeyError: If it reads a node that has no value and calls nothing.
    """
    known: dict[Node, Any] = dict(values)
    todo = [root]
    while todo:
        node = todo[-1]
        missing = [n for n in node.all_input_nodes if n not in known]
        if node in known or not missing:
            todo.pop()
            if node not in known:
                known[node] = _run(node, known)
        else:
            todo += missing
    return known[root]


def _run(node: Node, known: Mapping[Node, Any]) -> Any:
    if node.op != "call_function":
        raise KeyError(node)
    args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), lambda n: known[n])
    wide = [torch.float64 if value is torch.float32 else value for value in args]
    named = {name: torch.float64 if value is torch.float32 else value for name, value in kwargs.items()}
    function: Any = node.target
    if (
        function is torch.ops.aten.pow.Scalar
    ):  # a base that is rounded matters the more, the larger the exponent is
        wide[0] = as_taken(node, "self", wide[0])
    return function(*wide, **named)


def agree(
    before: Node,
    after: Node,
    inputs: Sequence[Node],
    same: Mapping[Node, tuple[Node, float]],
    numbers: Mapping[Node, float],
) -> bool:
    """Whether two nodes compute the same from random values of what both are made of.

    Where the one before is not finite the model itself is not, and nothing is compared; but not everywhere.

    Args:
        before: The one.
        after: The other one.
        inputs: What the other one reads.
        same: Nodes that compute a number times what one of the inputs does: that one, and the number.
        numbers: Values of nodes that are constants.
    """
    generator = torch.Generator().manual_seed(0)
    for scale in _SCALES:
        drawn = {node: _draw(node.meta["val"], scale, generator) for node in inputs}
        constants = {node: torch.tensor(value, dtype=torch.float64) for node, value in numbers.items()}
        values = {
            **constants,
            **drawn,
            **{n: drawn[source] * k if k != 1 else drawn[source] for n, (source, k) in same.items()},
        }
        try:
            with torch.no_grad():
                want, got = evaluate(before, values), evaluate(after, drawn)
        except (RuntimeError, TypeError):  # a kernel that takes no conditions, say
            return False
        if not isinstance(got, Tensor) or got.shape != want.shape or got.dtype != want.dtype:
            return False
        finite = want.isfinite()
        if want.numel() and not bool(finite.any()):
            return False
        want, got = want[finite], got[finite]
        size = 1 + float(want.abs().max()) if want.numel() else 1.0
        if not bool(((got - want).abs() <= _TOLERANCE * size).all()):
            return False
    return True


def _draw(like: Tensor, scale: float, generator: torch.Generator) -> Tensor:
    if like.dtype == torch.bool:
        return torch.rand(tuple(like.shape), generator=generator) < 0.4
    if not like.is_floating_point():
        return torch.randint(0, 2, tuple(like.shape), generator=generator).to(like.dtype)
    return scale * torch.randn(tuple(like.shape), generator=generator, dtype=torch.float64)
