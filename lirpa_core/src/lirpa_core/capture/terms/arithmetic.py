"""Arithmetic, functions of one variable, and choices, read as terms."""

from __future__ import annotations

import math

import torch
from torch.fx import Node

from lirpa_core.capture.numbers import as_taken, computed_in
from lirpa_core.capture.terms.algebra import as_product, product, scaled, total
from lirpa_core.capture.terms.reader import Call, name_of
from lirpa_core.capture.terms.term import Counted, Symbol, Term

# ---------------------------------------------------------------------- arithmetic


def added(call: Call, sign: float = 1.0) -> Term | None:
    """A sum, or with the sign a difference, of two."""
    if not call.real:
        return None
    alpha = sign * float(call.get(2, "alpha", 1))
    return call.elementwise(("self", "other"), lambda x, y: _sum(call, x, 1.0, y, alpha))


def _sum(call: Call, x: Term, a: float, y: Term, b: float) -> Term:
    return total(call.reader.terms, {x: a + b} if x is y else {x: a, y: b})


def rsub(call: Call) -> Term | None:
    """A difference the other way round."""
    if not call.real:
        return None
    alpha = call.get(2, "alpha", 1)
    return call.elementwise(("self", "other"), lambda x, y: _sum(call, x, -float(alpha), y, 1.0))


def multiplied(call: Call, power: float = 1.0) -> Term | None:
    """A product, or with the power a quotient, of two."""
    if not call.real:
        return None
    if call.node.kwargs.get("rounding_mode") is not None or len(call.node.args) > 2:
        return None

    def build(x: Term, y: Term) -> Term:
        return _mean_of_sum(call, product(call.reader.terms, {x: 1 + power} if x is y else {x: 1, y: power}))

    return call.elementwise(("self", "other"), build)


def _mean_of_sum(call: Call, term: Term) -> Term:
    """A sum divided by the number of its terms is their mean."""
    factors, number = as_product(call.reader.terms, term)
    if isinstance(number, Symbol) or list(factors.values()) != [1.0]:
        return term
    (base,) = factors
    if base.op != "add_up" or not isinstance(base.attributes, Counted):
        return term
    n = base.attributes.count
    if n is None or abs(number * n - 1) > 4e-16 * n:
        return term
    return call.reader.terms.make("mean", base.operands, base.attributes.dims)


def raised(call: Call) -> Term | None:
    """A power whose exponent, or whose base, is a number."""
    exponent = call.get(1, "exponent")
    base = call.get(0, "self")
    if isinstance(base, int | float) and not isinstance(exponent, int | float):
        if not base > 0:
            return None
        rate = _rate(call.node, base)
        return call.elementwise(
            ("self", "exponent"),
            lambda _, x: call.reader.terms.make("exp", (scaled(call.reader.terms, x, rate),)),
        )
    return raised_to(call, float(exponent)) if isinstance(exponent, int | float) else None


def _rate(node: Node, base: float) -> float:
    """The number whose exponential is a base.

    The base `math.e` of a program is the number that its type has next to e, which is smaller than e; in a pattern, that is
    in no type, it is e. The powers differ by as many units of roundoff as the exponent is large, so they are two functions.
    """
    taken = as_taken(node, "self", base)
    rate = math.log(taken)
    if taken != math.e:
        return rate
    return 1.0 if computed_in(node) is None else math.nextafter(1.0, 0.0)


def raised_to(call: Call, exponent: float) -> Term | None:
    """A given power."""
    if not call.real:
        return None
    return call.elementwise(("self",), lambda x: product(call.reader.terms, {x: exponent}))


def negative(call: Call) -> Term | None:
    """What is multiplied with minus one."""
    return call.elementwise(("self",), lambda x: scaled(call.reader.terms, x, -1.0))


# ---------------------------------------------------------------------- functions of one variable


def function(call: Call) -> Term | None:
    """A function of one variable, by its name."""
    if len(call.node.args) != 1 or any(call.node.kwargs.values()):  # no `inplace`, no parameters
        return None
    name = name_of(call.node)
    return call.elementwise(("self",), lambda x: call.reader.terms.make(name, (x,)))


def shifted(
    call: Call, name: str, inner: tuple[float, float] = (1, 0), outer: tuple[float, float] = (1, 0)
) -> Term | None:
    """`a·f(b·x + c) + d`."""
    terms = call.reader.terms

    def build(x: Term) -> Term:
        argument = total(terms, {x: inner[0]}, inner[1])
        return total(terms, {terms.make(name, (argument,)): outer[0]}, outer[1])

    return call.elementwise(("self",), build)


def gelu(call: Call) -> Term | None:
    """GELU, of its two kinds."""
    kind = call.get(1, "approximate", "none")
    return call.elementwise(("self",), lambda x: call.reader.terms.make("gelu", (x,), kind))


def maximum(call: Call, name: str, other: str = "other") -> Term | None:
    """The maximum of two; with zero, ReLU."""
    terms = call.reader.terms

    def build(x: Term, y: Term) -> Term:
        if name == "maximum" and y.op == "number" and y.attributes == 0:
            return terms.make("relu", (x,))
        if name == "maximum" and x.op == "number" and x.attributes == 0:
            return terms.make("relu", (y,))
        return terms.make(name, (x, y))

    return call.elementwise(("self", other), build)


def clamp(call: Call) -> Term | None:
    """What is cut off below; other limits are taken as they stand."""
    low, high = call.get(1, "min"), call.get(2, "max")
    if low is None or high is not None or not isinstance(low, int | float | torch.fx.Node):
        return None
    return maximum(call, "maximum", "min")


# ---------------------------------------------------------------------- choices


def compared(call: Call, name: str, sign: float) -> Term | None:
    """`x > y` as a difference that is positive."""
    terms = call.reader.terms
    return call.elementwise(
        ("self", "other"), lambda x, y: terms.make(name, (_sum(call, x, sign, y, -sign),))
    )


def chosen(call: Call) -> Term | None:
    """A choice by a condition, which is never the opposite of another one."""
    if len(call.node.args) != 3:
        return None

    def build(condition: Term, x: Term, y: Term) -> Term:
        if condition.op == "logical_not":
            condition, x, y = condition.operands[0], y, x
        return call.reader.terms.make("where", (condition, x, y))

    return call.elementwise(("condition", "self", "other"), build)


def masked_fill(call: Call) -> Term | None:
    """A choice between a number and what is there."""
    terms = call.reader.terms
    return call.elementwise(("self", "mask", "value"), lambda x, mask, y: terms.make("where", (mask, y, x)))


def opposite(call: Call) -> Term | None:
    """The opposite of a condition."""
    value = call.get(0, "self")
    given = value.meta.get("val") if isinstance(value, torch.fx.Node) else None
    if isinstance(given, torch.Tensor) and given.dtype != torch.bool:
        return None
    return call.elementwise(("self",), lambda x: call.reader.terms.make("logical_not", (x,)))
