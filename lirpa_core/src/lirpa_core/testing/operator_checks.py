"""Checks of the linear operators that a relaxation is made of."""

from __future__ import annotations

from typing import NoReturn

import torch
from torch import Tensor

from lirpa_core.bounds.linear_map.base import flatten
from lirpa_core.bounds.linear_op import LinearOp
from lirpa_core.testing.case import Case
from lirpa_core.testing.tolerance import allowance

#: Up to so many outputs an example, `apply_abs` is compared with the matrix itself.
_ALL_ROWS = 64
_ROWS = 4


def check_linear_ops(case: Case) -> None:
    """`apply`, `apply_abs`, `apply_split` and `transpose` of every term are one and the same matrix."""
    if not case.has_lines:
        return
    relaxation = case.relaxation
    sides = (
        [("affine", relaxation.lower)]
        if relaxation.exact
        else [
            ("lower", relaxation.lower),
            ("upper", relaxation.upper),
        ]
    )
    for side, affine in sides:
        for i, term in enumerate(affine.terms):
            if term is not None:
                _check_op(case, term, i, f"term {i} of the {side} function ({type(term).__name__})")


def _check_op(case: Case, op: LinearOp, slot: int, name: str) -> None:
    S_in, S_out, B = case.call.shapes[slot], case.call.shape, case.batch
    generator = case.generator(30 + slot)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=case.inputs[slot].lower.dtype, generator=generator)

    def fail(what: str, **shapes: object) -> NoReturn:
        case.fail("linear operator", f"{name}: {what}", mode="relax", details=shapes)

    def require(a: Tensor, b: Tensor, magnitude: Tensor, what: str) -> None:
        if tuple(a.shape) != tuple(torch.broadcast_shapes(a.shape, b.shape)) or bool(
            ((a - b).abs() > allowance(magnitude, case.terms + out)).any()
        ):
            fail(what, got=a, expected=b)

    out = case.start_outputs[0, 0].numel()
    x = normal(2, B, *S_in)
    y, y_abs = op.apply(x, 2), op.apply_abs(x.abs(), 2)
    if tuple(y.shape) != (2, B, *S_out) or tuple(y_abs.shape) != (2, B, *S_out):
        fail(f"apply and apply_abs of {[2, B, *S_in]} give {list(y.shape)} and {list(y_abs.shape)}")
    if not bool(y.isfinite().all() & y_abs.isfinite().all()):
        fail("apply or apply_abs of finite values is not finite")
    for k in range(2):
        one = op.apply(x[k], 1)
        require(one, y[k], y_abs[k].abs(), "apply with two leading dimensions is not apply of each")
    if bool((y.abs() - y_abs > allowance(y_abs.abs(), case.terms)).any()):
        fail("apply_abs(|x|) is smaller than |apply(x)|")
    for k in range(2):
        require(
            op.apply_abs(x[k].abs(), 1),
            y_abs[k],
            y_abs[k],
            "apply_abs with two leading dimensions is not that of each",
        )
    require(
        op.apply(x[:, :1], 2).expand_as(y),
        op.apply(x[:, :1].expand_as(x), 2),
        op.apply_abs(x[:, :1].abs(), 2).expand_as(y),
        "apply of a shared value (leading one) is not that of the repeated value",
    )
    require(op.apply(x[0] - 3 * x[1], 1), y[0] - 3 * y[1], y_abs[0] + 3 * y_abs[1], "apply is not linear")
    A = normal(_ROWS, B, *S_out)
    pulled = op.transpose(A)
    if tuple(pulled.shape) != (_ROWS, B, *S_in):
        fail(f"transpose of {[_ROWS, B, *S_out]} gives {list(pulled.shape)}, not {[_ROWS, B, *S_in]}")
    if pulled.dtype != A.dtype:
        fail(f"transpose of {A.dtype} gives {pulled.dtype}")
    inner = flatten(A.unsqueeze(1) * y, 3).sum(-1)  # [R, 2, B]
    outer = flatten(pulled.unsqueeze(1) * x, 3).sum(-1)
    magnitude = (A.abs().unsqueeze(1) * y_abs).reshape(_ROWS, 2, B, -1).sum(-1)
    require(
        outer,
        inner,
        magnitude,
        "transpose is not the transpose of apply: <transpose(A), x> differs from <A, apply(x)>",
    )
    shared = op.transpose(A[:, :1])
    if shared.shape[1] not in (1, B):
        fail(f"transpose of shared coefficients {list(A[:, :1].shape)} gives {list(shared.shape)}")
    repeated = op.transpose(A[:, :1].expand_as(A))
    reach = (repeated.abs().amax() if repeated.numel() else repeated.sum()).expand_as(repeated)
    require(
        shared.expand_as(repeated),
        repeated,
        reach,
        "transpose of shared coefficients (batch one) is not that of repeated ones",
    )

    low, high = op.apply_split(-x[0].abs(), x[1].abs(), 1)
    mixed = y_abs[0] + y_abs[1]
    if out <= _ALL_ROWS:
        eye = torch.eye(out, dtype=x.dtype).reshape(out, 1, *S_out).expand(out, B, *S_out)
        W = op.transpose(eye).reshape(out, B, -1)  # [out, B, in]
        a, b = -x[0].abs().reshape(B, -1), x[1].abs().reshape(B, -1)

        def product(M: Tensor, v: Tensor) -> Tensor:
            return torch.einsum("obi,bi->bo", M, v).reshape(B, *S_out)

        require(
            op.apply_abs(b.reshape(B, *S_in), 1),
            product(W.abs(), b),
            y_abs[1],
            "apply_abs is not the matrix of absolute values",
        )
        require(
            low,
            product(W.clamp(min=0), a) + product(W.clamp(max=0), b),
            mixed,
            "the lower part of apply_split is wrong",
        )
        require(
            high,
            product(W.clamp(min=0), b) + product(W.clamp(max=0), a),
            mixed,
            "the upper part of apply_split is wrong",
        )
