"""Small honest rules that the kit must pass; the wrong ones derive from these."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.errors import DomainError
from lirpa_core.graph import Shape
from lirpa_core.linear.coefficients import Coefficients
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import Diagonal, LinearOp
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.perturbations.base import Perturbation
from lirpa_core.rules.base import Rule
from lirpa_core.rules.call import Call, Operand

aten = torch.ops.aten


def relu_call() -> Call:
    return Call.of(aten.relu.default, Operand((1, 3)))


def tanh_call() -> Call:
    return Call.of(aten.tanh.default, Operand((2,)))


def neg_call() -> Call:
    return Call.of(aten.neg.default, Operand((3,)))


def linear_call() -> Call:
    generator = torch.Generator().manual_seed(0)
    weight, bias = (
        torch.randn(2, 3, dtype=torch.float64, generator=generator),
        torch.tensor([1.0, -2.0]).double(),
    )
    return Call.of(aten.linear.default, Operand((1, 3)), weight, bias)


def pad_call() -> Call:
    return Call.of(aten.constant_pad_nd.default, Operand((1, 3)), [1, 2])


def mul_call() -> Call:
    return Call.of(aten.mul.Tensor, Operand((2, 2)), Operand((2, 2)))


class Base(Rule):
    def unstable_inputs(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Tensor | None, ...]:
        return tuple(None if x is None else torch.ones_like(x.lower, dtype=torch.bool) for x in inputs)


class Relu(Base):
    family = "unary"

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        (x,) = inputs
        return Interval(x.lower.clamp(min=0), x.upper.clamp(min=0))

    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        (x,) = inputs
        low, up, bias = self.lines(x.lower, x.upper)
        shape = call.shapes[0]
        return Relaxation(Affine((Diagonal(low, shape),)), Affine((Diagonal(up, shape),), bias))

    def lines(self, l: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mixed = (l < 0) & (u > 0)
        active = (l >= 0).to(l)
        one = torch.ones_like(l)
        scale = torch.where(mixed, u.maximum(-l), one)  # denormal widths have no accurate quotient
        chord = (u / scale) / torch.where(mixed, u / scale - l / scale, one)
        up = torch.where(mixed, chord, active)
        low = torch.where(mixed, (u > -l).to(l), active)
        return low, up, torch.where(mixed, -chord * l, torch.zeros_like(l))

    def unstable_inputs(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Tensor | None, ...]:
        return ((inputs[0].lower < 0) & (inputs[0].upper > 0),)


class Tanh(Base):
    """Parallel lines with the smaller of the two slopes at the ends: loose but sound everywhere."""

    family = "unary"

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        return Interval(inputs[0].lower.tanh(), inputs[0].upper.tanh())

    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        l, u = inputs[0].lower, inputs[0].upper
        k = (1 - l.tanh() ** 2).minimum(1 - u.tanh() ** 2)
        d = Diagonal(k, call.shapes[0])
        return Relaxation(Affine((d,), l.tanh() - k * l), Affine((d,), u.tanh() - k * u))


class Neg(Base):
    family = "linear"

    def is_affine(self, call: Call) -> bool:
        return True

    def needs_interval(self, call: Call) -> tuple[bool, ...]:
        return (False,)

    def unstable_inputs(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Tensor | None, ...]:
        return (None,)

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        return Interval(-inputs[0].upper, -inputs[0].lower)

    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        slope = -torch.ones(1, *call.shape, dtype=call.dtype)
        return Relaxation.exactly(Affine((Diagonal(slope, call.shapes[0]),)))


@dataclass(frozen=True, eq=False)
class Weight(LinearOp):
    W: Tensor
    shape: Shape

    @property
    def in_shape(self) -> Shape:
        return self.shape

    @property
    def out_shape(self) -> Shape:
        return (*self.shape[:-1], len(self.W))

    def apply(self, x: Tensor, lead: int = 1) -> Tensor:
        return x @ self.W.T

    def apply_abs(self, x: Tensor, lead: int = 1) -> Tensor:
        return x @ self.W.T.abs()

    def transpose(self, A: Tensor) -> Tensor:
        return A @ self.W


class Linear(Neg):
    op = Weight

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        op = self.op(call["weight"].value, call.shapes[0])
        low, high = op.apply_split(inputs[0].lower, inputs[0].upper)
        return Interval(low + call["bias"].value, high + call["bias"].value)

    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        op = self.op(call["weight"].value, call.shapes[0])
        return Relaxation.exactly(Affine((op,), call["bias"].value.expand(1, *call.shape)))


@dataclass(frozen=True, eq=False)
class Border(LinearOp):
    left: int
    right: int
    shape: Shape

    @classmethod
    def of(cls, call: Call) -> Border:
        return cls(*call["pad"], call.shapes[0])

    @property
    def in_shape(self) -> Shape:
        return self.shape

    @property
    def out_shape(self) -> Shape:
        return (*self.shape[:-1], self.shape[-1] + self.left + self.right)

    def apply(self, x: Tensor, lead: int = 1) -> Tensor:
        return torch.constant_pad_nd(x, [self.left, self.right])

    apply_abs = apply

    def transpose(self, A: Tensor) -> Tensor:
        return torch.constant_pad_nd(A, [-self.left, -self.right])


class Pad(Neg):
    """A border of zeros."""

    op = Border

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        op = self.op.of(call)
        return Interval(op.apply(inputs[0].lower), op.apply(inputs[0].upper))

    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        return Relaxation.exactly(Affine((self.op.of(call),)))


class Mul(Base):
    """McCormick's planes."""

    family = "bilinear"

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        x, y = inputs
        corners = torch.stack(
            torch.broadcast_tensors(*(a * b for a in (x.lower, x.upper) for b in (y.lower, y.upper)))
        )
        return Interval(corners.amin(0), corners.amax(0))

    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        x, y = inputs
        shape = call.shapes[0]

        def plane(a: Tensor, b: Tensor) -> Affine:
            return Affine((Diagonal(b, shape), Diagonal(a, shape)), -a * b)

        return Relaxation(plane(x.lower, y.lower), plane(x.upper, y.lower))


