"""Comparisons of two perturbed operands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import Diagonal, align
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.linear.rounding import Accuracy
from lirpa_core.rules.call import Call
from lirpa_core.rules.general import General


@dataclass(frozen=True)
class Comparison:
    """Bounds of a comparison of two perturbed operands, from the interval of their difference.

    Attributes:
        surely: From the lower and upper ends of both, where it holds.
        never: Likewise, where it does not.
        rises: 1 where it holds for large differences, −1 for small ones, 0 for neither.
        of_itself: What it says of two equal numbers.
    """

    surely: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    never: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    rises: int
    of_itself: bool

    def bound(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        """0 and 1, or the one that is certain."""
        (a, b), (c, d) = self._ends(call, inputs)
        if call.operands[0] == call.operands[1]:
            same = torch.full_like(a, float(self.of_itself)).expand(a.shape[0], *call.shape)
            return Interval(same, same)
        surely, possibly = self.surely(a, b, c, d), ~self.never(a, b, c, d)
        return Interval(*(t.to(a.dtype).expand(t.shape[0], *call.shape) for t in (surely, possibly)))

    def affine(self, call: Call, inputs: tuple[Interval, ...]) -> Relaxation:
        """Of a step in the difference: the line from its far end to the step where that loses less area than a constant."""
        box = self.bound(call, inputs)
        (a, b), (c, d) = self._ends(call, inputs)
        low, up = (self.rises or 1) * (a - d), (self.rises or 1) * (b - c)
        low, up = low.minimum(up), low.maximum(up)  # of the difference, turned so that the step rises
        open_ = (
            (box.lower < box.upper) & (low < 0) & (up > 0) & bool(self.rises) & up.isfinite() & low.isfinite()
        )
        steep = torch.where(open_, low, -1).reciprocal()
        above = torch.where(open_ & (up < -low) & steep.isfinite(), -steep, 0)
        steep = torch.where(open_, up, 1).reciprocal()
        below = torch.where(open_ & (up > -low) & steep.isfinite(), steep, 0)
        over = torch.where(above > 0, 1, box.upper)
        under = torch.where(below > 0, 0, box.lower)

        def side(slope: Tensor, bias: Tensor) -> Affine:
            slope = (self.rises * slope).to(a.dtype).expand(slope.shape[0], *call.shape)
            i, j = call.slots["self"], call.slots["other"]
            terms: list[Diagonal] = [Diagonal(slope, call.shapes[0])] * 2
            terms[i], terms[j] = Diagonal(slope, call.shapes[i]), Diagonal(-slope, call.shapes[j])
            return Affine(tuple(terms), bias.to(a.dtype).expand(bias.shape[0], *call.shape))

        return Relaxation(side(below, under), side(above, over))

    def _ends(
        self, call: Call, inputs: tuple[Interval, ...]
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        rank = len(call.shape)
        x, y = inputs[call.slots["self"]], inputs[call.slots["other"]]
        dtype = torch.promote_types(x.lower.dtype, y.lower.dtype)
        ends = [align(end, 1, rank).to(dtype) for end in (x.lower, x.upper, y.lower, y.upper)]
        return (ends[0], ends[1]), (ends[2], ends[3])


def _equal(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    return (a == b) & (c == d) & (a == c)


def _apart(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    return (b < c) | (d < a)


_COMPARISONS = {
    "gt": Comparison(lambda a, b, c, d: a > d, lambda a, b, c, d: b <= c, 1, False),
    "ge": Comparison(lambda a, b, c, d: a >= d, lambda a, b, c, d: b < c, 1, True),
    "lt": Comparison(lambda a, b, c, d: b < c, lambda a, b, c, d: a >= d, -1, False),
    "le": Comparison(lambda a, b, c, d: b <= c, lambda a, b, c, d: a > d, -1, True),
    "eq": Comparison(_equal, _apart, 0, True),
    "ne": Comparison(_apart, _equal, 0, False),
}


#: Intervals are exact; a zero that underflow moved would be a condition that is open.
_ACCURACY = Accuracy(8, underflows=False)


def comparison(name: str) -> General:
    """Rule of a comparison of two perturbed operands, by its name: gt, ge, lt, le, eq, ne."""
    kind = _COMPARISONS[name]
    return General(("self", "other"), kind.bound, kind.affine, precision=lambda call: _ACCURACY)
