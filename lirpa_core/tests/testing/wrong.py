"""Rules, perturbations and structures that are wrong on purpose: mistakes that people make.

Each entry of a gallery says which check must catch it, and words that the message must contain.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import honest
import torch
from honest import Linear, Mul, Neg, Relu, Tanh, Weight
from torch import Tensor

from lirpa_core.bounds.interval import Interval
from lirpa_core.bounds.linear_map import DenseMap, LinearMap, RowsMap
from lirpa_core.bounds.linear_op import Diagonal
from lirpa_core.bounds.relaxation import Affine, Relaxation
from lirpa_core.perturbations import PerturbationLpNorm
from lirpa_core.rules.call import Call


@dataclass(frozen=True)
class Fault:
    """A wrong rule, the call to try it on, and how it must be found out."""

    rule: Any
    call: Callable[[], Call]
    checks: tuple[str, ...]
    says: str
    options: dict[str, Any] = field(default_factory=dict)


# ---- unsound lines


class UpperFromLower(Relu):
    def relax(self, call, inputs):
        low, _, _ = self.slopes(inputs[0].lower, inputs[0].upper)
        line = Affine((Diagonal(low, call.shapes[0]),))
        return Relaxation(line, Affine(line.terms))


class BiasDropped(Relu):
    def relax(self, call, inputs):
        right = super().relax(call, inputs)
        return Relaxation(right.lower, Affine(right.upper.terms))


class SlopeOutsideTheBox(Tanh):
    """The tangent's slope is taken past the end of the box."""

    def relax(self, call, inputs):
        l, u = inputs[0].lower, inputs[0].upper
        k = 1 - (l + u).tanh() ** 2
        d = Diagonal(k, call.shapes[0])
        return Relaxation(Affine((d,), l.tanh() - k * l), Affine((d,), u.tanh() - k * u))


class InflectionForgotten(Tanh):
    """Convex on the left, concave on the right, and nothing said of boxes that hold both."""

    def relax(self, call, inputs):
        l, u = inputs[0].lower, inputs[0].upper
        width = torch.where(u > l, u - l, torch.ones_like(u))
        middle = l / 2 + u / 2
        tangent = 1 - middle.tanh() ** 2
        chord = torch.where(u - l > 1e-6, (u.tanh() - l.tanh()) / width, tangent)
        margin = torch.where(u - l > 1e-6, torch.zeros_like(u), u - l)
        concave = middle >= 0
        low, up = torch.where(concave, chord, tangent), torch.where(concave, tangent, chord)
        at_low, at_up = torch.where(concave, l, middle), torch.where(concave, middle, l)
        shape = call.shapes[0]
        return Relaxation(
            Affine((Diagonal(low, shape),), at_low.tanh() - low * at_low - margin),
            Affine((Diagonal(up, shape),), at_up.tanh() - up * at_up + margin),
        )


class TooSteepBelow(Relu):
    """A learned slope that nobody kept within [0, 1]."""

    def slopes(self, l, u):
        low, up, bias = super().slopes(l, u)
        return torch.where((l < 0) & (u > 0), torch.full_like(low, 1.05), low), up, bias


class WrongMcCormick(Mul):
    """The upper plane pairs the same ends as the lower one."""

    def relax(self, call, inputs):
        x, y = inputs
        shape = call.shapes[0]
        lower = Affine((Diagonal(y.lower, shape), Diagonal(x.lower, shape)), -x.lower * y.lower)
        return Relaxation(
            lower, Affine((Diagonal(y.upper, shape), Diagonal(x.upper, shape)), -x.upper * y.upper)
        )


# ---- unsound only on some boxes


class FudgeOnThinBoxes(Relu):
    """A constant added to a width, to avoid dividing by zero."""

    def slopes(self, l, u):
        low, up, bias = super().slopes(l, u)
        mixed = (l < 0) & (u > 0)
        chord = u / (u - l + 1e-8)
        return low, torch.where(mixed, chord, up), torch.where(mixed, -chord * l, bias)


class TinyBoxesRoundedAway(Relu):
    """Boxes narrower than 1e-6 count as inactive."""

    def slopes(self, l, u):
        low, up, bias = super().slopes(l, u)
        tiny = u < 1e-6
        return torch.where(tiny, 0, low), torch.where(tiny, 0, up), torch.where(tiny, 0, bias)


