"""Look-ups at positions, and writing to positions, that a perturbation moves: an output is one of what it may be.

A position is a whole number between its bounds; `Selection` says what follows. What lies outside of the dimension is
refused. Which of several elements wins that are written to one place PyTorch leaves open; here it may be any.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from torch import Tensor

from lirpa_core.graph import Shape
from lirpa_core.linear.interval import Interval
from lirpa_core.rules.by_call import ByCall
from lirpa_core.rules.call import Call, Const, Slot
from lirpa_core.rules.linear import Linear
from lirpa_core.rules.selection import Candidates, Selection

aten = torch.ops.aten

#: Combinations of several perturbed indices that are looked at.
_MOST = 4096


def whole(box: Interval) -> tuple[Tensor, Tensor]:
    """The least and the greatest whole number between bounds, `[B, *I]` each."""
    return box.lower.ceil(), box.upper.floor()


def _index(call: Call, inputs: tuple[Interval, ...]) -> tuple[Tensor, Tensor]:
    return whole(inputs[call["index"].index])


def _shape(call: Call, name: str) -> Shape:
    value = call[name]
    if isinstance(value, Slot):
        return call.shapes[value.index]
    given: Const = value
    return tuple(given.value.shape[1:] if given.batched else given.value.shape)


def _moves(call: Call) -> bool:
    return call.slot("index") is not None


def _position(call: Call) -> int:
    return int(call["index"].index)


def _length(call: Call) -> int:
    """Size of the dimension along which a call looks up or writes; a number is one element."""
    shape = _shape(call, "self")
    return shape[call["dim"] % len(shape)] if shape else 1


def _outside(call: Call, inputs: tuple[Interval, ...]) -> Tensor:
    low, up = _index(call, inputs)
    return (low < 0) | (up >= _length(call))


# ---------------------------------------------------------------------- look-ups


def _gathered(call: Call, inputs: tuple[Interval, ...]) -> tuple[Candidates, ...]:
    """`gather`: every element of the line."""
    shape, low_up = _shape(call, "self") or (1,), _index(call, inputs)
    out = call.shape or (1,)
    dim = call["dim"] % len(shape)
    numbers = torch.arange(math.prod(shape), device=call.device).reshape(shape)
    for d, size in enumerate(out):
        if d != dim:
            numbers = numbers.narrow(d, 0, size)
    places = numbers.movedim(dim, -1).unsqueeze(dim).expand(*out, shape[dim]).reshape(*call.shape, -1)
    return (Candidates("self", places, _between(*low_up, shape[dim])),)


def _between(low: Tensor, up: Tensor, count: int) -> Tensor:
    """Which of `0 .. count − 1` lie between two numbers, `[*, count]`."""
    k = torch.arange(count, device=low.device)
    return (low.unsqueeze(-1) <= k) & (k <= up.unsqueeze(-1))


def _selected(call: Call, inputs: tuple[Interval, ...]) -> tuple[Candidates, ...]:
    """`index_select`: every element along the dimension, as many times as there are indices."""
    shape = _shape(call, "self") or (1,)
    dim = call["dim"] % len(shape)
    count = math.prod(_shape(call, "index"))
    out = (*shape[:dim], count, *shape[dim + 1 :])
    numbers = torch.arange(math.prod(shape), device=call.device).reshape(shape)
    places = numbers.movedim(dim, -1).unsqueeze(dim).expand(*out, shape[dim])
    possible = _between(*_index(call, inputs), shape[dim])  # [B, *I, n]
    possible = possible.reshape(-1, *[1] * dim, count, *[1] * (len(shape) - dim - 1), shape[dim])
    possible = possible.expand(-1, *places.shape)
    return (
        Candidates(
            "self",
            places.reshape(*call.shape, -1),
            possible.reshape(possible.shape[0], *call.shape, shape[dim]),
        ),
    )


# ---------------------------------------------------------------------- several indices


def _any_index_moves(call: Call) -> bool:
    return any(isinstance(v, Slot) for v in call["indices"])


def _refuse_indices(call: Call) -> str | None:
    given = call["indices"]
    if any(isinstance(v, Const) and v.batched for v in given):
        return "one index is perturbed and another one differs between examples; gather along one dimension at a time"
    if any(isinstance(v, Const) and v.value.dtype == torch.bool for v in given):
        return "one index is perturbed and another one is a mask; write the mask as positions, mask.nonzero()"
    sizes = [_shape(call, "self")[d] for d, v in enumerate(given) if isinstance(v, Slot)]
    if math.prod(sizes) > _MOST:
        return f"{math.prod(sizes)} elements could be meant, more than the {_MOST} that are looked at"
    return None


def _indexed(call: Call, inputs: tuple[Interval, ...]) -> tuple[Candidates, ...]:
    """`x[i, j]`: every element that the perturbed indices may mean; negative ones count from the end."""
    shape, given = _shape(call, "self"), call["indices"]
    numbers = torch.arange(math.prod(shape), device=call.device).reshape(shape)
    moving = [d for d, v in enumerate(given) if isinstance(v, Slot)]
    possible: Tensor | None = None
    for position, d in enumerate(moving):
        inner = call.shapes[given[d].index]
        low, up = whole(inputs[given[d].index])
        at = _between(low, up, shape[d]) | _between(low + shape[d], up + shape[d], shape[d])  # [B, *I, n]
        which = _read(_numbered(shape, d, math.prod(inner)), call, {d: _counting(inner, call)})
        at = at.reshape(at.shape[0], -1, shape[d])[:, which.flatten()].reshape(at.shape[0], *call.shape, -1)
        later = math.prod([shape[e] for e in moving[position + 1 :]])
        earlier = math.prod([shape[e] for e in moving[:position]])
        at = at.repeat_interleave(later, -1).repeat(*[1] * (at.dim() - 1), earlier)
        possible = at if possible is None else possible & at
    assert possible is not None
    choices = itertools.product(*[range(shape[d]) for d in moving])
    places = [_read(numbers, call, dict(zip(moving, choice, strict=True))) for choice in choices]
    return (Candidates("self", torch.stack(places, -1), possible),)


def _numbered(shape: Shape, dim: int, count: int) -> Tensor:
    """The position along a dimension that has another size, for every element."""
    sizes = [*shape[:dim], count, *shape[dim + 1 :]]
    return torch.arange(count).reshape(-1, *[1] * (len(shape) - dim - 1)).expand(sizes)


def _counting(shape: Shape, call: Call) -> Tensor:
    return torch.arange(math.prod(shape), device=call.device).reshape(shape)


def _read(numbers: Tensor, call: Call, instead: dict[int, Any]) -> Tensor:
    """What the call reads from `numbers`, with some indices replaced, by zeros where nothing is said."""
    indices: list[Tensor | None] = []
    for d, value in enumerate(call["indices"]):
        if isinstance(value, Slot):
            index = instead.get(d, 0)
            if not isinstance(index, Tensor):
                index = torch.full(call.shapes[value.index], index, device=call.device)
            indices.append(index)
        else:
            indices.append(None if value is None else value.value)
    found: Tensor = aten.index.Tensor(numbers.to(call.device), indices)
    return found


def _first_moving(call: Call) -> int:
    return next(v.index for v in call["indices"] if isinstance(v, Slot))


def _outside_of_any(call: Call, inputs: tuple[Interval, ...]) -> Tensor:
    """In the shape of the first index, where it or another one of that example may be none."""
    shape, others = _shape(call, "self"), torch.zeros(1, dtype=torch.bool, device=call.device)
    first = inputs[_first_moving(call)]
    found = torch.zeros_like(first.lower, dtype=torch.bool)
    for d, value in enumerate(call["indices"]):
        if isinstance(value, Slot):
            low, up = whole(inputs[value.index])
            wrong = (low < -shape[d]) | (up >= shape[d])
            if value.index == _first_moving(call):
                found = wrong
            else:
                others = others | wrong.reshape(wrong.shape[0], -1).any(1)
    return found | others.reshape(-1, *[1] * (found.dim() - 1))


# ---------------------------------------------------------------------- writing


def _written(call: Call, inputs: tuple[Interval, ...]) -> tuple[Candidates, ...]:
    """`scatter`: what was there, unless something is surely written to it, and all that may be written to it."""
    shape = _shape(call, "self") or (1,)
    dim = call["dim"] % len(shape)
    low, up = _index(call, inputs)
    given = call.shapes[call["index"].index] or (1,)
    low, up = (end.reshape(end.shape[0], *given).movedim(dim + 1, -1) for end in (low, up))  # [B, *others, m]
    k = torch.arange(shape[dim], device=call.device).unsqueeze(-1)
    possibly = (low.unsqueeze(-2) <= k) & (k <= up.unsqueeze(-2))  # [B, *others, n, m]
    surely = possibly & (low == up).unsqueeze(-2)
    others = (*shape[:dim], *shape[dim + 1 :])
    reached = [slice(0, size) for d, size in enumerate(given) if d != dim]

    def spread(mask: Tensor) -> Tensor:
        whole_line = mask.new_zeros(mask.shape[0], *others, *mask.shape[-2:])
        whole_line[(slice(None), *reached)] = mask
        return whole_line.movedim(-2, dim + 1)  # [B, *S, m]

    possibly, surely = spread(possibly), spread(surely)
    numbers = torch.arange(math.prod(shape), device=call.device).reshape(*call.shape, 1)
    kept = ~surely.any(-1, keepdim=True)
    own = Candidates("self", numbers, kept.reshape(kept.shape[0], *call.shape, 1))
    m = given[dim]
    possibly = possibly.reshape(possibly.shape[0], *call.shape, m)
    if "src" not in call.arguments:
        value = Candidates("value", torch.zeros_like(numbers), possibly.any(-1, keepdim=True))
        return own, value
    source = _shape(call, "src") or (1,)
    places = torch.arange(math.prod(source), device=call.device).reshape(source)
    places = places[tuple([slice(0, size) for size in given])].movedim(dim, -1)  # [*others, m]
    lines = places.new_zeros(*others, m)
    lines[tuple(reached)] = places
    lines = lines.unsqueeze(dim).expand(*shape, m)
    return own, Candidates("src", lines.reshape(*call.shape, m), possibly)


def _refuse_reduction(call: Call) -> str | None:
    if call.arguments.get("reduce") is not None:
        return "what is written to one place is combined, and the places are perturbed; there is no rule for that"
    return None


# ---------------------------------------------------------------------- rules


def looked_up(rule: Linear) -> ByCall:
    """A rule of `gather`, with that of constant positions."""
    return ByCall(rule, Selection(("self", "index"), _gathered, _outside, _position), _moves)


def selected(rule: Linear) -> ByCall:
    """A rule of `index_select`, with that of constant positions."""
    return ByCall(rule, Selection(("self", "index"), _selected, _outside, _position), _moves)


def indexed(rule: Linear) -> ByCall:
    """A rule of `x[i, j]`, with that of constant positions."""
    moving = Selection(("self", "indices"), _indexed, _outside_of_any, _first_moving, _refuse_indices)
    return ByCall(rule, moving, _any_index_moves)


def written(rule: Linear, source: str) -> ByCall:
    """A rule of `scatter`, with that of constant positions.

    Args:
        rule: That one.
        source: The argument that is written.
    """
    moving = Selection(("self", "index", source), _written, _outside, _position, _refuse_reduction)
    return ByCall(rule, moving, _moves)
