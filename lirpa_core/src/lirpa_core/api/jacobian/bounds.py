"""Bounds of a Jacobian, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor

from lirpa_core.api.jacobian.continuity import refuse_jumps
from lirpa_core.api.jacobian.norms import lower_norm, upper_norm
from lirpa_core.api.results import BoundsResult
from lirpa_core.problem.problem import Problem


@dataclass(frozen=True, eq=False)
class JacobianBounds:
    """Bounds of the Jacobian of a model over a set; unpacks as `lower, upper`.

    They hold for the derivative at every point of the set's convex hull. Where an activation has a kink, or elements of a pooling
    window tie, they hold for both one-sided derivatives and all between them, so for every element of Clarke's generalised
    Jacobian, whichever autograd returns; except where an operand rests at its kink all over the set, which has autograd's choice.

    Attributes:
        lower: Smallest elements `[B, O, I]`, outputs and inputs flattened.
        upper: Largest elements.
        result: The bounds as `compute_bounds` returned them, for `explain()` say.
    """

    lower: Tensor
    upper: Tensor
    result: BoundsResult = field(repr=False)
    _problem: Problem = field(repr=False)

    def norm(self, norm: float = 2) -> tuple[Tensor, Tensor]:
        """Bounds of the operator norm of the Jacobian, each `[B]`.

        Args:
            norm: 1: the largest sum of absolute values of a column; infinity: of a row; 2: the largest singular value.

        Raises:
            OptionError: For another norm.
        """
        return lower_norm(self.lower, self.upper, norm), upper_norm(self.lower, self.upper, norm)

    def lipschitz(self, norm: float = 2) -> Tensor:
        """An upper bound `[B]` of the local Lipschitz constant: `‖f(x) − f(y)‖ ≤ L ‖x − y‖` for all points of the set.

        The mean value inequality along the line between the points; where the function has kinks, by the chain rule for
        functions of the kind of Bolte & Pauwels 2021 (*Conservative set valued fields*, sec. 3). Both norms are this one.

        Args:
            norm: 1, 2 or infinity.

        Raises:
            UnsupportedOperatorError: If the model may jump: then there is no such constant.
            OptionError: For another norm.
        """
        refuse_jumps(self._problem)
        return upper_norm(self.lower, self.upper, norm)

    def __iter__(self) -> Iterator[Tensor]:
        return iter((self.lower, self.upper))