class HugeBoxesClamped(Relu):
    def slopes(self, l, u):
        low, up, bias = super().slopes(l, u)
        return low, up, bias.clamp(max=1e4)


class InactiveAtTheKink(Relu):
    """`l >= -1e-3` taken for `l >= 0`."""

    def slopes(self, l, u):
        low, up, bias = super().slopes(l, u)
        almost = l >= -1e-3
        return torch.where(almost, 1, low), torch.where(almost, 1, up), torch.where(almost, 0, bias)


# ---- wrong intervals


class DeclaredIncreasing(Neg):
    def interval(self, call, inputs):
        return Interval(-inputs[0].lower, -inputs[0].upper)


class EndsOnly(honest.Base):
    """The interval of a square from its ends alone."""

    modes = ("interval",)

    def interval(self, call, inputs):
        a, b = inputs[0].lower ** 2, inputs[0].upper ** 2
        return Interval(a.minimum(b), a.maximum(b))

    def relax(self, call, inputs):
        raise NotImplementedError


class LooserWhenSmaller(Relu):
    """Gives up on narrow boxes, with a bound that is sound."""

    def interval(self, call, inputs):
        right = super().interval(call, inputs)
        return Interval(right.lower, torch.where(inputs[0].width < 1, right.upper + 1, right.upper))


class NanAtAPoint(Relu):
    def slopes(self, l, u):
        low, _, bias = super().slopes(l, u)
        return low, (u.clamp(min=0) - l.clamp(min=0)) / (u - l), bias


class NanGradient(Relu):
    """Finite values, but the branch that is not taken divides by zero."""

    def slopes(self, l, u):
        low, up, bias = super().slopes(l, u)
        mixed = (l < 0) & (u > 0)
        return low, torch.where(mixed, u / (u - l), up), bias


# ---- wrong linear operators


class SignsInTranspose(Weight):
    """Splits the coefficients by sign, and swaps the halves on the way."""

    def transpose(self, A):
        return A.clamp(min=0) @ self.W.clamp(max=0) + A.clamp(max=0) @ self.W.clamp(min=0)


class RowsAsBatch(Weight):
    """Flattens rows and examples in the wrong order."""

    def transpose(self, A):
        R, B = A.shape[:2]
        return (A.transpose(0, 1).flatten(0, 1) @ self.W).reshape(R, B, *self.shape)


class NoAbsolute(Weight):
    def apply_abs(self, x, lead=1):
        return self.apply(x, lead)


class OneLeadingDimension(Weight):
    """Takes the second leading dimension for a batch."""

    def apply(self, x, lead=1):
        return x.flatten(0, lead - 1).matmul(self.W.T) if lead == 1 else super().apply(x[:1].expand_as(x), 1)


class SignedLinear(Linear):
    op = SignsInTranspose


class MixedLinear(Linear):
    op = RowsAsBatch


class SignlessLinear(Linear):
    op = NoAbsolute

    def interval(self, call, inputs):
        return Linear().interval(call, inputs)


class FlatLinear(Linear):
    op = OneLeadingDimension


class NotExact(Linear):
    """Affine, but relaxed as if it were not."""

    def relax(self, call, inputs):
        line = super().relax(call, inputs).lower
        return Relaxation(line, Affine(line.terms, line.bias))


class BiasForgotten(Linear):
    def relax(self, call, inputs):
        return Relaxation.exactly(Affine(super().relax(call, inputs).lower.terms))

    def interval(self, call, inputs):
        return Linear().interval(call, inputs)


class LooseLinear(Linear):
    """Centre and radius, with a radius that counts everything twice."""

    def interval(self, call, inputs):
        x = super().interval(call, inputs)
        return Interval(x.lower - x.radius, x.upper + x.radius)


# ---- wrong manners


class Mutates(Relu):
    def interval(self, call, inputs):
        return Interval(inputs[0].lower.clamp_(min=0), inputs[0].upper.clamp(min=0))


class WrongDtype(Relu):
    def relax(self, call, inputs):
        right = super().relax(call, inputs)
        return Relaxation(right.lower, Affine(right.upper.terms, right.upper.bias.float()))


