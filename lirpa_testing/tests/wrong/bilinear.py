"""Bilinear rules: planes and operands."""

from __future__ import annotations

from honest import Mul
from honest import mul_call as mul

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import Diagonal
from lirpa_core.linear.relaxation import Affine, Relaxation
from wrong.fault import Fault


class WrongMcCormick(Mul):
    """The upper plane pairs the same ends as the lower one."""

    def relax(self, call, inputs):
        x, y = inputs
        shape = call.shapes[0]
        lower = Affine((Diagonal(y.lower, shape), Diagonal(x.lower, shape)), -x.lower * y.lower)
        return Relaxation(
            lower, Affine((Diagonal(y.upper, shape), Diagonal(x.upper, shape)), -x.upper * y.upper)
        )


class BatchForgotten(Mul):
    """Flattens the box as if every operand had all examples."""

    def interval(self, call, inputs):
        x, y = (
            Interval(i.lower.reshape(call.batch, *call.shape), i.upper.reshape(call.batch, *call.shape))
            for i in inputs
        )
        return super().interval(call, (x, y))


class OneTermShort(Mul):
    def relax(self, call, inputs):
        right = super().relax(call, inputs)
        return Relaxation(right.lower, Affine(right.upper.terms[:1], right.upper.bias))


class MatchingEndsOnly(Mul):
    """The interval of a product from the products of matching ends."""

    def interval(self, call, inputs):
        x, y = inputs
        a, b = x.lower * y.lower, x.upper * y.upper
        return Interval(a.minimum(b), a.maximum(b))


class SameOperandTwice(Mul):
    """The second term of a plane taken from the first operand."""

    def relax(self, call, inputs):
        x, y = inputs

        def plane(a, b):
            return Affine((Diagonal(b, call.shapes[0]), Diagonal(b, call.shapes[0])), -a * b)

        return Relaxation(plane(x.lower, y.lower), plane(x.upper, y.lower))


RULES: dict[str, Fault] = {
    "product of matching ends": Fault(MatchingEndsOnly(), mul, ("interval",), "the interval"),
    "planes of one operand": Fault(SameOperandTwice(), mul, ("lines",), "affine function"),
    "McCormick ends paired wrongly": Fault(
        WrongMcCormick(), mul, ("lines",), "above the upper affine function"
    ),
    "shared inputs forgotten": Fault(BatchForgotten(), mul, ("runs",), "RuntimeError"),
    "a term missing": Fault(OneTermShort(), mul, ("results",), "1 terms for 2 operands"),
}
