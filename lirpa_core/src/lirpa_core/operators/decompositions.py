"""How composite operators fall apart: softmax, attention, normalisations, recurrent gates and losses.

What PyTorch's own decompositions do is right for values and wrong for bounds: softmax subtracts its
largest input, which is a perturbed number, to avoid an overflow. The forms here mention every
perturbed tensor as seldom as possible and branch on none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

import lirpa_core.operators.masked_softmax  # noqa: F401  (defines lirpa::masked_softmax)
from lirpa_core.errors import InputError, TrainingModeError
from lirpa_core.plugins import OperatorRegistry

aten = torch.ops.aten


# ---------------------------------------------------------------------- softmax


def softmax(self: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """`1 / Σⱼ exp(xⱼ − xᵢ)`: exact in interval arithmetic, one nonlinearity a pair of inputs."""
    return _softmax(self if dtype is None else self.to(dtype), dim)


def core_softmax(self: Tensor, dim: int, half_to_float: bool) -> Tensor:
    """Softmax as it stands in a graph of core operators."""
    return _softmax(self, dim)


def _softmax(x: Tensor, dim: int, keep: Tensor | None = None) -> Tensor:
    """Softmax over what is kept; zero elsewhere, and everywhere where nothing is kept.

    Args:
        x: The scores.
        dim: The dimension that sums to one.
        keep: 1 or 0, broadcastable to `x`, with `dim` the last dimension; default: all.
    """
    if x.dim() == 0:
        return torch.ones_like(x)
    x = x.movedim(dim, -1)
    n = x.shape[-1]
    other = 1 - torch.eye(n, dtype=x.dtype, device=x.device)
    # The difference of an element and itself is zero, which interval arithmetic does not know.
    differences = (x.unsqueeze(-2) - x.unsqueeze(-1)) * other  # [.., i, j]
    if keep is None:
        return torch.reciprocal(torch.exp(differences).sum(-1)).movedim(-1, dim)
    rows, columns = keep.unsqueeze(-1), keep.unsqueeze(-2)
    both = rows * columns * other
    # A dropped element gets the denominator 1, so that its reciprocal exists.
    terms = torch.exp(differences * both) * both
    probability = keep * torch.reciprocal(terms.sum(-1) + 1)
    return probability.movedim(-1, dim)


def log_softmax(self: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """`x − log Σ exp x`."""
    x = self if dtype is None else self.to(dtype)
    return x - torch.logsumexp(x, [dim], keepdim=True) if x.dim() else torch.zeros_like(x)


def core_log_softmax(self: Tensor, dim: int, half_to_float: bool) -> Tensor:
    """Logarithm of softmax as it stands in a graph of core operators."""
    return log_softmax(self, dim)


def masked_softmax(scores: Tensor, masked: Tensor, dim: int) -> Tensor:
    """Softmax of the scores that are not masked."""
    keep = torch.logical_not(masked).to(scores.dtype).expand(scores.shape)
    return _softmax(scores, dim, keep.movedim(dim, -1)) if scores.dim() else keep


# ---------------------------------------------------------------------- attention


class Scores(NamedTuple):
    """What a softmax in an attention reads, and what it weights.

    Attributes:
        scores: `Q Kᵀ · scale`, finite parts of an additive mask included.
        keep: 1 where a key takes part, 0 where a mask forbids it; None: all take part.
        value: The values, repeated for grouped queries.
    """

    scores: Tensor
    keep: Tensor | None
    value: Tensor


def attention_scores(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Scores:
    """The scores of scaled dot-product attention; what a mask forbids is left out rather than set to −∞.

    Raises:
        TrainingModeError: If the attention drops out.
        InputError: If the mask is neither boolean nor floating, or does not fit the scores.
    """
    if dropout_p > 0:
        raise TrainingModeError(
            f"scaled_dot_product_attention drops out with probability {dropout_p}, whatever the mode of the "
            "model. Pass dropout_p=0.0, or dropout_p=self.p if self.training else 0.0."
        )
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query * factor) @ key.transpose(-1, -2)
    keep: Tensor | None = None
    if is_causal:
        shape = (query.shape[-2], key.shape[-2])
        keep = torch.ones(shape, dtype=scores.dtype, device=scores.device).tril()
    if attn_mask is None:
        return Scores(scores, keep, value)
    _check_mask(attn_mask, scores)
    if attn_mask.dtype == torch.bool:
        allowed = attn_mask.to(scores.dtype)
    else:
        finite = attn_mask != -math.inf
        scores = scores + torch.where(finite, attn_mask, 0.0)
        allowed = finite.to(scores.dtype)
    return Scores(scores, allowed if keep is None else keep * allowed, value)


def _check_mask(mask: Tensor, scores: Tensor) -> None:
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise InputError(
            f"attn_mask has dtype {mask.dtype}; give a boolean mask (True: may attend) or a floating one that is "
            "added to the scores."
        )
    try:
        fits = torch.broadcast_shapes(mask.shape, scores.shape) == scores.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise InputError(
            f"attn_mask of shape {list(mask.shape)} does not broadcast to the scores' shape {list(scores.shape)}."
        )


def attention(*args: Any, **kwargs: Any) -> Tensor:
    """`softmax(Q Kᵀ · scale + mask) V`; arguments as in `attention_scores`."""
    scores, keep, value = attention_scores(*args, **kwargs)
    return _softmax(scores, -1, keep) @ value


# ---------------------------------------------------------------------- normalisations


#: `(x, 1/√(mean of x² + ε), number of dimensions, ε, whether x sums to zero) -> their product`.
Standardize: TypeAlias = Callable[[Tensor, Tensor, int, float, bool], Tensor]


def plain_product(x: Tensor, inverse: Tensor, dims: int, eps: float, centered: bool) -> Tensor:
    """The product as such."""
    return x * inverse


def layer_norm(
    input: Tensor,  # noqa: A002
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    *,
    standardize: Standardize = plain_product,
) -> tuple[Tensor, Tensor, Tensor]:
    """`(x − mean) / √(variance + ε) · weight + bias`, with the mean and the inverse deviation."""
    dims = list(range(input.dim() - len(normalized_shape), input.dim()))
    out, mean, inverse = _standardize(input, dims, eps, standardize)
    return _scale_and_shift(out, weight, bias), mean, inverse


def _standardize(
    x: Tensor, dims: list[int], eps: float, standardize: Standardize = plain_product
) -> tuple[Tensor, Tensor, Tensor]:
    mean = x.mean(dims, keepdim=True)
    centered = x - mean
    inverse = torch.rsqrt(torch.square(centered).mean(dims, keepdim=True) + eps)
    return standardize(centered, inverse, len(dims), eps, True), mean, inverse


def over_last(x: Tensor, dims: Sequence[int], function: Callable[[Tensor], Tensor]) -> Tensor:
    """A function of the last dimensions, applied to other ones.

    Args:
        x: Its operand.
        dims: Negative dimensions in ascending order; they come last, in this order, while the function is applied.
        function: The function, which keeps the shape.
    """
    last = list(range(-len(dims), 0))
    if list(dims) == last:
        return function(x)
    return function(x.movedim(list(dims), last)).movedim(last, list(dims))


def _scale_and_shift(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is not None:
        x = x * weight
    return x if bias is None else x + bias


def rms_norm(
    input: Tensor,  # noqa: A002
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
    *,
    standardize: Standardize = plain_product,
) -> Tensor:
    """`x / √(mean of x² + ε) · weight`."""
    count = len(normalized_shape)
    dims = list(range(input.dim() - count, input.dim()))
    eps = torch.finfo(input.dtype).eps if eps is None else eps
    inverse = torch.rsqrt(torch.square(input).mean(dims, keepdim=True) + eps)
    return _scale_and_shift(standardize(input, inverse, count, eps, False), weight, None)


def group_norm(
    input: Tensor,  # noqa: A002
    weight: Tensor | None,
    bias: Tensor | None,
    N: int,
    C: int,
    HxW: int,
    group: int,
    eps: float,
    *,
    standardize: Standardize = plain_product,
) -> tuple[Tensor, Tensor, Tensor]:
    """Each group of channels standardised, then scaled and shifted by channel."""
    grouped = input.reshape(N, group, C // group * HxW)
    out, mean, inverse = _standardize(grouped, [-1], eps, standardize)
    out = _by_channel(out.reshape(input.shape), weight, bias)
    return out, mean.squeeze(-1), inverse.squeeze(-1)


def _by_channel(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    shape = [1, -1] + [1] * (x.dim() - 2)
    scale = None if weight is None else weight.reshape(shape)
    return _scale_and_shift(x, scale, None if bias is None else bias.reshape(shape))


def batch_norm(
    input: Tensor,  # noqa: A002
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """With running statistics: one product and one sum, whose factors do not depend on the input."""
    scale = torch.rsqrt(running_var + eps)
    scale = scale if weight is None else scale * weight
    shift = -running_mean * scale
    shift = shift if bias is None else shift + bias
    empty = input.new_zeros([0])
    return _by_channel(input, scale, shift), empty, empty


def instance_norm(
    input: Tensor,  # noqa: A002
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    *,
    standardize: Standardize = plain_product,
) -> tuple[Tensor, Tensor, Tensor]:
    """Batch norm without running statistics, on an input whose examples became channels."""
    # The first dimension has one entry, unless examples share their statistics; then the graph is not that of the model.
    last = list(range(2 - input.dim(), 0))
    if input.shape[0] == 1 and last:
        out, mean, inverse = _standardize(input, last, eps, standardize)
    else:
        out, mean, inverse = _standardize(input, [0, *last], eps)
    return _by_channel(out, weight, bias), mean.flatten(), inverse.flatten()


# ---------------------------------------------------------------------- slopes drawn in training


def rrelu(
    self: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, generator: object = None
) -> Tensor:
    """In evaluation: a leaky ReLU with the slope in the middle of its range.

    Raises:
        TrainingModeError: In training, where slopes are drawn.
    """
    if training:
        raise TrainingModeError("rrelu draws random slopes in training mode. Call model.eval() first.")
    return torch.nn.functional.leaky_relu(self, (lower + upper) / 2)


def rrelu_with_noise(
    self: Tensor,
    noise: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    generator: object = None,
) -> tuple[Tensor, Tensor]:
    """As `rrelu`, with the noise that it does not use in evaluation."""
    return rrelu(self, lower, upper, training), noise


def register(registry: OperatorRegistry) -> None:
    """Register this file's decompositions."""
    for op, function in (
        (aten.softmax.int, softmax),
        (aten._softmax.default, core_softmax),
        (aten._safe_softmax.default, softmax),
        (aten.log_softmax.int, log_softmax),
        (aten._log_softmax.default, core_log_softmax),
        (torch.ops.lirpa.masked_softmax.default, masked_softmax),
        (aten.scaled_dot_product_attention.default, attention),
        (aten.native_layer_norm.default, layer_norm),
        (aten.rms_norm.default, rms_norm),
        (aten.native_group_norm.default, group_norm),
        (aten._native_batch_norm_legit_no_training.default, batch_norm),
        (aten._native_batch_norm_legit.no_stats, instance_norm),
        (aten.rrelu.default, rrelu),
        (aten.rrelu_with_noise_functional.default, rrelu_with_noise),
    ):
        registry.decompose(op, function)