class AlwaysDouble(Tanh):
    def interval(self, call, inputs):
        return Interval(inputs[0].lower.double().tanh(), inputs[0].upper.double().tanh())


class WrongShape(Relu):
    def interval(self, call, inputs):
        right = super().interval(call, inputs)
        return Interval(right.lower.flatten(1), right.upper.flatten(1))


class WholeBatch(Relu):
    """Sound, but looks at the other examples."""

    def slopes(self, l, u):
        return super().slopes(l.amin(0, keepdim=True), u.amax(0, keepdim=True))


class BatchForgotten(Mul):
    """Flattens the box as if every operand had all examples."""

    def interval(self, call, inputs):
        x, y = (
            Interval(i.lower.reshape(call.batch, *call.shape), i.upper.reshape(call.batch, *call.shape))
            for i in inputs
        )
        return super().interval(call, (x, y))


class NothingLoose(Relu):
    """Tells the engine that no tighter interval would help."""

    def loose(self, call, inputs):
        return (None,)


class NeedsNothing(Relu):
    """Reads an interval that it said it does not need."""

    def needs_interval(self, call):
        return (False,)


class OneTermShort(Mul):
    def relax(self, call, inputs):
        right = super().relax(call, inputs)
        return Relaxation(right.lower, Affine(right.upper.terms[:1], right.upper.bias))


class InfiniteInterval(Relu):
    """Gives up without saying so."""

    def interval(self, call, inputs):
        right = super().interval(call, inputs)
        return Interval(right.lower, torch.full_like(right.upper, math.inf))


class PlainTuple(Relu):
    def interval(self, call, inputs):
        right = super().interval(call, inputs)
        return right.lower, right.upper


class PlainTupleOfLines(Relu):
    def relax(self, call, inputs):
        right = super().relax(call, inputs)
        return right.lower, right.upper


class UnknownMode(Relu):
    modes = ("ibp",)


class AffineOnBatches(Relu):
    """A tensor where a bool is asked for."""

    def is_affine(self, call):
        return torch.tensor(False)


class NeedsAsOne(Relu):
    def needs_interval(self, call):
        return (True, True)


class LooseAsFloats(Relu):
    def loose(self, call, inputs):
        return (inputs[0].lower.abs(),)


class MutatesConstants(Linear):
    """Folds a sign into the weights, each time anew."""

    def relax(self, call, inputs):
        call["weight"].value.neg_()
        return super().relax(call, inputs)


class TransposeInPlace(Weight):
    def transpose(self, A):
        return A.mul_(2) @ self.W / 2


class TransposeTransposed(Weight):
    def transpose(self, A):
        return super().transpose(A).transpose(0, 1)


class SumsTheBatch(Weight):
    """Shared coefficients come back shared, though every example has its own."""

    def transpose(self, A):
        return super().transpose(A) if A.shape[1] > 1 else super().transpose(A).expand(-1, 2, *self.shape)


class InPlaceLinear(Linear):
    op = TransposeInPlace


class TransposedLinear(Linear):
    op = TransposeTransposed


class SharingLinear(Linear):
    op = SumsTheBatch


relu, tanh, linear, mul, neg = (
    honest.relu_call,
    honest.tanh_call,
    honest.linear_call,
    honest.mul_call,
    honest.neg_call,
)


def square() -> Call:
    return Call.of(torch.ops.aten.square.default, honest.Operand((2,)))


