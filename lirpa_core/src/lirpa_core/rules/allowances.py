"""What a kernel of the model's own floating-point type may be off by, by operator.

Sums of products may be taken in any order, with or without fused multiply-add, by any number of threads: they are off by
at most `γ_n Σ|terms|` (Higham 2002, *Accuracy and Stability of Numerical Algorithms*, sec. 3.1). Elementwise functions
are off by a few units of the last digit of their result; PyTorch's own code, SLEEF's, MKL's and CUDA's documented errors
stay below half of what is allowed here. Those that cancel are off by a few units of what cancels. `tests/rounding` tries
all of them against a wider type.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from lirpa_core.errors import UnsupportedOperandError
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import align
from lirpa_core.linear.rounding import gamma
from lirpa_core.linear.shapes import broadcast_shapes
from lirpa_core.rules.call import Call, Const, Slot
from lirpa_core.rules.evaluated import EXACT, absolute_call, operator_name

#: `(call, boxes of the slots, box of the exact result, roundoff) -> (below, above)`, `[B, *S]` or broadcastable: how far
#: what is executed may be below the lower end, and above the upper one. The larger one holds in all of the box.
Allowance: TypeAlias = Callable[[Call, tuple[Interval, ...], Interval, float], tuple[Tensor, Tensor]]

#: Units of roundoff of an elementary function.
_ULPS = 16


def exact(call: Call, inputs: tuple[Interval, ...], found: Interval, u: float) -> tuple[Tensor, Tensor]:
    """The allowance of a kernel that does not round."""
    nothing = torch.zeros_like(found.lower)
    return nothing, nothing


def relative(units: float) -> Allowance:
    """The allowance of a kernel that is off by so many units of roundoff of its result's own size: signs stay."""

    def allowance(
        call: Call, inputs: tuple[Interval, ...], found: Interval, u: float
    ) -> tuple[Tensor, Tensor]:
        return units * u * found.lower.abs(), units * u * found.upper.abs()

    return allowance


def _largest(x: Interval) -> Tensor:
    return x.lower.abs().maximum(x.upper.abs())


def _and(units: float, extra: Callable[[Call, tuple[Interval, ...], Interval], Tensor | float]) -> Allowance:
    """Units of the result's size, and of what cancels on the way."""

    def allowance(
        call: Call, inputs: tuple[Interval, ...], found: Interval, u: float
    ) -> tuple[Tensor, Tensor]:
        off = units * u * (_largest(found) + extra(call, inputs, found))
        return off, off

    return allowance


def _operand(call: Call, inputs: tuple[Interval, ...], found: Interval) -> Tensor:
    """What cancels in an operand times a gate; farther out the gate is 0 or 1."""
    return align(_largest(inputs[0]), 1, len(call.shape)).clamp(max=16.0)


def _softplus(call: Call, inputs: tuple[Interval, ...], found: Interval, u: float) -> tuple[Tensor, Tensor]:
    """Above a threshold PyTorch returns the operand: off by `exp(-threshold) / beta` at most."""
    beta, threshold = float(call["beta"]), float(call["threshold"])
    if not beta > 0:
        raise UnsupportedOperandError(f"{call}: softplus with beta={beta} has no known error.")
    off = _ULPS * u * _largest(found) + 1.01 * math.exp(-threshold) / beta
    return off, off


def _power(call: Call, inputs: tuple[Interval, ...], found: Interval, u: float) -> tuple[Tensor, Tensor]:
    exponent, own = call["exponent"], call.node.dtype
    if isinstance(exponent, Const):
        exponent = exponent.value
    kept = torch.as_tensor(0.0 if isinstance(exponent, Slot) else exponent, dtype=torch.float64)
    if bool((kept.to(own).double() != kept).any()):
        raise UnsupportedOperandError(f"{call}: the exponent {exponent!r} is no number of {own}.")
    return relative(_ULPS)(call, inputs, found, u)


def _sum_over(terms: Callable[[Call], int]) -> Allowance:
    """Sums of products. Where no term is negative, the error is relative to the sum, and zero stays the least."""

    def allowance(
        call: Call, inputs: tuple[Interval, ...], found: Interval, u: float
    ) -> tuple[Tensor, Tensor]:
        absolute = absolute_call(call)
        total = absolute.evaluate([_largest(x) for x in inputs])  # Σ|terms|, `[B, *S]`
        factor = gamma(terms(call) + 2, call.node.dtype)
        factor = factor * (1 + 4 * factor)
        if not math.isfinite(factor):
            return torch.full_like(total, math.inf), torch.full_like(total, math.inf)
        # A sum of absolute values that overflows may do so in any order of summation.
        total = torch.where(total <= torch.finfo(total.dtype).max / 2, total, math.inf)
        below = above = factor * total
        if len(inputs) == 1 and _has_no_weights(call):
            negative, positive = (
                absolute.evaluate([torch.relu(s)]) for s in (-inputs[0].lower, inputs[0].upper)
            )
            below = torch.where(negative == 0, factor * found.lower.abs(), below)
            above = torch.where(positive == 0, factor * found.upper.abs(), above)
        return below, above

    return allowance


