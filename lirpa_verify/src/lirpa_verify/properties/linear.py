"""Linear inequalities over outputs and inputs, in exact numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from lirpa_verify.errors import PropertyError

#: Positions in a flattened tensor with their coefficients.
Terms: TypeAlias = tuple[tuple[int, Fraction], ...]


@dataclass(frozen=True)
class Inequality:
    """`Σ a·output + Σ b·input + constant ≥ 0`, or `> 0` where it is strict.

    Attributes:
        outputs: The terms over the flattened output.
        inputs: The terms over the flattened inputs, one after the other.
        constant: The constant.
        strict: Whether equality does not satisfy it.
    """

    outputs: Terms
    inputs: Terms = ()
    constant: Fraction = Fraction(0)
    strict: bool = False

    def value(self, outputs: Sequence[Fraction], inputs: Sequence[Fraction]) -> Fraction:
        """The left side at a point, exactly."""
        total = self.constant
        for terms, values in ((self.outputs, outputs), (self.inputs, inputs)):
            total += sum((a * values[i] for i, a in terms), Fraction(0))
        return total

    def holds(self, outputs: Sequence[Fraction], inputs: Sequence[Fraction]) -> bool:
        """Whether a point satisfies it, exactly."""
        value = self.value(outputs, inputs)
        return value > 0 if self.strict else value >= 0


#: Inequalities that hold together.
Conjunction: TypeAlias = tuple[Inequality, ...]


def terms(pairs: Iterable[tuple[int, Fraction]]) -> Terms:
    """Terms with equal positions added up, sorted, without zeros.

    >>> from fractions import Fraction
    >>> terms([(2, Fraction(1)), (0, Fraction(3)), (2, Fraction(-1))])
    ((0, Fraction(3, 1)),)
    """
    found: dict[int, Fraction] = {}
    for i, a in pairs:
        found[i] = found[i] + a if i in found else a
    return tuple(sorted((i, a) for i, a in found.items() if a))


def check_positions(positions: Iterable[int], size: int, what: str) -> None:
    """Refuse positions that a flattened tensor of `size` elements does not have.

    Raises:
        PropertyError: Naming the position and what there is.
    """
    for i in positions:
        if not 0 <= i < size:
            raise PropertyError(
                f"the property mentions {what} {i}, but the network has {size} (numbered from 0 to "
                f"{size - 1}); use the property with the network that it was written for"
            )