RULES: dict[str, Fault] = {
    "upper from lower coefficients": Fault(
        UpperFromLower(), relu, ("lines",), "above the upper affine function"
    ),
    "bias dropped": Fault(BiasDropped(), relu, ("lines",), "above the upper affine function"),
    "slope outside the box": Fault(SlopeOutsideTheBox(), tanh, ("lines",), "affine function"),
    "inflection forgotten": Fault(InflectionForgotten(), tanh, ("lines",), "affine function"),
    "slope above one": Fault(TooSteepBelow(), relu, ("lines",), "below the lower affine function"),
    "McCormick ends paired wrongly": Fault(
        WrongMcCormick(), mul, ("lines",), "above the upper affine function"
    ),
    "unsound only for thin boxes": Fault(FudgeOnThinBoxes(), relu, ("lines", "proof"), "above the upper"),
    "unsound only for tiny boxes": Fault(TinyBoxesRoundedAway(), relu, ("lines", "proof"), "above the upper"),
    "unsound only for huge boxes": Fault(HugeBoxesClamped(), relu, ("lines", "proof"), "above the upper"),
    "kink with a tolerance": Fault(InactiveAtTheKink(), relu, ("lines", "proof"), "above the upper"),
    "decreasing declared increasing": Fault(
        DeclaredIncreasing(), neg, ("interval",), "exceeds the upper end"
    ),
    "interval from the ends only": Fault(EndsOnly(), square, ("interval",), "below the interval"),
    "looser when smaller": Fault(LooserWhenSmaller(), relu, ("shrinking", "degenerate"), "single point"),
    "looser when smaller, shrinking alone": Fault(
        LooserWhenSmaller(), relu, ("shrinking",), "smaller box gives a looser", {"without": ("degenerate",)}
    ),
    "NaN at l = u": Fault(NanAtAPoint(), relu, ("finite",), "NaN"),
    "NaN gradient": Fault(NanGradient(), relu, ("gradients", "finite"), "NaN"),
    "signs swapped in transpose": Fault(SignedLinear(), linear, ("linear operator",), "not the transpose"),
    "rows and examples mixed": Fault(MixedLinear(), linear, ("linear operator",), "not the transpose"),
    "absolute values forgotten": Fault(SignlessLinear(), linear, ("linear operator",), "apply_abs"),
    "leading dimensions mixed": Fault(FlatLinear(), linear, ("linear operator",), "two leading dimensions"),
    "affine, but two functions": Fault(NotExact(), linear, ("affine",), "two different functions"),
    "affine without its bias": Fault(BiasForgotten(), linear, ("lines", "affine"), "affine function"),
    "affine with a loose interval": Fault(LooseLinear(), linear, ("affine",), "wider than the values"),
    "mutates its input": Fault(Mutates(), relu, ("purity",), "lower end of x0 in place"),
    "wrong dtype": Fault(WrongDtype(), relu, ("results",), "torch.float32"),
    "always float64": Fault(AlwaysDouble(), tanh, ("float32",), "torch.float64"),
    "wrong shape": Fault(WrongShape(), relu, ("results",), r"has shape \[3, 3\]"),
    "looks at the whole batch": Fault(
        WholeBatch(), relu, ("batch", "degenerate"), "in a batch than alone", {"without": ("degenerate",)}
    ),
    "shared inputs forgotten": Fault(BatchForgotten(), mul, ("runs",), "RuntimeError"),
    "nothing worth tightening": Fault(NothingLoose(), relu, ("loose",), "tighter box changes"),
    "reads what it does not need": Fault(NeedsNothing(), relu, ("runs",), "NoneType"),
    "infinite interval": Fault(
        InfiniteInterval(), relu, ("finite",), "upper end of the interval is infinite"
    ),
    "no Interval": Fault(PlainTuple(), relu, ("results",), "not an Interval"),
    "no Relaxation": Fault(PlainTupleOfLines(), relu, ("purity", "results", "runs"), "Relaxation|tuple"),
    "unknown mode": Fault(UnknownMode(), relu, ("declarations",), "modes must be"),
    "is_affine is a tensor": Fault(AffineOnBatches(), relu, ("declarations",), "must return a bool"),
    "needs of another operand": Fault(NeedsAsOne(), relu, ("declarations",), "needs_interval must return 1"),
    "loose in floats": Fault(LooseAsFloats(), relu, ("declarations",), "loose of x0 must be bool"),
    "mutates a constant": Fault(MutatesConstants(), linear, ("purity",), "constant 0 in place"),
    "transpose in place": Fault(InPlaceLinear(), linear, ("purity",), "coefficients in place"),
    "transpose with rows second": Fault(TransposedLinear(), linear, ("linear operator",), "transpose of"),
    "transpose of shared rows": Fault(SharingLinear(), linear, ("linear operator",), "shared coefficients"),
    "a term missing": Fault(OneTermShort(), mul, ("results",), "1 terms for 2 operands"),
}


# ---- perturbations


