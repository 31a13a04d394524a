"""Checks of the linear operators that a relaxation is made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

import torch
from torch import Tensor

from lirpa_core.linear.coefficients import flatten
from lirpa_core.linear.operators import LinearOp
from lirpa_testing.rules.case import Case
from lirpa_testing.tolerance import allowance

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
                trial = _Trial(case, term, i, f"term {i} of the {side} function ({type(term).__name__})")
                for check in (_shapes, _leading, _shared_value, _linear, _transpose, _shared_rows, _signs):
                    check(trial)


@dataclass(frozen=True, eq=False)
class _Trial:
    """One linear operator, with random values to try it on."""

    case: Case
    op: LinearOp
    slot: int
    name: str

    @cached_property
    def x(self) -> Tensor:
        """Values, `[2, B, *S_in]`."""
        return self.normal(30, 2, self.case.batch, *self.case.call.shapes[self.slot])

    @cached_property
    def y(self) -> Tensor:
        """Their images, `[2, B, *S_out]`."""
        return self.op.apply(self.x, 2)

    @cached_property
    def y_abs(self) -> Tensor:
        """Images of the absolute values by the matrix of absolute values, `[2, B, *S_out]`."""
        return self.op.apply_abs(self.x.abs(), 2)

    @cached_property
    def size(self) -> Tensor:
        """The size of the numbers that `apply` adds up for them, which rounding is relative to: `[2, B, *S_out]`.

        Larger than `y_abs` where parts of the operator cancel.
        """
        return self.op.magnitude(self.x.abs(), 2).abs()

    @cached_property
    def rows(self) -> Tensor:
        """Coefficients, `[R, B, *S_out]`."""
        return self.normal(31, _ROWS, self.case.batch, *self.case.call.shape)

    @cached_property
    def transposed(self) -> Tensor:
        """The same before the operator, `[R, B, *S_in]`."""
        return self.op.transpose(self.rows)

    @property
    def outputs(self) -> int:
        return self.case.start_outputs[0, 0].numel()

    def normal(self, salt: int, *shape: int) -> Tensor:
        generator = self.case.generator(salt + 10 * self.slot)
        return torch.randn(shape, dtype=self.case.inputs[self.slot].lower.dtype, generator=generator)

    def fail(self, what: str, **details: object) -> NoReturn:
        self.case.fail("linear operator", f"{self.name}: {what}", mode="relax", details=details)

    def require(self, a: Tensor, b: Tensor, magnitude: Tensor, what: str) -> None:
        """`a` is `b`, but for rounding of numbers as large as `magnitude`."""
        allowed = allowance(magnitude, self.case.terms + self.outputs)
        if tuple(a.shape) != tuple(torch.broadcast_shapes(a.shape, b.shape)) or bool(
            ((a - b).abs() > allowed).any()
        ):
            self.fail(what, got=a, expected=b)


def _shapes(t: _Trial) -> None:
    wanted = (2, t.case.batch, *t.case.call.shape)
    if tuple(t.y.shape) != wanted or tuple(t.y_abs.shape) != wanted:
        given = [2, t.case.batch, *t.case.call.shapes[t.slot]]
        t.fail(f"apply and apply_abs of {given} give {list(t.y.shape)} and {list(t.y_abs.shape)}")
    if not bool(t.y.isfinite().all() & t.y_abs.isfinite().all()):
        t.fail("apply or apply_abs of finite values is not finite")


def _leading(t: _Trial) -> None:
    for k in range(2):
        t.require(
            t.op.apply(t.x[k], 1),
            t.y[k],
            t.size[k],
            "apply with two leading dimensions is not apply of each",
        )
        t.require(
            t.op.apply_abs(t.x[k].abs(), 1),
            t.y_abs[k],
            t.size[k],
            "apply_abs with two leading dimensions is not that of each",
        )


def _shared_value(t: _Trial) -> None:
    first = t.x[:, :1]
    t.require(
        t.op.apply(first, 2).expand_as(t.y),
        t.op.apply(first.expand_as(t.x), 2),
        t.op.magnitude(first.abs(), 2).abs().expand_as(t.y),
        "apply of a shared value (leading one) is not that of the repeated value",
    )


def _linear(t: _Trial) -> None:
    if bool((t.y.abs() - t.y_abs > allowance(t.size, t.case.terms)).any()):
        t.fail("apply_abs(|x|) is smaller than |apply(x)|")
    mixed = t.op.apply(t.x[0] - 3 * t.x[1], 1)
    t.require(mixed, t.y[0] - 3 * t.y[1], t.size[0] + 3 * t.size[1], "apply is not linear")


def _transpose(t: _Trial) -> None:
    B, S_in = t.case.batch, t.case.call.shapes[t.slot]
    if tuple(t.transposed.shape) != (_ROWS, B, *S_in):
        t.fail(f"transpose of {list(t.rows.shape)} gives {list(t.transposed.shape)}, not {[_ROWS, B, *S_in]}")
    if t.transposed.dtype != t.rows.dtype:
        t.fail(f"transpose of {t.rows.dtype} gives {t.transposed.dtype}")
    t.require(
        flatten(t.transposed.unsqueeze(1) * t.x, 3).sum(-1),
        flatten(t.rows.unsqueeze(1) * t.y, 3).sum(-1),  # [R, 2, B]
        (t.rows.abs().unsqueeze(1) * t.size).reshape(_ROWS, 2, B, -1).sum(-1),
        "transpose is not the transpose of apply: <transpose(A), x> differs from <A, apply(x)>",
    )


def _shared_rows(t: _Trial) -> None:
    first = t.rows[:, :1]
    shared = t.op.transpose(first)
    if shared.shape[1] not in (1, t.case.batch):
        t.fail(f"transpose of shared coefficients {list(first.shape)} gives {list(shared.shape)}")
    repeated = t.op.transpose(first.expand_as(t.rows))
    reach = (repeated.abs().amax() if repeated.numel() else repeated.sum()).expand_as(repeated)
    t.require(
        shared.expand_as(repeated),
        repeated,
        reach,
        "transpose of shared coefficients (batch one) is not that of repeated ones",
    )


def _signs(t: _Trial) -> None:
    """`apply_abs` and `apply_split`, against the matrix itself."""
    low, high = t.op.apply_split(-t.x[0].abs(), t.x[1].abs(), 1)
    if t.outputs > _ALL_ROWS:
        return
    B, S_out = t.case.batch, t.case.call.shape
    eye = torch.eye(t.outputs, dtype=t.x.dtype).reshape(t.outputs, 1, *S_out).expand(t.outputs, B, *S_out)
    W = t.op.transpose(eye).reshape(t.outputs, B, -1)  # [out, B, in]
    a, b = -t.x[0].abs().reshape(B, -1), t.x[1].abs().reshape(B, -1)

    def product(M: Tensor, v: Tensor) -> Tensor:
        return torch.einsum("obi,bi->bo", M, v).reshape(B, *S_out)

    positive, negative, mixed = W.clamp(min=0), W.clamp(max=0), t.size[0] + t.size[1]
    t.require(t.y_abs[1], product(W.abs(), b), t.size[1], "apply_abs is not the matrix of absolute values")
    below, above = product(positive, a) + product(negative, b), product(positive, b) + product(negative, a)
    t.require(low, below, mixed, "the lower part of apply_split is wrong")
    t.require(high, above, mixed, "the upper part of apply_split is wrong")
