"""The operator `lirpa::among_topk`: which elements are among the `k` largest, or smallest, as a mask; and its rule.

`scores.scatter(dim, topk.indices, topk.values)`, as sparse mixtures of experts write it, is `where` with this mask: that way
bounds know that what is written somewhere is what was there (`lirpa_core.capture.order_masks`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.linear.rounding import Accuracy
from lirpa_core.operators.possible_ranks import possible_ranks
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.call import Call
from lirpa_core.rules.general import General


def _among_topk(self: Tensor, k: int, dim: int, largest: bool) -> Tensor:
    """Which elements `torch.topk` returns.

    Args:
        self: The elements.
        k: How many are returned.
        dim: The dimension.
        largest: Whether those are the largest ones.
    """
    places = self.topk(k, dim, largest).indices
    return torch.zeros_like(self, dtype=torch.bool).scatter(dim, places, True)


_LIBRARY = torch.library.Library("lirpa", "FRAGMENT")
_LIBRARY.define("among_topk(Tensor self, int k, int dim, bool largest) -> Tensor")
for _key in ("CompositeImplicitAutograd", "FuncTorchBatchedDecomposition"):  # the latter for `vmap`
    _LIBRARY.impl("among_topk", _among_topk, _key)


def _bound(call: Call, inputs: tuple[Interval, ...]) -> Interval:
    """An element is in if at most `k − 1` others may be before it, and may be if at most so many surely are."""
    (x,) = inputs
    dim = call["dim"] % len(call.shape) if call.shape else None
    lower, upper = ((e.unsqueeze(-1) if dim is None else e.movedim(dim + 1, -1)) for e in (x.lower, x.upper))
    ranks, n, k = possible_ranks(lower, upper), lower.shape[-1], call["k"]
    if call["largest"]:
        surely, possibly = ranks.least >= n - k, ranks.greatest >= n - k
    else:
        surely, possibly = ranks.greatest < k, ranks.least < k
    ends = (mask.to(lower.dtype) for mask in (surely, possibly))
    return Interval(*(end.squeeze(-1) if dim is None else end.movedim(-1, dim + 1) for end in ends))


def _affine(call: Call, inputs: tuple[Interval, ...]) -> Relaxation:
    box = _bound(call, inputs)
    return Relaxation(Affine((None,), box.lower), Affine((None,), box.upper))


AMONG_TOPK = General(("self",), _bound, _affine, precision=lambda call: Accuracy(4, "exact"))


def register(registry: OperatorRegistry) -> None:
    """Register this file's rule."""
    registry.register(torch.ops.lirpa.among_topk.default, AMONG_TOPK)
