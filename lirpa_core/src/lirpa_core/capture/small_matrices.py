"""Determinants, inverses and solutions of small matrices that an input reaches, by sums, products and quotients of their elements.

Matrices that no input reaches stay what they are, and are evaluated.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx import Node

from lirpa_core.capture.inlining import inlined, put_in_place
from lirpa_core.capture.reached import reached_by_inputs

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from lirpa_core.capture.recording import Recorded

aten = torch.ops.aten

#: The largest matrices that are written out: of an inverse and a Cholesky factor, and of a determinant.
_LARGEST, _LARGEST_DETERMINANT = 8, 5


def determinant(A: Tensor) -> Tensor:
    """By Laplace's expansion along the first row, `[*, n, n]` to `[*]`."""
    n = A.shape[-1]
    if n == 1:
        return A[..., 0, 0]
    if n == 2:
        return A[..., 0, 0] * A[..., 1, 1] - A[..., 0, 1] * A[..., 1, 0]
    terms = [(-1) ** j * A[..., 0, j] * determinant(_without(A, 0, j)) for j in range(n)]
    return torch.stack(terms, -1).sum(-1)


def _without(A: Tensor, row: int, column: int) -> Tensor:
    for dim, left_out in ((-2, row), (-1, column)):
        parts = [A.narrow(dim, 0, left_out), A.narrow(dim, left_out + 1, A.shape[dim] - left_out - 1)]
        A = torch.cat([part for part in parts if part.shape[dim]], dim)
    return A


def inverse(A: Tensor) -> Tensor:
    """By cofactors up to 3 × 3; of larger ones by halves, whose leading ones have to be invertible (Schur's complement)."""
    n = A.shape[-1]
    if n == 1:
        return torch.reciprocal(A)
    if n <= 3:
        cofactors = [[(-1) ** (i + j) * determinant(_without(A, j, i)) for j in range(n)] for i in range(n)]
        adjugate = torch.stack([torch.stack(row, -1) for row in cofactors], -2)
        return adjugate * torch.reciprocal(determinant(A))[..., None, None]
    m = n // 2
    a, b, c, d = A[..., :m, :m], A[..., :m, m:], A[..., m:, :m], A[..., m:, m:]
    left = inverse(a)
    rest = inverse(d - c @ left @ b)
    upper = -(left @ b @ rest)
    lower = -(rest @ c @ left)
    return torch.cat([torch.cat([left - upper @ c @ left, upper], -1), torch.cat([lower, rest], -1)], -2)


