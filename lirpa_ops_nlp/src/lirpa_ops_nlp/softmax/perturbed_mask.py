"""Softmax among scores of which it is open whether they are kept: masks that depend on the input, as that of the best experts.

More scores in the sum make every probability smaller. So a score that is surely kept has at least its probability among all
that may be kept, and at most that among those that surely are; one that may be kept has at least zero, and at most its
probability beside those that surely are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lirpa_core.linear import Accuracy, Affine, Interval, Relaxation
from lirpa_core.linear.operators import Diagonal, align
from lirpa_core.rules import Call, Const, General, Slot
from lirpa_ops_nlp.softmax import planes
from lirpa_ops_nlp.softmax.scores import Scores
from lirpa_ops_nlp.softmax.support import LOWER, UPPER


def is_perturbed(call: Call) -> bool:
    """Whether the mask of a call is."""
    return isinstance(call.arguments.get("keep"), Slot)


def _masks(call: Call, inputs: tuple[Interval, ...]) -> tuple[Tensor, Tensor]:
    """Which scores surely are kept, and which possibly, `[B, *S]`."""
    box = inputs[call["keep"].index]
    low, up = (align(end, 1, len(call.shape)) for end in (box.lower, box.upper))
    surely, possibly = (low > 0) | (up < 0), (low != 0) | (up != 0)
    return surely.expand(-1, *call.shape), possibly.expand(-1, *call.shape)


def _ends(call: Call, inputs: tuple[Interval, ...]) -> tuple[Tensor, Tensor]:
    value = call["self"]
    if isinstance(value, Const):
        fixed = value.value if value.batched else value.value[None]
        ends = fixed.to(inputs[0].lower.dtype), fixed.to(inputs[0].lower.dtype)
    else:
        ends = inputs[value.index].lower, inputs[value.index].upper
    batch = max(ends[0].shape[0], *[x.lower.shape[0] for x in inputs])
    low, up = (end.expand(batch, *call.shape) for end in ends)
    return low, up


def _scores(call: Call, inputs: tuple[Interval, ...]) -> tuple[Scores, Scores]:
    """The scores that surely, and those that possibly take part."""
    surely, possibly = _masks(call, inputs)
    low, up = _ends(call, inputs)
    return Scores.of(low, up, surely, -1), Scores.of(low, up, possibly, -1)


def _bound(call: Call, inputs: tuple[Interval, ...]) -> Interval:
    surely, possibly = _masks(call, inputs)
    few, many = _scores(call, inputs)
    tiny = torch.finfo(few.lower.dtype).tiny
    least = torch.sigmoid(many.advantage[0])
    least = torch.where(many.live, torch.where(least < tiny, 0, least), many.alone.to(least.dtype))
    most = torch.where(few.live, torch.sigmoid(few.advantage[1]).clamp(min=tiny), few.alone.to(least.dtype))
    low, up = _ends(call, inputs)
    beside = torch.logsumexp(torch.where(surely, low, -torch.inf), -1, keepdim=True)
    beside = torch.where(beside == -torch.inf, -torch.inf, up - beside)  # alone, if nothing surely is
    joined = torch.where(beside == -torch.inf, 1, torch.sigmoid(beside).clamp(min=tiny))
    upper = torch.where(surely, most, torch.where(possibly, joined, 0))
    return Interval(torch.where(surely, least, 0), upper)


def _affine(call: Call, inputs: tuple[Interval, ...]) -> Relaxation:
    surely, _ = _masks(call, inputs)
    few, many = _scores(call, inputs)
    found, slot = _bound(call, inputs), call.slot("self")
    box = Interval(planes.outward(found.lower, LOWER), planes.outward(found.upper, UPPER))
    none: list[Diagonal | None] = [None] * len(call.shapes)
    if slot is None:
        return Relaxation(Affine(tuple(none), box.lower), Affine(tuple(none), box.upper))

    def side(plane: Affine, end: Tensor) -> Affine:
        terms = list(none)
        (term,) = plane.terms
        assert term is not None
        kept = Diagonal(surely.to(end.dtype), call.shape)
        terms[slot] = kept @ term  # type: ignore[call-overload]
        bias = torch.zeros_like(end) if plane.bias is None else plane.bias
        return Affine(tuple(terms), torch.where(surely, bias, end))

    return Relaxation(side(planes.softmax_lower(many), box.lower), side(planes.softmax_upper(few), box.upper))


def _accuracy(call: Call) -> Accuracy:
    """As with a constant mask."""
    return Accuracy(64 + 2 * call.shape[-1], "ends", underflows=False)


def _refuse(call: Call) -> str | None:
    return "a number has no scores to be kept among" if not call.shape else None


PERTURBED_MASK = General(("self", "keep"), _bound, _affine, refuse=_refuse, precision=_accuracy)
