"""Linear rules: transposes, signs and leading dimensions."""

from __future__ import annotations

from honest import Border, Linear, Neg, Pad, Weight
from honest import linear_call as linear
from honest import neg_call as neg
from honest import pad_call as pad

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Affine, Relaxation
from wrong.fault import Fault


class DeclaredIncreasing(Neg):
    def interval(self, call, inputs):
        return Interval(-inputs[0].lower, -inputs[0].upper)


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


class MutatesConstants(Linear):
    """Folds a sign into the weights, each time anew."""

    def relax(self, call, inputs):
        call["weight"].value.neg_()
        return super().relax(call, inputs)


class PadOffByOne(Border):
    """The transpose cuts one place too far to the left."""

    def transpose(self, A):
        return super().transpose(A.roll(-1, -1))


class PadSwapped(Border):
    """Left and right borders in the other order, forward and back."""

    @classmethod
    def of(cls, call):
        left, right = call["pad"]
        return cls(right, left, call.shapes[0])


class ShiftedPad(Pad):
    op = PadOffByOne


class SwappedPad(Pad):
    op = PadSwapped


class InverseSigns(Weight):
    """Positive and negative weights swapped in intervals."""

    def apply_split(self, lower, upper, lead=1):
        low, high = super().apply_split(lower, upper, lead)
        return high, low


class SwappedSigns(Linear):
    op = InverseSigns


RULES: dict[str, Fault] = {
    "padding off by one": Fault(ShiftedPad(), pad, ("linear operator",), "not the transpose"),
    "borders swapped": Fault(SwappedPad(), pad, ("interval", "lines"), "affine function|interval"),
    "positive and negative weights swapped": Fault(
        SwappedSigns(), linear, ("linear operator", "interval"), "apply_split"
    ),
    "decreasing declared increasing": Fault(
        DeclaredIncreasing(), neg, ("interval",), "exceeds the upper end"
    ),
    "signs swapped in transpose": Fault(SignedLinear(), linear, ("linear operator",), "not the transpose"),
    "rows and examples mixed": Fault(MixedLinear(), linear, ("linear operator",), "not the transpose"),
    "absolute values forgotten": Fault(SignlessLinear(), linear, ("linear operator",), "apply_abs"),
    "leading dimensions mixed": Fault(FlatLinear(), linear, ("linear operator",), "two leading dimensions"),
    "affine, but two functions": Fault(NotExact(), linear, ("affine",), "two different functions"),
    "affine without its bias": Fault(BiasForgotten(), linear, ("lines", "affine"), "affine function"),
    "affine with a loose interval": Fault(LooseLinear(), linear, ("affine",), "wider than the values"),
    "transpose in place": Fault(InPlaceLinear(), linear, ("purity",), "coefficients in place"),
    "transpose with rows second": Fault(TransposedLinear(), linear, ("linear operator",), "transpose of"),
    "transpose of shared rows": Fault(SharingLinear(), linear, ("linear operator",), "shared coefficients"),
    "mutates a constant": Fault(MutatesConstants(), linear, ("purity",), "constant 0 in place"),
}