class Sqrt(Base):
    """Refuses negative boxes; chord below, tangent at the upper end above."""

    family = "unary"

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        if bool((inputs[0].lower < 0).any()):
            raise DomainError("sqrt of a negative number")
        return Interval(inputs[0].lower.sqrt(), inputs[0].upper.sqrt())

    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        l, u = inputs[0].lower, inputs[0].upper
        if bool((l < 0).any()):
            raise DomainError("sqrt of a negative number")
        total = l.sqrt() + u.sqrt()
        chord = 1 / torch.where(total > 0, total, torch.full_like(u, math.inf))
        tangent = torch.where(u > 0, 0.5 / u.sqrt(), torch.zeros_like(u))
        shape = call.shapes[0]
        return Relaxation(
            Affine((Diagonal(chord, shape),), l.sqrt() - chord * l),
            Affine((Diagonal(tangent, shape),), u.sqrt() - tangent * u),
        )


@dataclass(frozen=True)
class Pixels(Perturbation):
    """At most `eps` pixels of an image `[B, C, H, W]` change, all their channels, anywhere within [0, 1]."""

    eps: int
    is_box = False

    def validate(self, x: Tensor) -> None:
        pass

    def hull(self, x: Tensor) -> Interval:
        return Interval(torch.zeros_like(x), torch.ones_like(x))

    def gains(self, x: Tensor, A: Coefficients) -> Tensor:
        """By how much each element can lower the forms, `[R, B, C, H, W]`."""
        a = A.to_dense()
        return a.clamp(min=0) * x - a.clamp(max=0) * (1 - x)

    def concretize(self, x: Tensor, A: Coefficients) -> Tensor:
        return A.dot(x) - self.gains(x, A).sum(2).flatten(2).topk(self.eps).values.sum(-1)

    def sample(self, x: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
        score = torch.rand(n, x.shape[0], 1, *x.shape[2:], dtype=x.dtype, generator=generator)
        return torch.where(self._best(score), torch.rand(n, *x.shape, dtype=x.dtype, generator=generator), x)

    def contains(self, x: Tensor, z: Tensor) -> Tensor:
        changed = ((z - x).abs() > 1e-12).any(2).flatten(2).sum(-1)
        return (changed <= self.eps) & ((z >= 0) & (z <= 1)).flatten(2).all(-1)

    def project(self, x: Tensor, z: Tensor) -> Tensor:
        moved = z.clamp(0, 1)
        benefit = ((z - x).square() - (z - moved).square()).sum(2, keepdim=True)
        return torch.where(self._best(benefit), moved, x)

    def _best(self, score: Tensor) -> Tensor:
        """Which pixels have the `eps` highest scores, `[n, B, 1, H, W]`."""
        least = score.flatten(2).topk(self.eps).values[..., -1]
        return score >= least[..., None, None, None]