class WrongDualNorm(PerturbationLpNorm):
    def concretize(self, x, A):
        return A.dot(x) - self.eps * A.dual_norm(self.norm)


class NominalForgotten(PerturbationLpNorm):
    def concretize(self, x, A):
        return super().concretize(x, A) - A.dot(x)


class BoxForgotten(PerturbationLpNorm):
    """Sound, but not the minimum over the intersection."""

    def concretize(self, x, A):
        return PerturbationLpNorm(self.eps, self.norm).concretize(x, A)


class SameRadiusForAll(PerturbationLpNorm):
    def concretize(self, x, A):
        return PerturbationLpNorm(self.eps.min().item(), self.norm).concretize(x, A)


class BoxInsteadOfBall(PerturbationLpNorm):
    """Sound, but the hull of the set."""

    def concretize(self, x, A):
        return A.split_dot(self.hull(x).lower, self.hull(x).upper)


class ClaimsToBeABox(PerturbationLpNorm):
    """Projects onto the box, minimises over the ball."""

    @property
    def is_box(self):
        return True

    def concretize(self, x, A):
        return PerturbationLpNorm(self.eps, self.norm).concretize(x, A)


class HullTooSmall(PerturbationLpNorm):
    def hull(self, x):
        right = super().hull(x)
        return Interval(right.lower + 0.1 * right.width, right.upper)


class SamplesOutside(PerturbationLpNorm):
    def sample(self, x, n, generator=None):
        return x + 1.5 * (super().sample(x, n, generator) - x)


class ContainsEverything(PerturbationLpNorm):
    def contains(self, x, z):
        return torch.ones(z.shape[:2], dtype=torch.bool)


class ProjectsHalfway(PerturbationLpNorm):
    def project(self, x, z):
        return x / 2 + super().project(x, z) / 2


class ProjectsToTheBox(PerturbationLpNorm):
    def project(self, x, z):
        hull = self.hull(x)
        return z.maximum(hull.lower).minimum(hull.upper)


class NanAtZeroRows(PerturbationLpNorm):
    def concretize(self, x, A):
        dense = A.to_dense()
        direction = dense / dense.flatten(2).norm(dim=-1).reshape(dense.shape[0], -1, *[1] * (x.dim() - 1))
        return A.dot(x) - self.eps * (direction * dense).flatten(2).sum(-1)


class NanGradientAtZeroRows(PerturbationLpNorm):
    def concretize(self, x, A):
        return A.dot(x) - self.eps * (A.to_dense() ** 2).flatten(2).sum(-1).sqrt()


class DenseOnly(PerturbationLpNorm):
    """Right for dense coefficients, forgets the scale of selected rows."""

    def concretize(self, x, A):
        if isinstance(A, RowsMap):
            A = RowsMap(A.index, torch.ones_like(A.scale_), A.size)
        return super().concretize(x, A)


class HullOfOneExample(PerturbationLpNorm):
    def hull(self, x):
        right = super().hull(x)
        return Interval(right.lower[:1], right.upper[:1])


class HullCrossed(PerturbationLpNorm):
    def hull(self, x):
        right = super().hull(x)
        return Interval(right.upper, right.lower)


class GeneratorIgnored(PerturbationLpNorm):
    def sample(self, x, n, generator=None):
        return super().sample(x, n)


class ProjectsInPlace(PerturbationLpNorm):
    def project(self, x, z):
        return z.copy_(super().project(x, z))


class SharedByAll(PerturbationLpNorm):
    """Uses the first example's coefficients only where these are shared by mistake."""

    def concretize(self, x, A):
        return (
            super().concretize(x, A) if A.batch > 1 else super().concretize(x[:1], A).expand(-1, x.shape[0])
        )


class AlwaysDouble64(PerturbationLpNorm):
    def concretize(self, x, A):
        return super().concretize(x, A).double()


