"""Unary rules: lines and intervals that are wrong, everywhere or on some boxes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import honest
import torch
from honest import Relu, Tanh
from honest import relu_call as relu
from honest import tanh_call as tanh

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import Diagonal
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.operators.activation.elementary import RECIPROCAL
from lirpa_core.operators.activation.exponential import EXP
from lirpa_core.operators.activation.gated import SILU
from lirpa_core.operators.activation.s_shaped import TANH
from lirpa_core.rules.call import Call
from lirpa_core.rules.unary import CONCAVE, CONVEX, Arc, Curve, Unary
from lirpa_testing.proof import Jet
from wrong.fault import Fault

aten = torch.ops.aten


class UpperFromLower(Relu):
    def relax(self, call, inputs):
        low, _, _ = self.lines(inputs[0].lower, inputs[0].upper)
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

    def lines(self, l, u):
        low, up, bias = super().lines(l, u)
        return torch.where((l < 0) & (u > 0), torch.full_like(low, 1.05), low), up, bias


class FudgeOnThinBoxes(Relu):
    """A constant added to a width, to avoid dividing by zero."""

    def lines(self, l, u):
        low, up, bias = super().lines(l, u)
        mixed = (l < 0) & (u > 0)
        chord = u / (u - l + 1e-8)
        return low, torch.where(mixed, chord, up), torch.where(mixed, -chord * l, bias)


class TinyBoxesRoundedAway(Relu):
    """Boxes narrower than 1e-6 count as inactive."""

    def lines(self, l, u):
        low, up, bias = super().lines(l, u)
        tiny = u < 1e-6
        return torch.where(tiny, 0, low), torch.where(tiny, 0, up), torch.where(tiny, 0, bias)


class HugeBoxesClamped(Relu):
    def lines(self, l, u):
        low, up, bias = super().lines(l, u)
        return low, up, bias.clamp(max=1e4)


class InactiveAtTheKink(Relu):
    """`l >= -1e-3` taken for `l >= 0`."""

    def lines(self, l, u):
        low, up, bias = super().lines(l, u)
        almost = l >= -1e-3
        return torch.where(almost, 1, low), torch.where(almost, 1, up), torch.where(almost, 0, bias)


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
    def lines(self, l, u):
        low, _, bias = super().lines(l, u)
        return low, (u.clamp(min=0) - l.clamp(min=0)) / (u - l), bias


class NanGradient(Relu):
    """Finite values, but the branch that is not taken divides by zero."""

    def lines(self, l, u):
        low, up, bias = super().lines(l, u)
        mixed = (l < 0) & (u > 0)
        return low, torch.where(mixed, u / (u - l), up), bias


class ConstantSlopes(Relu):
    """Sound, but the gradient takes the slopes for constants."""

    def lines(self, l, u):
        low, up, bias = super().lines(l.detach(), u.detach())
        return low, up, torch.where(bias == 0, bias, -up * l)


class HalfAtTheEnd(Relu):
    """The larger of two numbers that are the same gets half of the gradient of each."""

    def interval(self, call, inputs):
        right = super().interval(call, inputs)
        return Interval(right.lower, right.upper.maximum(right.upper.detach()))


class WholeBatch(Relu):
    """Sound, but looks at the other examples."""

    def lines(self, l, u):
        return super().lines(l.amin(0, keepdim=True), u.amax(0, keepdim=True))


class NothingLoose(Relu):
    """Tells methods that no tighter interval would help."""

    def unstable_inputs(self, call, inputs):
        return (None,)


def square() -> Call:
    return Call.of(torch.ops.aten.square.default, honest.Operand((2,)))


class LinesSwapped(Relu):
    def relax(self, call, inputs):
        right = super().relax(call, inputs)
        return Relaxation(right.upper, right.lower)


class ReciprocalOfTheWidth(Relu):
    """Multiplies by one over the width, which overflows if the width is denormal."""

    def lines(self, l, u):
        low, up, bias = super().lines(l, u)
        mixed = (l < 0) & (u > 0)
        chord = u * (1 / torch.where(mixed, u - l, 1.0))
        return low, torch.where(mixed, chord, up), torch.where(mixed, -chord * l, bias)


class TouchesTooHigh(Tanh):
    """The line below an exponential, 1e-14 of the width of the box above the point where it should touch."""

    def interval(self, call, inputs):
        return Interval(inputs[0].lower.exp(), inputs[0].upper.exp())

    def relax(self, call, inputs):
        (x,) = inputs
        right = Unary(EXP).relax_with(call, inputs, 2 * (self.chord(x.lower, x.upper),))
        return Relaxation(Affine(right.lower.terms, right.lower.bias + 1e-14 * x.width), right.upper)

    def chord(self, l, u):
        wide = u - l > 1e-3
        return torch.where(wide, (u.exp() - l.exp()) / torch.where(wide, u - l, 1.0), (l / 2 + u / 2).exp())


def bump(x: torch.Tensor) -> torch.Tensor:
    """The identity, but for a narrow bump at 0.3."""
    return x + 1e-3 * torch.exp(-((1e5 * (x - 0.3)) ** 2))


def bump_in_balls(x: Jet) -> Jet:
    return x + (-(((x - 0.3) * 1e5) ** 2)).exp() * 1e-3


def curve_of(rule: Unary, **changes: object) -> Unary:
    assert isinstance(rule.curve, Curve)
    return Unary(dataclasses.replace(rule.curve, **changes))  # type: ignore[arg-type]


def of(op) -> Callable[[], Call]:
    return lambda: Call.of(op, honest.Operand((3,)))


RULES: dict[str, Fault] = {
    "lower and upper line swapped": Fault(LinesSwapped(), relu, ("lines",), "functions cross"),
    "unsound only for denormal boxes": Fault(ReciprocalOfTheWidth(), relu, ("finite",), "infinite|NaN"),
    "touches a hair too high": Fault(
        TouchesTooHigh(),
        of(aten.exp.default),
        ("proof",),
        "by proof, .* below the lower",
        {"domain": (-9.0, 9.0)},
    ),
    "bump forgotten": Fault(
        Unary(Curve(f=lambda x: x, df=torch.ones_like, monotone=1)),
        of(bump),
        ("proof",),
        "by proof, .* above the",
        {"domain": (-9.0, 9.0), "oracle": bump_in_balls},
    ),
    "extremum forgotten": Fault(
        curve_of(Unary(SILU), extrema=()), of(aten.silu.default), ("interval", "proof"), "below the interval"
    ),
    "inflection in the wrong place": Fault(
        curve_of(
            Unary(TANH),
            arcs=(
                Arc(CONVEX, end=0.5, inverse=TANH.arcs[0].inverse),
                Arc(CONCAVE, start=0.5, inverse=TANH.arcs[1].inverse),
            ),
        ),
        of(aten.tanh.default),
        ("lines", "proof"),
        "affine function",
    ),
    "decreasing function declared increasing": Fault(
        curve_of(Unary(RECIPROCAL), monotone=1),
        of(aten.reciprocal.default),
        ("interval",),
        "exceeds the upper end",
        {"domain": (0.1, 9.0)},
    ),
    "upper from lower coefficients": Fault(
        UpperFromLower(), relu, ("lines",), "above the upper affine function"
    ),
    "bias dropped": Fault(BiasDropped(), relu, ("lines",), "above the upper affine function"),
    "slope outside the box": Fault(SlopeOutsideTheBox(), tanh, ("lines",), "affine function"),
    "inflection forgotten": Fault(InflectionForgotten(), tanh, ("lines",), "affine function"),
    "slope above one": Fault(TooSteepBelow(), relu, ("lines",), "below the lower affine function"),
    "unsound only for thin boxes": Fault(FudgeOnThinBoxes(), relu, ("lines", "proof"), "above the upper"),
    "unsound only for tiny boxes": Fault(TinyBoxesRoundedAway(), relu, ("lines", "proof"), "above the upper"),
    "unsound only for huge boxes": Fault(HugeBoxesClamped(), relu, ("lines", "proof"), "above the upper"),
    "kink with a tolerance": Fault(
        InactiveAtTheKink(),
        relu,
        ("lines", "proof", "degenerate"),
        "above the upper|function is not the value",
    ),
    "interval from the ends only": Fault(EndsOnly(), square, ("interval",), "below the interval"),
    "looser when smaller": Fault(LooserWhenSmaller(), relu, ("shrinking", "degenerate"), "single point"),
    "looser when smaller, shrinking alone": Fault(
        LooserWhenSmaller(), relu, ("shrinking",), "smaller box gives a looser", {"without": ("degenerate",)}
    ),
    "NaN at l = u": Fault(NanAtAPoint(), relu, ("finite",), "NaN"),
    "NaN gradient": Fault(NanGradient(), relu, ("gradients", "finite"), "NaN"),
    "slopes without a gradient": Fault(
        ConstantSlopes(), relu, ("differences",), "upper affine function is not its central difference"
    ),
    "half of the gradient": Fault(
        HalfAtTheEnd(), relu, ("differences",), "upper end of the interval is not its central difference"
    ),
    "looks at the whole batch": Fault(
        WholeBatch(), relu, ("batch", "degenerate"), "in a batch than alone", {"without": ("degenerate",)}
    ),
    "nothing worth tightening": Fault(NothingLoose(), relu, ("unstable inputs",), "tighter box changes"),
}
