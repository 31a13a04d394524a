"""Methods composed of two: one bounds the inner nodes, another one the output."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from lirpa_core.linear.coefficients import Coefficients
from lirpa_core.linear.interval import Interval
from lirpa_core.methods.base import IntermediateBounds, Method, RowBounds
from lirpa_core.methods.crown import CROWN
from lirpa_core.methods.forward import Forward
from lirpa_core.methods.ibp import IBP
from lirpa_core.methods.slope_search import SlopeSearch
from lirpa_core.problem.problem import Problem


@dataclass(frozen=True)
class Hybrid(Method):
    """One method for the inner nodes, another one for rows over the output.

    Attributes:
        inner: Bounds the inner nodes.
        outer: Bounds rows over the output.
    """

    name: str
    inner: Method
    outer: Method
    aliases: tuple[str, ...] = ()
    summary: str = ""

    @property
    def gives_linear_bounds(self) -> bool:  # type: ignore[override]
        """Whether the outer method can return linear bounds."""
        return self.outer.gives_linear_bounds

    @property
    def optimises_slopes(self) -> bool:  # type: ignore[override]
        """Whether one of the two searches for slopes."""
        return self.inner.optimises_slopes or self.outer.optimises_slopes

    def intermediate_bounds(
        self,
        problem: Problem,
        wanted: Collection[str] = (),
        given: Mapping[str, Interval] | None = None,
        memory_budget: int | None = None,
    ) -> IntermediateBounds:
        return self.inner.intermediate_bounds(problem, wanted, given, memory_budget)

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
        return self.outer.bound_rows(
            problem, node, inner, rows,
            lower=lower, upper=upper, linear_bounds=linear_bounds, memory_budget=memory_budget,
        )  # fmt: skip

    def with_slope_search(self, search: SlopeSearch) -> Method:
        return Hybrid(
            self.name, self.inner.with_slope_search(search), self.outer.with_slope_search(search), self.aliases,
            self.summary,
        )  # fmt: skip


def crown_ibp() -> Hybrid:
    """CROWN-IBP (Zhang et al. 2020): intervals for the inner nodes, then one backward pass from the output."""
    return Hybrid("CROWN-IBP", IBP(), CROWN(), ("IBP+backward",), "intermediate IBP, final backward pass")


def crown_forward() -> Hybrid:
    """Forward bounds for the inner nodes, then one backward pass from the output."""
    return Hybrid(
        "CROWN-forward",
        Forward(keep_affine=False),
        CROWN(),
        ("forward+backward",),
        "intermediate forward, final backward",
    )
