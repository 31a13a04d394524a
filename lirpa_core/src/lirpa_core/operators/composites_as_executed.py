"""Composite operators as they are executed: broken down for bounds, with what a kernel may make of the whole.

PyTorch runs a normalization as one kernel, in an order of its own: variances by Welford's method, in chunks, or as a
difference of two means; `(x − m)·s` as `x·s − m·s`. So its parts say nothing about its rounding. Here it falls apart as
usual, into operators that are bounded in real arithmetic, and `lirpa::as_executed` behind them says how far the kernel
may be from that, by a formula that is a part of the graph and is bounded like everything else.

The formulas bound the algorithms of PyTorch's kernels for CPUs and GPUs, to first order with constants that are generous
enough for the rest: Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance", table 1: a variance of
`n` numbers is off by `n·u·κ` with Welford's method and `n·u·κ²` as a difference of means, `κ² = mean of x² / variance`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import Diagonal
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.linear.rounding import Accuracy
from lirpa_core.operators.decompositions import attention_scores
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.base import Rule
from lirpa_core.rules.call import Call, Slot

aten = torch.ops.aten

_LIBRARY = torch.library.Library("lirpa", "FRAGMENT")
_LIBRARY.define("as_executed(Tensor value, Tensor error, Tensor[] given) -> Tensor")


def _as_executed(value: Tensor, error: Tensor, given: Sequence[Tensor]) -> Tensor:
    return value.clone()


for _key in ("CompositeExplicitAutograd", "FuncTorchBatchedDecomposition"):  # the latter for `vmap`
    _LIBRARY.impl("as_executed", _as_executed, _key)

#: `as_executed(value, error, given)`: what a kernel may return whose result in real arithmetic is `value`, and which is off
#: by at most `error`; both follow from the tensors `given` alone.
as_executed = torch.ops.lirpa.as_executed.default

#: Units of roundoff of a function of a few roundings.
_FEW = 32

Decomposition = Callable[..., Any]


def _roundoff(x: Tensor) -> float:
    return torch.finfo(x.dtype).eps / 2


def _given(*tensors: Tensor | None) -> list[Tensor]:
    return [x for x in tensors if x is not None]


def _standardized(
    x: Tensor, value: Tensor, inverse: Tensor, dims: list[int], given: list[Tensor], *, welford: bool
) -> Tensor:
    """`(x − mean)·inverse` as it is executed.

    Args:
        x: What is standardized.
        value: The result in real arithmetic.
        inverse: `1/√(variance + ε)`.
        dims: The dimensions of a mean.
        given: Tensors that the kernel reads.
        welford: Whether the variance is surely not a difference of two means.
    """
    u, n = _roundoff(x), math.prod(x.shape[d] for d in dims)
    size, square = x.abs(), torch.square(x).mean(dims, keepdim=True)
    kappa = torch.sqrt(square) * inverse if welford else square * torch.square(inverse)
    off = (kappa + 1) * ((4 * n + 2 * _FEW) * u)  # of the variance, relatively
    relative = torch.rsqrt(1 - off) - 1 + _FEW * u
    shift = size * (_FEW * u) + size.mean(dims, keepdim=True) * ((n + _FEW) * u)
    error = value.abs() * relative + shift * inverse * (relative + 1.01)
    executed: Tensor = as_executed(value, error, given)
    return executed


def layer_norm(inner: Decomposition) -> Decomposition:
    """Layer norm; weight and bias are a product and a sum of their own."""

    def decomposed(
        input: Tensor,  # noqa: A002
        normalized_shape: Sequence[int],
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        dims = list(range(input.dim() - len(normalized_shape), input.dim()))
        value, mean, inverse = inner(input, normalized_shape, None, None, eps)
        out = _standardized(input, value, inverse, dims, [input], welford=True)
        return _scaled(out, weight, bias), mean, inverse

    return decomposed


def group_norm(inner: Decomposition) -> Decomposition:
    """Group norm; PyTorch's kernel for tensors with the channels last takes a difference of means."""

    def decomposed(
        input: Tensor,  # noqa: A002
        weight: Tensor | None,
        bias: Tensor | None,
        N: int,
        C: int,
        HxW: int,
        group: int,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        value, mean, inverse = inner(input, None, None, N, C, HxW, group, eps)
        shape = (N, group, C // group * HxW)
        grouped, whole = input.reshape(shape), value.reshape(shape)
        out = _standardized(grouped, whole, inverse.unsqueeze(-1), [2], [input], welford=False)
        channels = [1, -1] + [1] * (input.dim() - 2)
        scale, shift = (None if v is None else v.reshape(channels) for v in (weight, bias))
        return _scaled(out.reshape(input.shape), scale, shift), mean, inverse

    return decomposed


def rms_norm(inner: Decomposition) -> Decomposition:
    """RMS norm: a mean of squares does not cancel."""

    def decomposed(
        input: Tensor,  # noqa: A002
        normalized_shape: Sequence[int],
        weight: Tensor | None = None,
        eps: float | None = None,
    ) -> Tensor:
        value = inner(input, normalized_shape, None, eps)
        n = math.prod(normalized_shape)
        out = as_executed(value, value.abs() * ((2 * n + 2 * _FEW) * _roundoff(input)), [input])
        return _scaled(out, weight, None)

    return decomposed


def batch_norm(inner: Decomposition) -> Decomposition:
    """Batch norm with running statistics, as `x·s + (b − m·s)` or as `(x − m)·s + b`."""

    def decomposed(
        input: Tensor,  # noqa: A002
        weight: Tensor | None,
        bias: Tensor | None,
        running_mean: Tensor,
        running_var: Tensor,
        momentum: float,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        value, mean, inverse = inner(input, weight, bias, running_mean, running_var, momentum, eps)
        channels = [1, -1] + [1] * (input.dim() - 2)
        scale = torch.rsqrt(running_var + eps)
        scale = (scale if weight is None else scale * weight).abs().reshape(channels)
        total = (input.abs() + running_mean.abs().reshape(channels)) * scale
        if bias is not None:
            total = total + bias.abs().reshape(channels)
        given = _given(input, weight, bias, running_mean, running_var)
        return as_executed(value, total * (_FEW * _roundoff(input)), given), mean, inverse

    return decomposed


def instance_norm(inner: Decomposition) -> Decomposition:
    """Instance norm: batch norm of examples that became channels, whose variance may be a difference of means."""

    def decomposed(
        input: Tensor,  # noqa: A002
        weight: Tensor | None,
        bias: Tensor | None,
        training: bool,
        momentum: float,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        dims = [d for d in range(input.dim()) if d != 1]
        value, mean, inverse = inner(input, None, None, training, momentum, eps)
        channels = [1, -1] + [1] * (input.dim() - 2)
        out = _standardized(input, value, inverse.reshape(channels), dims, [input], welford=False)
        scale, shift = (None if v is None else v.reshape(channels) for v in (weight, bias))
        return _scaled(out, scale, shift), mean, inverse

    return decomposed


def _of_deviations(root: bool, with_mean: bool) -> Callable[[Decomposition], Decomposition]:
    """Variance or standard deviation, with or without the mean, by Welford's method.

    A variance `v` of numbers whose mean of squares is `s` is off by `c·(v + √(s·v)) + c²·s`, with `c` of the order of
    `n·u` (Chan, Golub and LeVeque 1983, table 1 and (2.2)); its root by twice the quotient of that and `√v`.
    """

    def wrapped(inner: Decomposition) -> Decomposition:
        def decomposed(
            self: Tensor, dim: Any = None, *, correction: Any = None, keepdim: bool = False
        ) -> Any:
            found = inner(self, dim, correction=correction, keepdim=keepdim)
            value, mean = found if with_mean else (found, None)
            dims = list(range(self.dim())) if dim is None or len(dim) == 0 else list(dim)
            n, u = math.prod(self.shape[d] for d in dims), _roundoff(self)
            c = (4 * n + 2 * _FEW) * u
            spread = value if root else torch.sqrt(value)
            size = torch.sqrt(torch.square(self).mean(dims, keepdim=keepdim))
            degrees = n - (1 if correction is None else correction)
            size = size * math.sqrt(n / degrees) if degrees > 0 else size
            error = (
                (2 * spread + 3 * size) * c
                if root
                else (value + size * spread) * c + torch.square(size) * c**2
            )
            out = as_executed(value, error, [self])
            if mean is None:
                return out
            off = self.abs().mean(dims, keepdim=keepdim) * ((n + _FEW) * u)
            return out, as_executed(mean, off, [self])

        return decomposed

    return wrapped


def attention(inner: Decomposition) -> Decomposition:
    """Attention as scores, softmax and a weighted sum, each with its own rounding: what fused kernels do is among it."""

    def decomposed(*args: Any, **kwargs: Any) -> Tensor:
        scores, keep, value = attention_scores(*args, **kwargs)
        if keep is None:
            weights = torch.softmax(scores, -1)
        else:
            weights = torch.ops.lirpa.masked_softmax(scores, keep == 0, -1)
        mixed: Tensor = weights @ value
        return mixed

    return decomposed


def _scaled(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is not None:
        x = x * weight
    return x if bias is None else x + bias


#: From the usual decomposition of an operator to the one of what is executed.
_EXECUTED: Mapping[Any, Callable[[Decomposition], Decomposition]] = {
    aten.native_layer_norm.default: layer_norm,
    aten.native_group_norm.default: group_norm,
    aten.rms_norm.default: rms_norm,
    aten._native_batch_norm_legit.no_stats: instance_norm,
    aten.var.correction: _of_deviations(root=False, with_mean=False),
    aten.var_mean.correction: _of_deviations(root=False, with_mean=True),
    aten.std.correction: _of_deviations(root=True, with_mean=False),
    aten.std_mean.correction: _of_deviations(root=True, with_mean=True),
    aten._native_batch_norm_legit_no_training.default: batch_norm,
    aten.scaled_dot_product_attention.default: attention,
}


class AsExecuted(Rule):
    """Rule of `lirpa::as_executed`: the value, moved by what the error may be at most."""

    family = "general"

    def accuracy(self, call: Call) -> Accuracy:
        """One sum an end."""
        return Accuracy(4, "ends", underflows=False)

    def needs_interval(self, call: Call) -> tuple[bool, ...]:
        """Of the error alone."""
        return tuple([i == call.slot("error") for i in range(len(call.shapes))])

    def unstable_inputs(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Tensor | None, ...]:
        """None: how far rounding goes hardly depends on how tight the interval of its error is."""
        return (None,) * len(call.shapes)

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        """The value's interval, and the error around it."""
        slot, error = call.slot("value"), self._error(call, inputs)
        if slot is None:
            value = _constant(call, "value")
            return Interval(value - error, value + error)
        return Interval(inputs[slot].lower - error, inputs[slot].upper + error)

    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        """The value itself, between two constants around it."""
        slot, error = call.slot("value"), self._error(call, inputs)
        terms = tuple(
            [
                Diagonal(error.new_ones(1, *call.shape), s) if i == slot else None
                for i, s in enumerate(call.shapes)
            ]
        )
        value = _constant(call, "value") if slot is None else 0.0
        return Relaxation(Affine(terms, value - error), Affine(terms, value + error))

    def _error(self, call: Call, inputs: tuple[Interval | None, ...]) -> Tensor:
        slot = call.slot("error")
        if slot is None:
            return _constant(call, "error").clamp(min=0).expand(-1, *call.shape)
        box = inputs[slot]
        assert box is not None
        return box.upper.clamp(min=0).expand(-1, *call.shape)


def _constant(call: Call, name: str) -> Tensor:
    const = call[name]
    assert not isinstance(const, Slot)
    value: Tensor = const.value if const.batched else const.value.unsqueeze(0)
    return value


def register(registry: OperatorRegistry) -> None:
    """Register the rule of this file, and its decompositions of models as they are executed."""
    registry.register(as_executed, AsExecuted())
    for op, executed in _EXECUTED.items():
        registry.decompose_as_executed(op, executed)
