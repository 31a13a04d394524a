"""What must never happen, as a disjunction of conjunctions of linear inequalities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from lirpa_verify.errors import PropertyError
from lirpa_verify.properties.linear import Conjunction, check_positions


class Specification(Protocol):
    """Whatever states a property once the number of outputs is known."""

    def property_for(self, outputs: int) -> Property:
        """The property for a network with so many outputs.

        Raises:
            PropertyError: If it does not fit them.
        """


@dataclass(frozen=True)
class Property:
    """A network has the property if no input of the set leads into one of the violations.

    Attributes:
        violations: Each a conjunction of inequalities over the flattened outputs and inputs; the
            property is violated where all inequalities of one of them hold.

    Raises:
        PropertyError: If there is no violation, or one without inequalities.

    >>> from fractions import Fraction
    >>> from lirpa_verify.properties.linear import Inequality
    >>> low = Inequality(outputs=((0, Fraction(-1)),))
    >>> Property(violations=((low,),)).property_for(1).violations[0][0].constant
    Fraction(0, 1)
    """

    violations: tuple[Conjunction, ...]

    def __post_init__(self) -> None:
        if not self.violations or not all(self.violations):
            raise PropertyError(
                "a property needs at least one violation, and each violation at least one inequality; a "
                "file without a condition on outputs says that nothing at all is allowed to happen"
            )

    def property_for(self, outputs: int) -> Property:
        """This property, if its outputs exist.

        Raises:
            PropertyError: If it mentions an output that there is not.
        """
        for conjunction in self.violations:
            for inequality in conjunction:
                check_positions((i for i, _ in inequality.outputs), outputs, "output")
        return self

    def check_inputs(self, inputs: int) -> None:
        """Refuse inputs that do not exist.

        Raises:
            PropertyError: If it mentions an input that there is not.
        """
        for conjunction in self.violations:
            for inequality in conjunction:
                check_positions((i for i, _ in inequality.inputs), inputs, "input")

    @property
    def has_inputs(self) -> bool:
        """Whether any inequality is over inputs too."""
        return any(inequality.inputs for c in self.violations for inequality in c)