def _solution(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    vectors = B.dim() == 1 or (B.dim() == A.dim() - 1 and B.shape == A.shape[:-1])
    if not vectors:
        return inverse(A) @ B if left else B @ inverse(A)
    column = B.unsqueeze(-1)
    return ((inverse(A) if left else inverse(A).mT) @ column).squeeze(-1)


def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """The lower triangle, column by column, of the lower triangle of `A`; with `upper` both are upper ones."""
    A = A.mT if upper else A
    n = A.shape[-1]
    zero = torch.zeros_like(A[..., 0, 0])
    L = [[zero] * n for _ in range(n)]
    for j in range(n):
        rest = A[..., j, j]
        for k in range(j):
            rest = rest - torch.square(L[j][k])
        L[j][j] = torch.sqrt(rest)
        scale = torch.reciprocal(L[j][j])
        for i in range(j + 1, n):
            rest = A[..., i, j]
            for k in range(j):
                rest = rest - L[i][k] * L[j][k]
            L[i][j] = rest * scale
    found = torch.stack([torch.stack(row, -1) for row in L], -2)
    return found.mT if upper else found


def triangular_inverse(A: Tensor, *, upper: bool, unitriangular: bool = False) -> Tensor:
    """Of one triangle of `A`, column by column, by substitution."""
    A = A.mT if upper else A
    n = A.shape[-1]
    zero, one = torch.zeros_like(A[..., 0, 0]), torch.ones_like(A[..., 0, 0])
    scale = [one if unitriangular else torch.reciprocal(A[..., i, i]) for i in range(n)]
    X = [[zero] * n for _ in range(n)]
    for j in range(n):
        X[j][j] = scale[j]
        for i in range(j + 1, n):
            rest = A[..., i, j] * X[j][j]
            for k in range(j + 1, i):
                rest = rest + A[..., i, k] * X[k][j]
            X[i][j] = -(rest * scale[i])
    found = torch.stack([torch.stack(row, -1) for row in X], -2)
    return found.mT if upper else found


def _triangular_solution(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    inverted = triangular_inverse(A, upper=upper, unitriangular=unitriangular)
    return inverted @ B if left else B @ inverted


def _solution_by_factor(factor: Tensor, B: Tensor, upper: bool = False) -> Tensor:
    """`(L Lᵀ)⁻¹ B`, from the lower triangle of a Cholesky factor; from the upper one of `U` with `Uᵀ U`."""
    inverted = triangular_inverse(factor, upper=upper)
    return inverted @ (inverted.mT @ B) if upper else inverted.mT @ (inverted @ B)


def power(A: Tensor, n: int) -> Tensor:
    """Powers of the inverse, by squaring."""
    base = inverse(A)
    found: Tensor | None = None
    left = -n
    while left:
        if left % 2:
            found = base if found is None else found @ base
        left //= 2
        base = base @ base if left else base
    assert found is not None
    return found


def _sign_and_logarithm(A: Tensor) -> list[Tensor]:
    det = determinant(A)
    return [torch.sign(det), torch.log(torch.abs(det))]


_DETERMINANT: Callable[..., Any] = lambda A: [determinant(A)]  # noqa: E731
_INVERSE: Callable[..., Any] = lambda A: [inverse(A)]  # noqa: E731

#: Of which only the negative ones need more than products.
_POWERS = (aten.linalg_matrix_power.default, aten.matrix_power.default)

#: By operator: how large its matrices may be, what it is, and which of its arguments is the matrix.
_WRITTEN: Mapping[Any, tuple[int, Callable[..., Any], int]] = {
    aten.linalg_det.default: (_LARGEST_DETERMINANT, _DETERMINANT, 0),
    aten.det.default: (_LARGEST_DETERMINANT, _DETERMINANT, 0),
    aten.logdet.default: (_LARGEST_DETERMINANT, lambda A: [torch.log(determinant(A))], 0),
    aten.linalg_slogdet.default: (_LARGEST_DETERMINANT, _sign_and_logarithm, 0),
    aten.slogdet.default: (_LARGEST_DETERMINANT, _sign_and_logarithm, 0),
    aten._linalg_det.default: (_LARGEST_DETERMINANT, _DETERMINANT, 0),
    aten._linalg_slogdet.default: (_LARGEST_DETERMINANT, _sign_and_logarithm, 0),
    aten.linalg_inv.default: (_LARGEST, _INVERSE, 0),
    aten.inverse.default: (_LARGEST, _INVERSE, 0),
    aten.linalg_solve.default: (_LARGEST, lambda A, B, **given: [_solution(A, B, **given)], 0),
    aten.linalg_solve_triangular.default: (
        _LARGEST, lambda A, B, **given: [_triangular_solution(A, B, **given)], 0,
    ),
    aten.cholesky_solve.default: (
        _LARGEST, lambda B, factor, upper=False: [_solution_by_factor(factor, B, upper)], 1,
    ),
    **{op: (_LARGEST, lambda A, n: [power(A, n)], 0) for op in _POWERS},
    aten.linalg_cholesky.default: (_LARGEST, lambda A, **given: [cholesky(A, **given)], 0),
}  # fmt: skip


def write_out_matrices(program: ExportedProgram | Recorded) -> None:
    """Write out, in place, what is computed from small matrices that an input reaches."""
    nodes = [node for node in program.graph.nodes if node.target in _WRITTEN]
    reached = reached_by_inputs(program) if nodes else set()
    for node in nodes:
        largest, function, which = _WRITTEN[node.target]
        matrix = node.args[which]
        if matrix in reached:
            shape = matrix.meta["val"].shape
            if shape[-1] == shape[-2] <= largest:
                reached.update(_write(program, node, function))


def _write(program: ExportedProgram | Recorded, node: Node, function: Callable[..., Any]) -> list[Node]:
    given = [a for a in node.args if isinstance(a, Node)]
    count = 2 if function is _sign_and_logarithm else 1
    if any(u.target is operator.getitem and u.args[1] >= count and u.users for u in node.users):  # type: ignore[operator]
        return []  # a factor, which is another matter
    kwargs = dict(node.kwargs)
    if node.target in _POWERS and node.args[1] >= 0:  # type: ignore[operator]
        return []  # products alone

    def called(*tensors: Tensor) -> Any:
        left = iter(tensors)
        return function(*[next(left) if isinstance(a, Node) else a for a in node.args], **kwargs)

    found = inlined(called, given, node)
    if isinstance(node.meta["val"], Tensor):
        put_in_place(program, node, found[0])
    for user in list(node.users):
        if user.target is operator.getitem:
            if user.users:
                put_in_place(program, user, found[user.args[1]])  # type: ignore[index]
            node.graph.erase_node(user)
    node.graph.erase_node(node)
    return found
