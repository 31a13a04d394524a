"""Checks of elements that are written to places: where several go to one, PyTorch leaves open which of them wins."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from lirpa_core.devices import is_traced
from lirpa_core.errors import UnsupportedOperandError
from lirpa_core.linear.shapes import broadcast_shapes
from lirpa_core.rules.call import Call, Const, Slot


def require_one_winner(call: Call) -> None:
    """Refuse a call that writes different elements to one place; not while `torch.compile` traces.

    Args:
        call: `scatter(self, dim, index, src)` or `index_put(self, indices, values)`; what adds up is left alone.

    Raises:
        UnsupportedOperandError: Naming the node, and the place.
    """
    if is_traced() or call.arguments.get("accumulate") or call.arguments.get("reduce") is not None:
        return
    name = "src" if "src" in call.arguments else "values"
    if name not in call.arguments:
        return  # one number for all places
    for to, source in _written(call, name):
        place = _contested(to.flatten(), source.flatten())
        if place is not None:
            shape = _shape(call, "self")
            raise UnsupportedOperandError(
                f"{call}: several elements are written to the place {list(map(int, torch.unravel_index(place, shape)))}, and "
                "which of them wins PyTorch leaves open (it may be another one on a GPU, or with more threads). Write to every "
                "place once; or say how elements of one place are combined: torch.scatter_add, torch.scatter_reduce, "
                "index_put_(..., accumulate=True)."
            )


def _written(call: Call, name: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Where elements go, and which they are, or the numbers themselves where these are known; for every example that differs."""
    examples = call.batch if call.has_batched_constants else 1
    places = torch.arange(math.prod(_shape(call, "self")), device=call.device).reshape(_shape(call, "self"))
    given = call[name]
    for i in range(examples):
        if isinstance(given, Const):
            source = _example(given, i)
        else:
            source = torch.arange(math.prod(_shape(call, name)), device=call.device).reshape(
                _shape(call, name)
            )
        if "indices" in call.arguments:
            indices = [None if v is None else _example(v, i) for v in call["indices"]]
            to = torch.ops.aten.index.Tensor(places, indices)
            yield to, source.expand(broadcast_shapes(to.shape, source.shape))
            continue
        index = _example(call["index"], i)
        if index.dim() == 0:
            return
        yield places.gather(call["dim"], index), source[tuple([slice(n) for n in index.shape])]


def _contested(to: Tensor, source: Tensor) -> Tensor | None:
    """A place to which different elements go; None: there is none."""
    order = to.argsort()
    to, source = to[order], source[order]
    wrong = (to[1:] == to[:-1]) & (source[1:] != source[:-1])
    return to[1:][wrong][0] if bool(wrong.any()) else None


def _example(value: Const, i: int) -> Tensor:
    return value.value[i if value.value.shape[0] > 1 else 0] if value.batched else value.value


def _shape(call: Call, name: str) -> tuple[int, ...]:
    value = call[name]
    if isinstance(value, Slot):
        return call.shapes[value.index]
    return tuple(_example(value, 0).shape)
