"""Positions as values: where the order of a line, or its largest element, lies. Bounds are the least and the greatest place.

What is looked up or written there is bounded by `perturbed_index`; by the order of other elements, `by_order`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.linear.rounding import Accuracy
from lirpa_core.operators.possible_ranks import possible_ranks
from lirpa_core.rules.base import Rule
from lirpa_core.rules.by_call import ByCall
from lirpa_core.rules.call import Call
from lirpa_core.rules.general import General

#: The dimension that is ordered, None for all elements as one line; and the ranks that are asked for.
Asked = Callable[[Call], tuple[int | None, list[int]]]


def positions(asked: Asked, refuse: Callable[[Call], str | None] | None = None) -> General:
    """Rule of an operator that says where elements of given ranks are.

    Args:
        asked: What it is asked for.
        refuse: See `General`.
    """

    def bound(call: Call, inputs: tuple[Interval, ...]) -> Interval:
        (x,) = inputs
        dim, ranks = asked(call)
        lower, upper = (_lines(end, dim) for end in (x.lower, x.upper))
        wanted = torch.tensor(ranks, device=lower.device)
        may = possible_ranks(lower, upper).may_have(wanted)  # [B, *lines, m, n]
        place = torch.arange(lower.shape[-1], dtype=lower.dtype, device=lower.device)
        first = torch.where(may, place, torch.inf).amin(-1)
        last = torch.where(may, place, -torch.inf).amax(-1)
        return Interval(*(_back(end, dim, call) for end in (first, last)))

    def affine(call: Call, inputs: tuple[Interval, ...]) -> Relaxation:
        box = bound(call, inputs)
        return Relaxation(Affine((None,), box.lower), Affine((None,), box.upper))

    return General(("self",), bound, affine, refuse=refuse, precision=lambda call: Accuracy(4, "exact"))


def with_positions(values: Rule, asked: Asked, refuse: Callable[[Call], str | None] | None = None) -> ByCall:
    """Rule of an operator whose second output says where the first lies.

    Args:
        values: The rule of the first one.
        asked: See `positions`.
        refuse: See `positions`.
    """
    return ByCall(values, positions(asked, refuse), lambda call: call.node.output == 1)


def _lines(x: Tensor, dim: int | None) -> Tensor:
    return x.reshape(x.shape[0], -1) if dim is None else x.movedim(dim + 1, -1)


def _back(x: Tensor, dim: int | None, call: Call) -> Tensor:
    moved = x if dim is None else x.movedim(-1, dim + 1)
    return moved.reshape(moved.shape[0], *call.shape)
