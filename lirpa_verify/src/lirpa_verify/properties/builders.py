"""The properties that people ask for most, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import SupportsFloat, SupportsInt

from lirpa_verify.errors import PropertyError
from lirpa_verify.properties.box import exact
from lirpa_verify.properties.linear import Inequality, check_positions, terms
from lirpa_verify.properties.property import Property

_ONE = Fraction(1)


def _larger(i: int, j: int) -> Inequality:
    """Output `i` is at least output `j`."""
    return Inequality(terms([(i, _ONE), (j, -_ONE)]))


@dataclass(frozen=True)
class Robust:
    """The output of one class stays above all others, see `robust`."""

    label: int

    def property_for(self, outputs: int) -> Property:
        """The property for so many classes; a tie counts as a violation."""
        check_positions([self.label], outputs, "class")
        return Property(tuple((_larger(i, self.label),) for i in range(outputs) if i != self.label))


@dataclass(frozen=True)
class Targeted:
    """One class does not reach another, see `targeted`."""

    label: int
    target: int

    def property_for(self, outputs: int) -> Property:
        """The property for so many classes; a tie counts as a violation."""
        check_positions([self.label, self.target], outputs, "class")
        return Property(((_larger(self.target, self.label),),))


@dataclass(frozen=True)
class OutputInBox:
    """Every output stays inside its limits, see `output_in_box`."""

    lower: tuple[Fraction, ...] | None
    upper: tuple[Fraction, ...] | None

    def property_for(self, outputs: int) -> Property:
        """The property for so many outputs; the limits themselves are allowed."""
        violations = []
        for limits, sign in ((self.lower, -1), (self.upper, 1)):
            if limits is None:
                continue
            if len(limits) not in {1, outputs}:
                raise PropertyError(
                    f"output_in_box: {len(limits)} limits for {outputs} outputs; give one, or one an output"
                )
            for i in range(outputs):
                limit = limits[i if len(limits) > 1 else 0]
                violations.append((Inequality(((i, _ONE * sign),), (), -sign * limit, strict=True),))
        return Property(tuple(violations))


@dataclass(frozen=True)
class Monotone:
    """The outputs are ordered, see `monotone`."""

    order: tuple[int, ...]

    def property_for(self, outputs: int) -> Property:
        """The property for so many outputs."""
        check_positions(self.order, outputs, "output")
        pairs = zip(self.order, self.order[1:], strict=False)
        violations = (Inequality(terms([(low, _ONE), (high, -_ONE)]), strict=True) for low, high in pairs)
        return Property(tuple((v,) for v in violations))


def robust(label: SupportsInt) -> Robust:
    """The class `label` keeps the largest output; a tie counts as a violation.

    Args:
        label: The class, counted from zero; a number or a tensor with one element.
    """
    return Robust(int(label))


def targeted(label: SupportsInt, target: SupportsInt) -> Targeted:
    """The output of class `target` stays below that of class `label`.

    Args:
        label: The right class.
        target: The class that must not win against it.

    Raises:
        PropertyError: If both are the same.
    """
    if int(label) == int(target):
        raise PropertyError(f"targeted: label and target are both {int(label)}; give two classes")
    return Targeted(int(label), int(target))


def output_in_box(
    lower: Sequence[SupportsFloat] | SupportsFloat | None = None,
    upper: Sequence[SupportsFloat] | SupportsFloat | None = None,
) -> OutputInBox:
    """Every output stays between its limits, the limits included.

    Args:
        lower: One limit for all outputs, or one an output; None: no limit.
        upper: Likewise.

    Raises:
        PropertyError: If neither is given.
    """
    if lower is None and upper is None:
        raise PropertyError("output_in_box: give lower, upper, or both")
    return OutputInBox(_limits(lower), _limits(upper))


def monotone(order: Sequence[int]) -> Monotone:
    """The outputs come in a stated order: `monotone([2, 0, 1])` means y₂ ≤ y₀ ≤ y₁ all over the set.

    Args:
        order: Positions of outputs, the smallest first.

    Raises:
        PropertyError: If there are fewer than two, or one twice.
    """
    if len(order) < 2 or len(set(order)) != len(order):
        raise PropertyError(f"monotone: expected two or more different outputs, got {list(order)}")
    return Monotone(tuple(order))


def _limits(value: Sequence[SupportsFloat] | SupportsFloat | None) -> tuple[Fraction, ...] | None:
    if value is None:
        return None
    values = value if isinstance(value, Sequence) else [value]
    return tuple(exact(v) for v in values)
