"""Forward linear bounds: every node between two affine functions of the inputs (Xu et al. 2020, sec. 3.2)."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.linear.affine import AffineForm
from lirpa_core.linear.coefficients import Coefficients, DenseCoefficients
from lirpa_core.linear.coefficients.base import bilinear_sum, flatten
from lirpa_core.linear.infinite import split_dot
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.rounding import gamma
from lirpa_core.methods.base import IntermediateBounds, Method, RowBounds
from lirpa_core.methods.forward_traversal import AffineBounds, forward
from lirpa_core.methods.rows import every_element, rows_of_interval, rows_over_interval, tighter
from lirpa_core.problem.problem import Problem


@dataclass(frozen=True)
class Forward(Method):
    """Carries affine functions of the inputs forward, and bounds rows by them.

    Attributes:
        keep_affine: Whether the affine bounds of the wanted nodes are kept, which bounding rows by them needs.
    """

    keep_affine: bool = True

    name = "forward"
    summary = "affine functions of the input, carried forwards"

    def intermediate_bounds(
        self,
        problem: Problem,
        wanted: Collection[str] = (),
        given: Mapping[str, Interval] | None = None,
        memory_budget: int | None = None,
    ) -> IntermediateBounds:
        return IntermediateBounds(*forward(problem, given, wanted if self.keep_affine else ()))

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
        interval = inner.intervals[node]
        if rows is None and not linear_bounds:  # the interval is the form's, where that is tighter
            simple = rows_of_interval(interval, problem.batch)
            return RowBounds(simple.lower if lower else None, simple.upper if upper else None)
        rows = every_element(problem, node) if rows is None else rows
        C = flatten(rows.to_dense(), 2)  # [R, B or 1, n]
        affine, infinite = inner.affine[node], problem.may_be_infinite(node)
        error = _error(problem, node, affine, C) if problem.outward else None
        low = _combined(C, affine, rows, infinite, error) if lower else None
        up = _combined(-C, affine, rows, infinite, error) if upper else None
        found = RowBounds(
            None if low is None else problem.minimum(low),
            None if up is None else -problem.minimum(up),
            low,
            up,
        )
        return tighter(found, rows_over_interval(problem, node, rows, interval))


def _error(problem: Problem, node: str, affine: AffineBounds, C: Tensor) -> Tensor:
    """What rounding may make of rows of a node's affine functions, `[R, B]`, without gradient."""
    with torch.no_grad():
        sizes: list[Tensor] = []
        hulls = problem.hulls()
        for form in (affine.lower, affine.upper):
            total = torch.where(form.bias.isfinite(), form.bias.abs(), 0)  # [n, B]
            for name, A in form.coefficients.items():
                total = total + A.dual_norm(1, hulls[name].size)
            sizes.append(total)
        largest = torch.maximum(*sizes).T  # [B, n]
        factor = gamma(2 * math.prod(problem.shape(node)) + 16, problem.dtype_of(node))
        return factor * bilinear_sum(C.abs(), largest)


def _combined(
    C: Tensor, affine: AffineBounds, rows: Coefficients, infinite: bool, error: Tensor | None
) -> AffineForm:
    """`C⁺ · lower + C⁻ · upper` as a form over the inputs, for `C` `[R, B or 1, n]`."""
    positive, negative = torch.relu(C), C.clamp(max=0)
    coefficients: dict[str, Coefficients] = {}
    for side, form in ((positive, affine.lower), (negative, affine.upper)):
        for name, A in form.coefficients.items():
            dense = A.to_dense()  # [n, B or 1, *S]
            batch = max(side.shape[1], dense.shape[1])
            flat = flatten(dense, 2).expand(-1, batch, -1)  # [n, B, m]
            part = torch.einsum("rbn,nbm->rbm", side.expand(-1, batch, -1), flat)
            part = part.reshape(*part.shape[:2], *A.shape)
            known = coefficients.get(name)
            coefficients[name] = DenseCoefficients(part if known is None else known.to_dense() + part)
    low, up = affine.lower.bias, affine.upper.bias  # [n, B]
    shaped = DenseCoefficients(C.reshape(*C.shape[:2], *rows.shape))
    low, up = (b.T.reshape(b.shape[1], *rows.shape) for b in (low, up))
    bias = split_dot(shaped, Interval(low, up), infinite)
    return AffineForm(coefficients, bias if error is None else bias - error)