def _has_no_weights(call: Call) -> bool:
    return not call.constants


def _shape(call: Call, name: str) -> tuple[int, ...]:
    """Shape of one example of an argument."""
    value = call[name]
    if isinstance(value, Slot):
        return call.shapes[value.index]
    assert isinstance(value, Const)
    return tuple(value.value.shape[1:] if value.batched else value.value.shape)


def _last_of(name: str) -> Callable[[Call], int]:
    return lambda call: (_shape(call, name) or (1,))[-1]


def _window(call: Call) -> int:
    """Products behind one output of a convolution."""
    weight = _shape(call, "weight")
    transposed = operator_name(call.node.target).startswith("conv_transpose") or call.arguments.get(
        "transposed"
    )
    return math.prod(weight) // weight[1] if transposed else math.prod(weight[1:])


def _reduced(call: Call) -> int:
    return math.prod(_shape(call, "self")) // max(1, math.prod(call.shape))


def _pooled(call: Call) -> int:
    """Elements of a pooling window."""
    size = call.arguments.get("kernel_size")
    rank = int(operator_name(call.node.target)[-2])
    if size is not None:
        sizes = tuple(size) if isinstance(size, Sequence) else (size,)
        return math.prod(sizes * (rank if len(sizes) == 1 else 1))
    into, out = _shape(call, "self")[-rank:], call.shape[-rank:]
    return math.prod([-(-n // m) + 1 for n, m in zip(into, out, strict=True)])


def _put(call: Call, inputs: tuple[Interval, ...], found: Interval, u: float) -> tuple[Tensor, Tensor]:
    """Elements that are put into others are chosen; where they are added they are terms of a sum, in any order."""
    if call.arguments.get("reduce") is not None:
        raise UnsupportedOperandError(f"{call} reduces in an order that is not known.")
    if not call.arguments.get("accumulate"):
        return exact(call, inputs, found, u)
    places = [v.value for v in call["indices"] if isinstance(v, Const)]
    shapes = [(v.numel(),) if v.dtype == torch.bool else tuple(v.shape) for v in places]
    return _sum_over(lambda call: 1 + math.prod(broadcast_shapes(*shapes)))(call, inputs, found, u)


def _scattered(call: Call) -> int:
    dim: int = call["dim"]
    return 1 + _shape(call, "src")[dim]


def _interpolated(steep: float) -> Allowance:
    """A continuous function of places that are computed, between elements of a line: off by `n` units, `n` its length.

    A place is off by a few units of the line's length, for the kernel as for the rule's matrix. What is interpolated
    changes between neighbours at a rate of at most so many of the largest element.
    """

    def allowance(
        call: Call, inputs: tuple[Interval, ...], found: Interval, u: float
    ) -> tuple[Tensor, Tensor]:
        rank = len(call.shape) - 2
        longest = max(*call.shapes[0][-rank:], *call.shape[-rank:])
        size = _largest(inputs[0]).flatten(-rank).amax(-1).reshape(-1, *call.shape[:-rank], *[1] * rank)
        off = steep * rank * (longest + 16) * u * size
        return off, off

    return allowance


def _summed(call: Call, inputs: tuple[Interval, ...], found: Interval, u: float) -> tuple[Tensor, Tensor]:
    """Sums of two: relative to their operands, so that a difference inside of a fused kernel is among it."""
    alpha = abs(call.arguments.get("alpha", 1))
    total = torch.zeros_like(found.lower)
    nonnegative = torch.ones_like(found.lower, dtype=torch.bool)
    name_of_scaled = "self" if operator_name(call.node.target) == "rsub" else "other"
    plain = operator_name(call.node.target) == "add" and call.arguments.get("alpha", 1) >= 0
    for name in ("self", "other"):
        value, scale = call[name], alpha if name == name_of_scaled else 1
        if isinstance(value, Slot):
            box = inputs[value.index]
            size, least = (align(x, 1, len(call.shape)) for x in (_largest(box), box.lower))
        elif isinstance(value, Const):
            given = value.value if value.batched else value.value[None]
            least = align(given, 1, len(call.shape))
            size = least.abs()
        else:
            least = torch.as_tensor(float(value), dtype=total.dtype, device=total.device)
            size = least.abs()
        total = total + scale * size
        nonnegative = nonnegative & (least >= 0)
    if not plain:
        nonnegative = torch.zeros_like(nonnegative)
    off = 4 * u * total
    return torch.where(nonnegative, 4 * u * found.lower.abs(), off), off


def _softmax(call: Call, inputs: tuple[Interval, ...], found: Interval, u: float) -> tuple[Tensor, Tensor]:
    """Exponentials of differences of scores, possibly rescaled block by block, over their sum."""
    units = _exponential_units(call, inputs, u)
    return units * found.lower.abs(), units * found.upper.abs()


def _log_softmax(
    call: Call, inputs: tuple[Interval, ...], found: Interval, u: float
) -> tuple[Tensor, Tensor]:
    off = _exponential_units(call, inputs, u) + _ULPS * u * _largest(found)
    return off, off


def _running_log(
    call: Call, inputs: tuple[Interval, ...], found: Interval, u: float
) -> tuple[Tensor, Tensor]:
    """Logarithms of sums of two exponentials, each computed from the one before."""
    dim = call["dim"] if call["dim"] < 0 else call["dim"] - len(call.shape)
    n = call.shape[dim]
    size = torch.where(_largest(inputs[0]).isfinite(), _largest(inputs[0]), 0)
    off = n * (_ULPS + 8 * (size.amax(dim, keepdim=True) + math.log(n))) * u
    return off, off


def _exponential_units(call: Call, inputs: tuple[Interval, ...], u: float) -> Tensor:
    """The relative error of a sum of exponentials of scores less their largest one, `[B, *S]` broadcastable."""
    given = call.arguments.get("dim", -1)
    dims = list(given) if isinstance(given, Sequence) else [given]
    scores = inputs[0]
    finite = torch.where(_largest(scores).isfinite(), _largest(scores), 0)  # what is masked is exactly zero
    rank = len(call.shapes[0])
    dims = [d if d < 0 else d - rank for d in dims]
    n = math.prod([call.shapes[0][d] for d in dims])
    keep = len(call.shape) == rank
    exponent = (_ULPS + 4 * n + 8 * finite.amax(dims, keepdim=keep)) * u
    return torch.expm1(exponent)


#: The last one is what they are decomposed to.
CONVOLUTIONS = (
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution",
)  # fmt: skip
#: Sums of products that PyTorch's switches for reduced precision are about, besides convolutions.
PRODUCTS = ("linear", "mm", "bmm", "matmul", "mv", "dot")
_AVERAGES = (
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
    "_adaptive_avg_pool2d", "_adaptive_avg_pool3d",
)  # fmt: skip
_RELATIVE = (
    "mul square exp exp2 expm1 tanh sigmoid sqrt rsqrt reciprocal leaky_relu prelu _prelu_kernel clamp clamp_min clamp_max "
    "hardtanh relu6 silu where log log2 log10 log1p sin cos atan asin sinh cosh tan asinh hardsigmoid "
    "hardswish mish atan2 special_entr"
)

#: Operators that are executed exactly: `as_executed` knows its error itself.
EXECUTED_EXACTLY = EXACT | {
    "as_executed", "embedding", "pad", "unfold", "expand_copy", "_upsample_nearest_exact1d", "_upsample_nearest_exact2d",
    "_upsample_nearest_exact3d", "topk", "sort", "kthvalue", "median", "nanmedian", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not",
}  # fmt: skip

#: What is executed may be off by, by the operator's name.
ALLOWANCES: Mapping[str, Allowance] = {
    **dict.fromkeys(_RELATIVE.split(), relative(_ULPS)),
    "erf": _and(_ULPS, lambda call, inputs, found: 1.0),
    "gelu": _and(_ULPS, _operand),
    "elu": _and(_ULPS, lambda call, inputs, found: abs(call["alpha"] * call["scale"])),
    "selu": _and(_ULPS, lambda call, inputs, found: 2.0),
    "celu": _and(_ULPS, lambda call, inputs, found: abs(call["alpha"])),
    **dict.fromkeys(("acos", "acosh", "atanh"), _and(_ULPS, lambda call, inputs, found: 1.0)),
    "lgamma": _and(2 * _ULPS, lambda call, inputs, found: 1.0),
    "erfc": relative(2 * _ULPS),
    "erfinv": _and(_ULPS, lambda call, inputs, found: 2 * _largest(found).square().exp()),
    "softshrink": _and(_ULPS, lambda call, inputs, found: abs(call["lambd"])),
    **dict.fromkeys(("threshold", "heaviside"), relative(_ULPS)),
    **dict.fromkeys(("scatter", "index_put"), _put),
    "scatter_add": _sum_over(_scattered),
    "upsample_linear1d": _interpolated(16.0),
    "upsample_bilinear2d": _interpolated(16.0),
    "upsample_trilinear3d": _interpolated(16.0),
    "upsample_bicubic2d": _interpolated(128.0),
    "log_sigmoid": relative(2 * _ULPS),
    "softplus": _softplus,
    "pow": _power,
    "add": _summed,
    "sub": _summed,
    "rsub": _summed,
    "linear": _sum_over(_last_of("input")),
    **dict.fromkeys(CONVOLUTIONS, _sum_over(_window)),
    **dict.fromkeys(("mm", "bmm", "matmul", "mv", "dot"), _sum_over(_last_of("self"))),
    **dict.fromkeys(("sum", "mean"), _sum_over(_reduced)),
    "cumsum": _sum_over(lambda call: call.shape[call["dim"]]),
    **dict.fromkeys(_AVERAGES, _sum_over(_pooled)),
    **dict.fromkeys(("softmax", "_softmax", "_safe_softmax", "masked_softmax"), _softmax),
    "logcumsumexp": _running_log,
    **dict.fromkeys(("log_softmax", "_log_softmax", "logsumexp"), _log_softmax),
}  # fmt: skip
