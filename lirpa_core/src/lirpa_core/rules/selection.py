"""Bounds of what is one of several elements, where a perturbed position or order says which: `Selection`.

Whichever it is, it lies between the least and the greatest of those that it may be. So the range is the hull of theirs,
the planes are those of the maximum and of the minimum over them, and where only one is left it is that one, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.graph import Shape
from lirpa_core.linear.infinite import separated
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import LinearOp, OpOfShapes
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.linear.rounding import Accuracy
from lirpa_core.rules.base import Rule
from lirpa_core.rules.call import Call, Const, Slot
from lirpa_core.rules.linear import refuse_because, refuse_slots_outside
from lirpa_core.rules.relaxations.maximum import maximum_planes


@dataclass(frozen=True, eq=False)
class Candidates:
    """Elements of one argument that elements of the output may be.

    Attributes:
        name: The argument: an operand, or a number.
        places: Positions in the flattened argument, `[*S, K]`, for all examples; no output has one twice.
        possible: Whether an output may be what is there, `[1 or B, *S, K]`.
    """

    name: str
    places: Tensor
    possible: Tensor


@dataclass(frozen=True, eq=False)
class WeightedPlaces(OpOfShapes):
    """Sums over chosen elements: `y_o = Σₖ weight[o, k] · x[places[o, k]]`.

    Attributes:
        weight: `[1 or B, *S_out, K]`.
        places: Positions in the flattened operand, `[*S_out, K]`; no output has one twice.
        shapes: Shapes of the operand and of the result.
    """

    weight: Tensor
    places: Tensor
    shapes: tuple[Shape, Shape]

    @property
    def fan_in(self) -> int:
        return self.places.shape[-1]

    @property
    def fan_out(self) -> int:
        return math.prod(self.out_shape)

    def apply(self, x: Tensor, lead: int = 1) -> Tensor:
        return self._times(self.weight, x, lead)

    def apply_abs(self, x: Tensor, lead: int = 1) -> Tensor:
        return self._times(self.weight.abs(), x, lead)

    def transpose(self, A: Tensor) -> Tensor:
        parts = (A.unsqueeze(-1) * self.weight).flatten(2)  # [R, B, m]
        zero = parts.new_zeros(*parts.shape[:2], math.prod(self.in_shape))
        return zero.index_add(2, self.places.flatten(), parts).reshape(*parts.shape[:2], *self.in_shape)

    def _times(self, weight: Tensor, x: Tensor, lead: int) -> Tensor:
        return (weight * _at(x.reshape(*x.shape[:lead], -1), self.places)).sum(-1)


def _at(flat: Tensor, places: Tensor) -> Tensor:
    """`[*L, B, n]` to `[*L, B, *S, K]`."""
    return flat.index_select(-1, places.flatten()).reshape(*flat.shape[:-1], *places.shape)


@dataclass(frozen=True)
class Selection(Rule):
    """Rule of an operator each of whose outputs is one of several elements.

    Attributes:
        over: Names of the arguments that may be perturbed.
        candidates: `(call, inputs) -> what outputs may be`; of every output at least one candidate is possible.
        outside: `(call, inputs) -> booleans [1 or B, *I]`: where a position may be none at all; None if that cannot be.
        position: `call -> slot` of the operand that `outside` is about.
        refuse: Says why a call cannot be bounded, or None.
    """

    over: tuple[str, ...]
    candidates: Callable[[Call, tuple[Interval, ...]], Sequence[Candidates]]
    outside: Callable[[Call, tuple[Interval, ...]], Tensor] | None = None
    position: Callable[[Call], int] | None = None
    refuse: Callable[[Call], str | None] | None = None

    def check(self, call: Call) -> None:
        """See `Rule.check`."""
        refuse_slots_outside(call, self.over)
        refuse_because(call, self.refuse)

    def accuracy(self, call: Call) -> Accuracy:
        """See `Rule.accuracy`: intervals are chosen, planes computed from two ends."""
        return Accuracy(64, "exact")

    def domain_violation(self, call: Call, inputs: tuple[Interval | None, ...]) -> Tensor | None:
        """See `Rule.domain_violation`."""
        return None if self.outside is None else self.outside(call, _known(inputs))

    def domain_slot(self, call: Call) -> int:
        """See `Rule.domain_slot`: the first position that is perturbed."""
        return 0 if self.position is None else self.position(call)

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        """See `Rule.interval`: the hull of what it may be."""
        lower, upper, possible = self._ends(call, inputs, self.candidates(call, inputs))
        low = torch.where(possible, lower, torch.inf).amin(-1)
        up = torch.where(possible, upper, -torch.inf).amax(-1)
        return self._within_domain(call, inputs, Interval(low, up))

    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        """See `Rule.relax`: see `maximum_planes`, over what it may be."""
        known = _known(inputs)
        candidates = self.candidates(call, known)
        lower, upper, possible = self._ends(call, known, candidates)
        over = maximum_planes(*(torch.where(possible, end, -torch.inf) for end in (lower, upper)))
        under = maximum_planes(*(torch.where(possible, -end, -torch.inf) for end in (upper, lower)))
        fallback = None
        if self.outside is not None:
            fallback = self._leaving(call, known)

        def side(weight: Tensor, bias: Tensor, end: float) -> Affine:
            terms: list[LinearOp | None] = [None] * len(call.shapes)
            weight = torch.where(possible, weight, 0)
            if fallback is not None:
                weight = torch.where(fallback.unsqueeze(-1), 0, weight)
            start = 0
            for one in candidates:
                here = weight[..., start : start + one.places.shape[-1]]
                start += one.places.shape[-1]
                value = call[one.name]
                if isinstance(value, Slot):
                    shapes = call.shapes[value.index], call.shape
                    term = WeightedPlaces(here, one.places, shapes)
                    old = terms[value.index]
                    terms[value.index] = term if old is None else old + term
                else:
                    fixed = _at(_flat(value, lower), one.places)
                    bias = bias + torch.where(here == 0, 0, here * fixed).sum(-1)  # it may be infinite
            if fallback is not None:
                bias = torch.where(fallback, end, bias)
            return Affine(tuple(terms), *separated(bias, call.infinite))

        return Relaxation(side(under.above, -under.bias, -torch.inf), side(over.above, over.bias, torch.inf))

    def _ends(
        self, call: Call, inputs: tuple[Interval, ...], candidates: Sequence[Candidates]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Ends of all candidates side by side, and whether they are possible: `[B, *S, K]` each."""
        lower, upper = [], []
        for one in candidates:
            value = call[one.name]
            if isinstance(value, Slot):
                box = inputs[value.index]
                ends = tuple([end.reshape(end.shape[0], -1) for end in (box.lower, box.upper)])
            else:
                ends = (_flat(value, inputs[0].lower),) * 2
            lower.append(_at(ends[0], one.places))
            upper.append(_at(ends[1], one.places))
        possible = [one.possible for one in candidates]
        batch = max(t.shape[0] for t in (*lower, *possible))
        low, up, able = (
            torch.cat([t.expand(batch, *t.shape[1:]) for t in parts], -1)
            for parts in (lower, upper, possible)
        )
        return low, up, able

    def _within_domain(self, call: Call, inputs: tuple[Interval, ...], found: Interval) -> Interval:
        if self.outside is None:
            return found
        leaving = self._leaving(call, inputs)
        return Interval(
            torch.where(leaving, -torch.inf, found.lower), torch.where(leaving, torch.inf, found.upper)
        )

    def _leaving(self, call: Call, inputs: tuple[Interval, ...]) -> Tensor:
        """In which examples a position may be none at all, `[1 or B, 1, ..]`."""
        assert self.outside is not None
        wrong = self.outside(call, inputs)
        return wrong.reshape(wrong.shape[0], -1).any(1).reshape(-1, *[1] * len(call.shape))


def _flat(value: Const | float, like: Tensor) -> Tensor:
    """A constant or a number, `[1 or B, n]` in the type of the bounds."""
    if isinstance(value, Const):
        return (
            (value.value if value.batched else value.value[None])
            .to(like.dtype)
            .reshape(value.value.shape[0] if value.batched else 1, -1)
        )
    return torch.full((1, 1), float(value), dtype=like.dtype, device=like.device)


def _known(inputs: tuple[Interval | None, ...]) -> tuple[Interval, ...]:
    return tuple([x for x in inputs if x is not None])


__all__ = ["Candidates", "Selection", "WeightedPlaces"]
