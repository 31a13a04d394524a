"""From the parser's expressions to inequalities with exact coefficients.

The package can make linear expressions itself, but with floats; a limit such as 0.1 would no longer be
the number in the file. So the few kinds of expressions are folded here, from the text of the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, TypeAlias

from lirpa_verify.errors import PropertyError
from lirpa_verify.properties.linear import Inequality, terms

#: Where a variable's elements begin among the flattened inputs or outputs, by its name.
Offsets: TypeAlias = Mapping[str, int]


@dataclass(frozen=True)
class Affine:
    """`Σ a·v + constant`, by name of the side ("Input" or "Output") and position."""

    terms: Mapping[tuple[str, int], Fraction]
    constant: Fraction

    def plus(self, other: Affine) -> Affine:
        """The sum of both."""
        total = dict(self.terms)
        for key, a in other.terms.items():
            total[key] = total[key] + a if key in total else a
        return Affine(total, self.constant + other.constant)

    def negated(self) -> Affine:
        """This times minus one."""
        return Affine({key: -a for key, a in self.terms.items()}, -self.constant)

    def minus(self, other: Affine) -> Affine:
        """The difference of both."""
        return self.plus(other.negated())

    def times(self, factor: Fraction) -> Affine:
        """This times a number."""
        return Affine({key: factor * a for key, a in self.terms.items()}, factor * self.constant)


_ZERO: Final = Affine({}, Fraction(0))
_UNITS: Final = {1: Fraction(1), -1: Fraction(-1)}


def affine(expression: Any, offsets: Offsets) -> Affine:
    """An arithmetic expression of the parser as an affine function.

    Raises:
        PropertyError: If it is not affine; the message has the expression.
    """
    kind = type(expression).__name__
    if kind not in _FOLDS:
        raise PropertyError(f"VNN-LIB: expressions such as {expression} ({kind}) are not supported")
    return _FOLDS[kind](expression, offsets)


def _number(expression: Any, _: Offsets) -> Affine:
    return Affine({}, Fraction(expression.lexeme))


def _variable(expression: Any, offsets: Offsets) -> Affine:
    return Affine({_element(expression, offsets): Fraction(1)}, Fraction(0))


def _element(expression: Any, offsets: Offsets) -> tuple[str, int]:
    """The side and the position of a variable's element."""
    side = expression.kind.name
    if side not in {"Input", "Output"}:
        raise PropertyError(
            f"VNN-LIB: {expression} is a {side.lower()} node; only inputs and outputs can be used"
        )
    position = 0
    for index, size in zip(expression.indices, expression.shape, strict=True):
        position = position * size + index
    return side, offsets[expression.name] + position


def _sum(expression: Any, offsets: Offsets) -> Affine:
    total = _ZERO
    for argument in expression.args:
        total = total.plus(affine(argument, offsets))
    return total


def _difference(expression: Any, offsets: Offsets) -> Affine:
    total = affine(expression.head, offsets)
    for argument in expression.rest:
        total = total.minus(affine(argument, offsets))
    return total


def _product(expression: Any, offsets: Offsets) -> Affine:
    factors = [affine(argument, offsets) for argument in expression.args]
    varying = [f for f in factors if f.terms]
    if len(varying) > 1:
        raise PropertyError(
            f"VNN-LIB: {expression} multiplies variables; only linear conditions are supported"
        )
    constant = math.prod((f.constant for f in factors if not f.terms), start=Fraction(1))
    return varying[0].times(constant) if varying else Affine({}, constant)


_FOLDS: Final[Mapping[str, Callable[[Any, Offsets], Affine]]] = {
    "Float": _number,
    "Int": _number,
    "IntExpr": _number,
    "Literal": _number,
    "Var": _variable,
    "Negate": lambda e, offsets: affine(e.expr, offsets).negated(),
    "Plus": _sum,
    "Minus": _difference,
    "Multiply": _product,
}

#: By kind of comparison: alternatives, each some pairs of the sign of `left − right` and strictness.
_COMPARISONS: Final[Mapping[str, tuple[tuple[tuple[int, bool], ...], ...]]] = {
    "GreaterEqual": (((1, False),),),
    "GreaterThan": (((1, True),),),
    "LessEqual": (((-1, False),),),
    "LessThan": (((-1, True),),),
    "Equal": (((1, False), (-1, False)),),
    "NotEqual": (((1, True),), ((-1, True),)),
}


def alternatives(comparison: Any, offsets: Offsets) -> list[list[Inequality]]:
    """A comparison as a disjunction of conjunctions of inequalities.

    Raises:
        PropertyError: If a side is not affine.
    """
    signs = _COMPARISONS[type(comparison).__name__]
    left, right = (_FOLDS.get(type(side).__name__) for side in (comparison.lhs, comparison.rhs))
    if (
        left is _variable and right is _number
    ):  # thousands of a file's comparisons are, and the rest adds up dictionaries
        element, limit = _element(comparison.lhs, offsets), Fraction(comparison.rhs.lexeme)
        return [[_limit(element, limit, sign, strict) for sign, strict in choice] for choice in signs]
    difference = affine(comparison.lhs, offsets).minus(affine(comparison.rhs, offsets))
    return [[_inequality(difference, sign, strict) for sign, strict in choice] for choice in signs]


def _limit(element: tuple[str, int], limit: Fraction, sign: int, strict: bool) -> Inequality:
    """`sign · (variable − limit) ≥ 0`."""
    (side, position), constant = element, -limit if sign > 0 else limit
    only = ((position, _UNITS[sign]),)
    return (
        Inequality(only, (), constant, strict) if side == "Output" else Inequality((), only, constant, strict)
    )


def _inequality(difference: Affine, sign: int, strict: bool) -> Inequality:
    signed = difference if sign > 0 else difference.negated()

    def side(name: str) -> tuple[tuple[int, Fraction], ...]:
        return terms((i, a) for (of, i), a in signed.terms.items() if of == name)

    return Inequality(side("Output"), side("Input"), signed.constant, strict)
