"""Eigenvalues of symmetric matrices, singular values and exponentials of matrices that a perturbation reaches: ranges, no planes.

With `A = M + E` and `|E| ≤ R`, element by element: eigenvalues in ascending order move by at most `‖E‖₂` (Weyl), singular
values likewise, and `‖E‖₂ ≤ √(‖R‖₁ ‖R‖∞)` and `≤ ‖R‖_F`. With the diagonal of `M` and the absolute values of its other elements,
`N`, `|exp(tM)| ≤ exp(tN)`, and by Duhamel's formula `|exp(M + E) − exp(M)| ≤ exp(N + R) − exp(N)`. LAPACK's values of `M` are those
of a matrix that is off by a few units of roundoff of its norm (Golub and Van Loan, *Matrix Computations*, 4th ed., sec. 8.3, 8.6),
PyTorch's exponential likewise (Bader, Blanes and Casas 2019), before it is squared as often as the norm's logarithm says.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.linear.rounding import Accuracy
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.call import Call
from lirpa_core.rules.general import General

aten = torch.ops.aten

#: Units of roundoff of a decomposition, relative to the norm and for every row.
_UNITS = 64


def _spectral_norm(R: Tensor) -> Tensor:
    """An upper bound of that of every matrix that is no larger, element by element, `[B, *]`."""
    unit, scaled = _normalized(R)
    columns, rows = scaled.sum(-2).amax(-1), scaled.sum(-1).amax(-1)
    return unit * torch.minimum(_root(columns * rows), _root(scaled.square().sum((-2, -1))))


def _root(x: Tensor) -> Tensor:
    """The square root, whose slope at zero is infinite, and is zero here: a norm has a kink there."""
    return torch.where(x > 0, torch.where(x > 0, x, 1).sqrt(), 0)


def _normalized(A: Tensor) -> tuple[Tensor, Tensor]:
    """The largest absolute value, `[B, *]`, and the matrix over it: squares of tiny or huge elements are no numbers."""
    largest = A.detach().abs().amax((-2, -1))
    unit = torch.where(largest > 0, largest, 1)
    return unit, A / unit[..., None, None]


def _unit(A: Tensor) -> float:
    return _UNITS * max(A.shape[-2:]) * torch.finfo(A.dtype).eps


def _symmetric(call: Call, x: Interval) -> tuple[Tensor, Tensor]:
    """Midpoint and radius of the matrix that one triangle stands for."""
    upper = call.arguments.get("UPLO", "L") == "U"
    found = []
    for A in (x.lower, x.upper):
        triangle = A.triu() if upper else A.tril()
        found.append(triangle + (A.triu(1) if upper else A.tril(-1)).mT)
    return found[0] / 2 + found[1] / 2, found[1] / 2 - found[0] / 2


def _moved(values: Tensor, M: Tensor, R: Tensor) -> Interval:
    unit, scaled = _normalized(M)
    size = unit * _root(scaled.square().sum((-2, -1)))
    off = (_spectral_norm(R) * (1 + _unit(M)) + _unit(M) * size).unsqueeze(-1)
    return Interval(values - off, values + off)


def _eigenvalues(call: Call, inputs: tuple[Interval, ...]) -> Interval:
    M, R = _symmetric(call, inputs[0])
    return _moved(torch.linalg.eigvalsh(M), M, R)


def _singular_values(call: Call, inputs: tuple[Interval, ...]) -> Interval:
    (x,) = inputs
    M, R = x.lower / 2 + x.upper / 2, x.upper / 2 - x.lower / 2
    found = _moved(torch.linalg.svdvals(M), M, R)
    return Interval(found.lower.clamp(min=0), found.upper)


def _exponential(call: Call, inputs: tuple[Interval, ...]) -> Interval:
    (x,) = inputs
    M, R = x.lower / 2 + x.upper / 2, x.upper / 2 - x.lower / 2
    diagonal = torch.diag_embed(M.diagonal(dim1=-2, dim2=-1))
    N = (M - diagonal).abs() + diagonal
    moved = torch.linalg.matrix_exp(N + R)
    norm = moved.abs().sum(-1).amax(-1)[..., None, None]
    rounding = 4 * _unit(M) * (1 + (M.abs() + R).sum(-1).amax(-1)[..., None, None]) * norm
    off = (moved - torch.linalg.matrix_exp(N)).clamp(min=0) + rounding
    middle = torch.linalg.matrix_exp(M)
    return Interval(middle - off, middle + off)


def _rule(name: str, bound: Callable[[Call, tuple[Interval, ...]], Interval]) -> General:
    def affine(call: Call, inputs: tuple[Interval, ...]) -> Relaxation:
        box = bound(call, inputs)
        return Relaxation(Affine((None,), box.lower), Affine((None,), box.upper))

    def refuse(call: Call) -> str | None:
        return "its elements may be infinite" if call.infinite else None

    return General(
        (name,), bound, affine, refuse=refuse, precision=lambda call: Accuracy(16, "ends", unit=True)
    )


def register(registry: OperatorRegistry) -> None:
    """Register this file's rules."""
    registry.register(aten.linalg_eigvalsh.default, _rule("self", _eigenvalues))
    registry.register(aten.linalg_svdvals.default, _rule("A", _singular_values))
    for op in (aten.linalg_matrix_exp.default, aten.matrix_exp.default):
        registry.register(op, _rule("self", _exponential))
