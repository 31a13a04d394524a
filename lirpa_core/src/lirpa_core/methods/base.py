"""What a method is: how inner nodes get their intervals, and how rows over a node are bounded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from lirpa_core.errors import OptionError
from lirpa_core.linear.affine import AffineForm
from lirpa_core.linear.coefficients import Coefficients
from lirpa_core.linear.interval import Interval
from lirpa_core.methods.forward_traversal import AffineBounds
from lirpa_core.methods.slope_search import SlopeSearch
from lirpa_core.problem.problem import Problem
from lirpa_core.problem.relaxations import Relaxations


@dataclass(frozen=True)
class Choice:
    """What a method that chooses between others has chosen.

    Attributes:
        method: Name of the chosen method.
        reason: Why, in one sentence.
    """

    method: str
    reason: str


@dataclass(frozen=True, eq=False)
class IntermediateBounds:
    """Bounds of the inner nodes, from which the output's follow.

    Attributes:
        intervals: By node name, `[B, *S]`.
        affine: Affine bounds of the wanted nodes, where the method carries such forward.
        relaxations: Relaxations on these very intervals, where the method has made some.
        recorded: Whether gradients were recorded then; relaxations without them are of no use where they are wanted.
    """

    intervals: Mapping[str, Interval]
    affine: Mapping[str, AffineBounds] = field(default_factory=dict)
    relaxations: Relaxations | None = None
    recorded: bool = False


@dataclass(frozen=True, eq=False)
class RowBounds:
    """Bounds of specification rows over one node.

    Attributes:
        lower: `[R, B]`, None where not asked for.
        upper: `[R, B]`, None where not asked for.
        lower_form: Linear lower bounds, where the method has them and they were asked for.
        upper_form: Linear upper bounds, negated: `−upper ≥ upper_form`.
        choice: What was chosen, by a method that chooses between others.
    """

    lower: Tensor | None
    upper: Tensor | None
    lower_form: AffineForm | None = None
    upper_form: AffineForm | None = None
    choice: Choice | None = None


class Method(ABC):
    """One way to bound a graph: a frozen object with options of its own.

    A method is registered through the hook `lirpa_register_methods`, or given as it is:
    `compute_bounds(method=AlphaCROWN(steps=50))`.

    Attributes:
        name: The name by which it is found.
        aliases: Other names, those of the literature and of auto_LiRPA.
        summary: One line for tables.
        gives_linear_bounds: Whether `bound_rows` can return linear bounds.
        optimises_slopes: Whether the method searches for slopes, and so takes a `SlopeSearch`.
        takes_time_budget: Whether it can be told how long it may take.
    """

    name: str
    aliases: tuple[str, ...] = ()
    summary: str = ""
    gives_linear_bounds: bool = True
    optimises_slopes: bool = False
    takes_time_budget: bool = False

    @abstractmethod
    def intermediate_bounds(
        self,
        problem: Problem,
        wanted: Collection[str] = (),
        given: Mapping[str, Interval] | None = None,
        memory_budget: int | None = None,
    ) -> IntermediateBounds:
        """Intervals of the inner nodes.

        Args:
            problem: The problem.
            wanted: Nodes whose bounds will be asked for, besides those that relaxations need.
            given: Sound intervals to intersect with, by node name.
            memory_budget: Bytes that coefficients may take; None: what fits.
        """

    @abstractmethod
    def bound_rows(
        self,
        problem: Problem,
        node: str,
        inner: IntermediateBounds,
        rows: Coefficients | None = None,
        *,
        lower: bool = True,
        upper: bool = True,
        linear_bounds: bool = False,
        memory_budget: int | None = None,
    ) -> RowBounds:
        """Bounds of rows over a node, given the intervals of the nodes before it.

        Args:
            problem: The problem.
            node: The node.
            inner: From `intermediate_bounds`; the node itself was among the wanted ones.
            rows: `R` specification rows, `[R, B or 1, *S]`; None: every element of the node.
            lower: Whether lower bounds are wanted.
            upper: Whether upper bounds are wanted.
            linear_bounds: Whether the linear bounds are wanted too.
            memory_budget: Bytes that coefficients may take.
        """

    def with_slope_search(self, search: SlopeSearch) -> Method:
        """The method with these settings of the optimiser; itself where it optimises nothing."""
        return self

    def with_time_budget(self, seconds: float) -> Method:
        """The method that takes so many seconds at most.

        Raises:
            OptionError: The method takes the time that it takes, or the number is not positive.
        """
        raise OptionError(
            f"time_budget={seconds!r}: method {self.name!r} takes the time that it takes. method='auto' chooses a method "
            "by what it may take."
        )

    def __str__(self) -> str:
        return self.name
