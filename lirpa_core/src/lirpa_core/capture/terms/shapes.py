"""Views, conversions and constants, read as terms."""

from __future__ import annotations

import torch

from lirpa_core.capture.terms.reader import Call, name_of
from lirpa_core.capture.terms.term import Term


def identity(call: Call) -> Term:
    """What an operator returns unchanged."""
    return call.term(0, "self")


def viewed(call: Call) -> Term | None:
    """The same numbers in another shape."""
    operand = call.get(0, "self")
    of, to = call.reader.shape(operand), call.reader.shape(call.node)
    if of is None or to is None:
        return None
    return call.reader.reshaped(call.reader.term(operand), of, to)


def expanded(call: Call) -> Term | None:
    """What is repeated, as broadcasting does by itself."""
    operand = call.get(0, "self")
    of, to = call.reader.shape(operand), call.reader.shape(call.node)
    if of is None or to is None:
        return None
    term = call.reader.term(operand)
    if of == to:
        return term
    if term.op == "expand":
        of, (term,) = term.attributes[0], term.operands
    return call.reader.terms.make("expand", (term,), (of, to))


def converted(call: Call) -> Term | None:
    """A conversion that keeps the type, or makes numbers of true and false."""
    operand = call.get(0, "self")
    if not isinstance(operand, torch.fx.Node) or call.reader.shape(operand) is None:
        return None
    of, to = operand.meta["val"].dtype, call.node.meta["val"].dtype
    return call.reader.term(operand) if of in (to, torch.bool) or is_of_a_mask(operand) else None


def is_of_a_mask(node: torch.fx.Node) -> bool:
    """Whether a node is a mask as numbers, which are the same in every type."""
    while name_of(node) in ("to", "_to_copy", "type_as", "float", "double"):
        operand = node.args[0]
        if not isinstance(operand, torch.fx.Node):
            return False
        if operand.meta["val"].dtype == torch.bool:
            return True
        node = operand
    return False


def filled(call: Call, value: float) -> Term:
    """A constant of any shape, which is a number."""
    return call.reader.terms.number(value)


def full(call: Call) -> Term | None:
    """A constant of any shape, with the number that is given."""
    value = call.get(1, "fill_value")
    return call.reader.terms.number(value) if isinstance(value, int | float) else None
