"""Operators that the decompositions of this package are made of, each with a rule of its own.

They are composed of PyTorch's own operators, so that they run, differentiate, compile and `vmap` like
any function; capture keeps them whole because they have rules.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_LIBRARY = torch.library.Library("lirpa_nlp", "DEF")


def _define(schema: str, function: Callable[..., Tensor]) -> Any:
    """Define `lirpa_nlp::name` from its schema; returns the overload."""
    name = schema.partition("(")[0]
    _LIBRARY.define(schema)
    for key in ("CompositeImplicitAutograd", "FuncTorchBatchedDecomposition"):  # the latter for `vmap`
        _LIBRARY.impl(name, function, key)
    return getattr(torch.ops.lirpa_nlp, name).default


def _masked_softmax(self: Tensor, keep: Tensor) -> Tensor:
    none = (keep != 0).any(-1, keepdim=True).logical_not()
    scores = torch.where((keep != 0) | none, self, -math.inf)
    return torch.where(keep != 0, torch.softmax(scores, -1), 0)


#: `masked_softmax(scores, keep)`: softmax over the last dimension among the scores that are kept (`keep ≠ 0`,
#: broadcastable); zero for the others, and for all where none is kept.
masked_softmax = _define("masked_softmax(Tensor self, Tensor keep) -> Tensor", _masked_softmax)


def _sigmoid_tanh(self: Tensor, other: Tensor) -> Tensor:
    return torch.sigmoid(self) * torch.tanh(other)


def _sigmoid_mul(self: Tensor, other: Tensor) -> Tensor:
    return torch.sigmoid(self) * other


#: `σ(self)·tanh(other)`, with broadcasting.
sigmoid_tanh = _define("sigmoid_tanh(Tensor self, Tensor other) -> Tensor", _sigmoid_tanh)

#: `σ(self)·other`, with broadcasting.
sigmoid_mul = _define("sigmoid_mul(Tensor self, Tensor other) -> Tensor", _sigmoid_mul)


def _silu_mul(self: Tensor, other: Tensor) -> Tensor:
    return F.silu(self) * other


def _gelu_mul(self: Tensor, other: Tensor) -> Tensor:
    return F.gelu(self) * other


def _gelu_tanh_mul(self: Tensor, other: Tensor) -> Tensor:
    return F.gelu(self, approximate="tanh") * other


#: `silu(self)·other`, with broadcasting.
silu_mul = _define("silu_mul(Tensor self, Tensor other) -> Tensor", _silu_mul)

#: `gelu(self)·other`, with broadcasting; by the error function, and by the approximation with tanh.
gelu_mul = _define("gelu_mul(Tensor self, Tensor other) -> Tensor", _gelu_mul)
gelu_tanh_mul = _define("gelu_tanh_mul(Tensor self, Tensor other) -> Tensor", _gelu_tanh_mul)


def _softmax_weighted_sum(
    weights: Tensor, value: Tensor, scores: Tensor | None = None, keep: Tensor | None = None
) -> Tensor:
    return weights @ value


#: `softmax_weighted_sum(weights, value, scores, keep)`: `weights @ value`, where the rows of `weights` are probabilities: not negative,
#: with sum one, or zero throughout. `scores` are those that `weights` is a softmax of, over the last dimension and
#: among those that are kept, if need be in another shape. The rule relies on all that.
softmax_weighted_sum = _define(
    "softmax_weighted_sum(Tensor weights, Tensor value, Tensor? scores=None, Tensor? keep=None) -> Tensor",
    _softmax_weighted_sum,
)


def _gather_targets(self: Tensor, dim: int, index: Tensor) -> Tensor:
    return self.gather(dim, index.unsqueeze(dim)).squeeze(dim)


#: `gather_targets(self, dim, index)`: one element of each line along a dimension, as a loss reads its targets' scores.
gather_targets = _define("gather_targets(Tensor self, int dim, Tensor index) -> Tensor", _gather_targets)


def _normalized(self: Tensor, other: Tensor, dims: int, eps: float, centered: bool) -> Tensor:
    return self * other


#: `normalized(self, other, dims, eps, centered)`: `self · other`, where `other` is `1 / √(mean of self² + eps)` over
#: the last `dims` dimensions, and `self` sums to zero over them where `centered`. The rule relies on that.
normalized = _define(
    "normalized(Tensor self, Tensor other, int dims, float eps, bool centered) -> Tensor", _normalized
)


def _of_length(self: Tensor, other: Tensor, dims: int, eps: float, added: bool, centered: bool) -> Tensor:
    return self * other


#: `of_length(self, other, dims, eps, added, centered)`: `self · other`, where `other` is `1 / max(‖self‖₂, eps)`, or where `added`
#: `1 / (‖self‖₂ + eps)`, over the last `dims` dimensions, and `self` sums to zero over them where `centered`. The rule relies on that.
of_length = _define(
    "of_length(Tensor self, Tensor other, int dims, float eps, bool added, bool centered) -> Tensor",
    _of_length,
)


_SIDE = ", ".join(
    f"Tensor {side}_source, Tensor {side}_weight, Tensor? {side}_bias, int[] {side}_rows, int[] {side}_features, float {side}_scale"
    for side in ("left", "right")
)


def _projected_product(left: Tensor, right: Tensor, *projections: Any) -> Tensor:
    return left @ right


#: `projected_product(left, right, …)`: `left @ right`, where the rows of `left` and the columns of `right` are images of
#: rows of `*_source` under linear layers: `*_scale` times the features `*_features` of `weight @ row + bias`, for the
#: rows `*_rows` of the source. The rule relies on that.
projected_product = _define(
    f"projected_product(Tensor left, Tensor right, {_SIDE}) -> Tensor", _projected_product
)