SETS: dict[str, tuple[Any, str, str]] = {
    "wrong dual norm": (WrongDualNorm(0.5, 1), "exact", "not attained"),
    "dual norm of infinity for 1": (
        WrongDualNorm(0.5, math.inf),
        "concretize",
        "exceeds the form at a member",
    ),
    "dual norm off for 3": (WrongDualNorm(0.5, 3), "concretize", "exceeds the form at a member"),
    "nominal part forgotten": (NominalForgotten(0.5, 2), "concretize", "exceeds|below"),
    "box forgotten": (BoxForgotten(0.5, 2, x_L=0.0, x_U=1.0), "concretize", "below that over the hull"),
    "box instead of ball": (BoxInsteadOfBall(0.5, 2), "exact", "not attained"),
    "smallest radius for all": (SameRadiusForAll(torch.tensor([0.1, 0.2, 0.3]), 2), "concretize", "exceeds"),
    "claims to be a box": (ClaimsToBeABox(0.5, 2), "concretize", "exceeds the form at a member"),
    "hull too small": (HullTooSmall(0.5, 2), "sample", "not contained"),
    "samples outside": (SamplesOutside(0.5, 2), "sample", "not contained"),
    "contains everything": (ContainsEverything(0.5, 2), "contains", "far outside"),
    "projection moves members": (ProjectsHalfway(0.5, 2), "project", "project moves"),
    "projection onto the hull": (ProjectsToTheBox(0.5, 2), "project", "a projected point is not contained"),
    "NaN for zero rows": (NanAtZeroRows(0.5, 2), "concretize", "not finite"),
    "NaN gradient for zero rows": (NanGradientAtZeroRows(0.5, 2), "gradients", "by A is not finite"),
    "hull of one example": (HullOfOneExample(0.5, 1), "hull", "not like x"),
    "hull crossed": (HullCrossed(0.5, 1), "hull", "exceeds the upper end"),
    "generator ignored": (GeneratorIgnored(0.5, 2), "sample", "same generator"),
    "projects in place": (ProjectsInPlace(0.5, 2), "project", "in place"),
    "shared coefficients": (SharedByAll(0.5, 2), "structures", "shared coefficients"),
    "always float64": (AlwaysDouble64(0.5, 2), "float32", "torch.float64"),
    "dense only": (DenseOnly(0.5, 2), "structures", "structured coefficients"),
}


# ---- structures of coefficients


class Wrong(LinearMap):
    """A dense map that delegates, so that each fault is one method."""

    def __init__(self, A: Tensor) -> None:
        self.A = A

    rows = property(lambda self: self.A.shape[0])
    batch = property(lambda self: self.A.shape[1])
    shape = property(lambda self: tuple(self.A.shape[2:]))

    def to_dense(self):
        return self.A


class SwappedParts(Wrong):
    def split_dot(self, lower, upper):
        return self.dense().split_dot(upper, lower)


class NormWithoutWeight(Wrong):
    def dual_norm(self, q, weight=None):
        return self.dense().dual_norm(q)


class InterleavedNegation(Wrong):
    def with_negated(self):
        return DenseMap(torch.stack([self.A, -self.A], 1).flatten(0, 1))


class ScalesInPlace(Wrong):
    def scale(self, factor):
        self.A.mul_(factor.mean())
        return self.dense().scale(factor)


class WrongBatch(Wrong):
    batch = property(lambda self: 1)


class SumsTheWrongDimension(Wrong):
    def sum_to(self, shape):
        return DenseMap(
            self.A.mean(tuple(range(2, self.A.dim())), keepdim=True).expand(*self.A.shape[:2], *shape)
        )


class NoSharedValues(Wrong):
    def dot(self, value):
        return torch.stack([(self.A[:, b] * value[b]).flatten(1).sum(1) for b in range(self.batch)], 1)


class NegativePartDropped(Wrong):
    def relax(self, lower, upper):
        return DenseMap(self.A.clamp(min=0) * lower)


MAPS: dict[str, tuple[type[Wrong], str]] = {
    "positive and negative swapped": (SwappedParts, "split_dot"),
    "weight of the norm ignored": (NormWithoutWeight, "dual_norm"),
    "negated rows interleaved": (InterleavedNegation, "with_negated"),
    "scales in place": (ScalesInPlace, "scale|changed the map in place|dot"),
    "batch misstated": (WrongBatch, "to_dense"),
    "sum over the wrong dimension": (SumsTheWrongDimension, "sum_to"),
    "shared value not broadcast": (NoSharedValues, "dot"),
    "negative part dropped": (NegativePartDropped, "relax"),
}
