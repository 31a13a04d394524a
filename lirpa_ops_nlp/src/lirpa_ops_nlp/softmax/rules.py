"""Rules of softmax, masked softmax and log-softmax."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from lirpa_core.linear import Accuracy, Interval, Relaxation
from lirpa_core.linear.operators import align
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules import ByCall, Call, Const, General, Slope
from lirpa_ops_nlp.operators import masked_softmax
from lirpa_ops_nlp.softmax import planes
from lirpa_ops_nlp.softmax.perturbed_mask import PERTURBED_MASK, is_perturbed
from lirpa_ops_nlp.softmax.scores import Scores

aten = torch.ops.aten


def scores_of(call: Call, box: Interval) -> Scores:
    """The box of a call's scores, a vector where the operand is a single number."""
    rank = max(len(call.shape), 1)
    lower, upper = (end if call.shape else end.unsqueeze(-1) for end in (box.lower, box.upper))
    return Scores.of(lower, upper, _keep(call), int(call.arguments.get("dim", -1)) % rank - rank)


def _keep(call: Call) -> Tensor | None:
    keep = call.arguments.get("keep")
    if not isinstance(keep, Const):
        return None
    value = keep.value != 0
    return align(value if keep.batched else value[None], 1, len(call.shape))


def softmax_interval(call: Call, inputs: tuple[Interval, ...]) -> Interval:
    """The exact range of every element: its own score at one end, all others at the other."""
    scores = scores_of(call, inputs[0])
    low, up = scores.advantage
    fixed, tiny = scores.alone.to(low.dtype), torch.finfo(low.dtype).tiny
    # A score of any size has a probability, and numbers below the normal ones are not rounded relative to their size.
    least = torch.sigmoid(low)
    lower = torch.where(scores.live, torch.where(least < tiny, 0, least), fixed)
    above_zero = torch.sigmoid(up).clamp(min=tiny)
    upper = torch.where(scores.live, above_zero, fixed)
    return Interval(lower.reshape(-1, *call.shape), upper.reshape(-1, *call.shape))


def log_softmax_interval(call: Call, inputs: tuple[Interval, ...]) -> Interval:
    """The logarithm of softmax's exact range, without a detour through numbers that underflow."""
    scores = scores_of(call, inputs[0])
    low, up = scores.advantage
    fixed = torch.where(scores.alone, 0.0, -math.inf).to(low.dtype)
    tiny = torch.finfo(low.dtype).tiny
    below_zero = F.logsigmoid(low).clamp(max=-tiny)  # no probability of several is one
    most = F.logsigmoid(up)
    lower = torch.where(scores.live, below_zero, fixed)
    upper = torch.where(scores.live, torch.where(most > -tiny, 0, most), fixed)
    return Interval(lower.reshape(-1, *call.shape), upper.reshape(-1, *call.shape))


def softmax_planes(call: Call, inputs: tuple[Interval, ...]) -> Relaxation:
    """See `planes`."""
    scores = scores_of(call, inputs[0])
    return Relaxation(planes.softmax_lower(scores), planes.softmax_upper(scores))


def softmax_choices(call: Call, inputs: tuple[Interval, ...]) -> tuple[Slope, ...]:
    """See `planes.softmax_choices`."""
    return planes.softmax_choices(scores_of(call, inputs[0]))


def softmax_planes_with(call: Call, inputs: tuple[Interval, ...], slopes: Sequence[Tensor]) -> Relaxation:
    """See `planes`."""
    scores = scores_of(call, inputs[0])
    return Relaxation(planes.softmax_lower(scores, slopes[0]), planes.softmax_upper(scores, slopes[1:]))


def log_softmax_planes(call: Call, inputs: tuple[Interval, ...]) -> Relaxation:
    """See `planes`."""
    scores = scores_of(call, inputs[0])
    absent: Tensor | None = None
    if call.infinite:  # a score that is −∞ has a logarithm of −∞
        absent = torch.where(scores.live | scores.alone, 0, torch.full_like(scores.lower, -math.inf))
    return Relaxation(planes.log_softmax_lower(scores, absent), planes.log_softmax_upper(scores, absent))


def unstable_inputs(call: Call, inputs: tuple[Interval, ...]) -> tuple[Tensor | None, ...]:
    """Scores that move, and take part."""
    (x,) = inputs
    if not call.shape:
        return (None,)
    return (scores_of(call, x).live & (x.upper > x.lower),)


def refuse(call: Call) -> str | None:
    """Scores in another precision than the result, and numbers that are no vector."""
    if not call.shape:
        return "softmax of a single number is one; leave it out"
    given, own = (call.dtypes or (call.node.dtype,))[0], call.node.dtype
    if given != own:
        return f"it converts {given} to {own} on the way; call .to({own}) on the scores before it"
    return None


def _accuracy(call: Call) -> Accuracy:
    """Scores enter as differences of ends, and their exponentials are positive."""
    return Accuracy(64 + call.shapes[0][int(call.arguments.get("dim", -1))], "ends", underflows=False)


def _accuracy_of_logarithm(call: Call) -> Accuracy:
    """Planes take the logarithm of a sum of exponentials the largest of which is one."""
    return replace(_accuracy(call), unit=True)


SOFTMAX = General(
    ("self",), softmax_interval, softmax_planes, unstable_inputs, refuse, _accuracy,
    choices=softmax_choices, affine_with=softmax_planes_with, continuous=True,
)  # fmt: skip
LOG_SOFTMAX = General(
    ("self",),
    log_softmax_interval,
    log_softmax_planes,
    unstable_inputs,
    refuse,
    _accuracy_of_logarithm,
    continuous=True,
)


def register(registry: OperatorRegistry) -> None:
    """Register this file's rules."""
    for op in (aten.softmax.int, aten._softmax.default, aten._safe_softmax.default):
        registry.register(op, SOFTMAX)
    registry.register(masked_softmax, ByCall(SOFTMAX, PERTURBED_MASK, is_perturbed))
    registry.register(aten.log_softmax.int, LOG_SOFTMAX)
    registry.register(aten._log_softmax.default, LOG_SOFTMAX)
