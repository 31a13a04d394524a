"""Operators that a model evaluates in a narrower type than that of the bounds: their rounding is part of them.

`Evaluated` puts a box around what the operator computes in real arithmetic, wide enough for what a kernel may return.
What is assumed about kernels is what PyTorch's do, on CPUs and GPUs, and what the tests try out for every number of a
16-bit type:

- a product, sum or mean is accumulated in float32 (float64 never is narrower), in any order, with an error of at most
  `γ_n Σ|terms|`, `γ_n = n·u/(1 − n·u)` (Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., sec. 3.1),
- its result is rounded to the type once, and once more where a constant or a bias joins it,
- an elementwise function is computed in float32 and rounded.

An operator of which nothing is assumed is refused.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor

from lirpa_core.devices import is_cuda, shortened_products
from lirpa_core.errors import UnsupportedOperandError
from lirpa_core.linear.infinite import plus
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Relaxation
from lirpa_core.rules.base import Rule
from lirpa_core.rules.call import Call, Const, Slot
from lirpa_core.rules.precision import half_smallest, is_narrower, unit_roundoff
from lirpa_core.rules.wrapped import Wrapped

#: `(call, largest absolute values of the slots [B, *S_i], those of the result [B, *S]) -> (a, b)`: the value before it is
#: rounded is off by `a` (in float32), and constants in the narrow type move it by `b` units of that type's roundoff.
Magnitudes: TypeAlias = Callable[[Call, list[Tensor], Tensor], tuple[Tensor, Tensor | None]]

_U32 = unit_roundoff(torch.float32)

#: Namespaces of the operators that the tables are about.
_OWN = frozenset({"aten", "lirpa"})

#: What float32 code that flushes subnormal numbers to zero loses.
_FLUSHED = torch.finfo(torch.float32).tiny

#: What float32 code of an elementary function may be off by, in units of roundoff of its value.
_ELEMENTARY = 16


def _sum_of_products(*factors: str) -> Magnitudes:
    """Products and sums whose terms are as many as a factor has elements at most."""

    def magnitudes(call: Call, slots: list[Tensor], result: Tensor) -> tuple[Tensor, Tensor | None]:
        n = 2 + min([_elements(call, name) for name in factors])
        total = absolute_call(call).evaluate(slots)  # Σ|terms|
        gamma = n * _U32 / (1 - n * _U32) if n * _U32 < 1 else math.inf
        return gamma * total, None

    return magnitudes


def _elements(call: Call, name: str) -> int:
    value = call[name]
    if isinstance(value, Slot):
        return math.prod(call.shapes[value.index])
    return int(value.value[0].numel() if value.batched else value.value.numel())


def absolute_call(call: Call) -> Call:
    """The call with absolute values of its constants."""

    def absolute(value: Any) -> Any:
        if isinstance(value, Const):
            return Const(value.value.abs(), value.batched)
        return tuple([absolute(v) for v in value]) if isinstance(value, tuple) else value

    numbers = ("other", "alpha", "beta", "value")
    arguments = {
        name: value
        if name in ("index", "indices")
        else (abs(value) if name in numbers and isinstance(value, int | float) else absolute(value))
        for name, value in call.arguments.items()
    }
    return dataclasses.replace(call, arguments=arguments)


def _added(call: Call, slots: list[Tensor], result: Tensor) -> tuple[Tensor, Tensor | None]:
    """Sums and differences of two; a constant may be rounded to the type."""
    total = torch.zeros_like(result)
    alpha = call.arguments.get("alpha", 1)
    for name in ("self", "other"):
        value, scale = call[name], abs(alpha) if name == "other" else 1
        if isinstance(value, Slot):
            part = _align(slots[value.index], len(call.shape))
        elif isinstance(value, Const):
            part = _align(value.value if value.batched else value.value[None], len(call.shape)).abs()
        else:
            part = torch.as_tensor(abs(value), dtype=result.dtype, device=result.device)
        total = total + scale * part
    return 4 * _U32 * total, total


def _align(x: Tensor, rank: int) -> Tensor:
    return x.reshape(x.shape[0], *[1] * (rank + 1 - x.dim()), *x.shape[1:])


def _elementwise(call: Call, slots: list[Tensor], result: Tensor) -> tuple[Tensor, Tensor | None]:
    """Functions that keep a relative error; a constant may be rounded to the type."""
    return _ELEMENTARY * _U32 * result, result


def _absolutely(call: Call, slots: list[Tensor], result: Tensor) -> tuple[Tensor, Tensor | None]:
    """Functions between −1 and 1 whose code keeps an absolute error."""
    return _ELEMENTARY * _U32 * torch.ones_like(result), None


def _with_cancellation(call: Call, slots: list[Tensor], result: Tensor) -> tuple[Tensor, Tensor | None]:
    """Functions `x·g(x)` with `|g| ≤ 1` whose `g` is a difference, such as GELU; farther out `g` is 0 or 1."""
    return _ELEMENTARY * _U32 * (result + slots[0].clamp(max=16.0)), result


def _power(call: Call, slots: list[Tensor], result: Tensor) -> tuple[Tensor, Tensor | None]:
    """Powers whose exponent is a number of the type."""
    exponent = call["exponent"]
    if isinstance(exponent, Slot):  # a number to a power that is perturbed, which no kernel rounds
        return _ELEMENTARY * _U32 * result, None
    kept = torch.tensor(exponent, dtype=torch.float64).to(call.node.dtype).double()
    if kept != exponent:
        raise UnsupportedOperandError(f"{call}: the exponent {exponent} is no number of {call.node.dtype}.")
    return _ELEMENTARY * _U32 * result, None


def _softmax(call: Call, slots: list[Tensor], result: Tensor) -> tuple[Tensor, Tensor | None]:
    """Softmax: the differences of scores are off by their roundoff, which is the result's relative error."""
    dim = call["dim"] if call["dim"] < 0 else call["dim"] - len(call.shape)
    n = call.shape[dim]
    return (_ELEMENTARY + n + 4 * slots[0].amax(dim, keepdim=True)) * _U32 * result, None


_EXACT_NAMES = (
    "relu neg abs sign sgn floor ceil round trunc maximum minimum max min amax amin fmax fmin hardshrink cummax cummin "
    "max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices "
    "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d upsample_nearest1d upsample_nearest2d "
    "upsample_nearest3d cat stack expand repeat gather index_select index select slice diagonal flip unbind split "
    "split_with_sizes chunk constant_pad_nd dropout"
)
#: Operators that are exact in any type: what they return is chosen from what they are given.
EXACT = frozenset(_EXACT_NAMES.split())

_RELATIVE = (
    "mul div square exp tanh sigmoid sqrt rsqrt reciprocal leaky_relu clamp clamp_min clamp_max hardtanh relu6 silu "
    "where masked_fill threshold"
)
_CONVOLUTIONS = "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution"  # the last: decomposed
_MEANS = (
    "sum mean avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d "
    "_adaptive_avg_pool2d _adaptive_avg_pool3d"
)

#: What the kernels of an operator may be off by, by its name; None: it is exact in any type.
_ERRORS: Mapping[str, Magnitudes | None] = {
    **dict.fromkeys(EXACT),
    **dict.fromkeys(_RELATIVE.split(), _elementwise),
    **dict.fromkeys(("linear", *_CONVOLUTIONS.split()), _sum_of_products("input", "weight")),
    **dict.fromkeys(_MEANS.split(), _sum_of_products("self")),
    "mm": _sum_of_products("self", "mat2"),
    "bmm": _sum_of_products("self", "mat2"),
    "matmul": _sum_of_products("self", "other"),
    "addmm": _sum_of_products("mat1", "mat2"),
    "baddbmm": _sum_of_products("batch1", "batch2"),
    "mv": _sum_of_products("self", "vec"),
    "dot": _sum_of_products("self", "tensor"),
    "add": _added,
    "sub": _added,
    "erf": _absolutely,
    "gelu": _with_cancellation,
    "pow": _power,
    "softmax": _softmax,
    "_softmax": _softmax,
}


def evaluation(rule: Rule, target: object, own: torch.dtype, kept: torch.dtype) -> Rule:
    """The rule of an operator as the model evaluates it.

    Args:
        rule: The rule in real arithmetic.
        target: The operator.
        own: The model's element type of the result.
        kept: The type of the bounds of the inputs.
    """
    if not own.is_floating_point and own is not torch.bool and not rule.rounds:
        return rule if rule.selects else InRange(rule)
    if rule.rounds or rule.selects or not is_narrower(own, kept):
        return rule
    name = operator_name(target)
    if name not in _ERRORS and own == torch.float32:
        return rule  # as in a model that is in float32 all through: real arithmetic is what is bounded
    if name in _ERRORS and _ERRORS[name] is None:
        return rule
    return Evaluated(rule, _ERRORS.get(name))


def operator_name(target: object) -> str:
    """An operator's name without overload: `"add"`, and with the namespace if it is not the core's, `"mylib::add"`."""
    packet = getattr(target, "overloadpacket", None)
    if packet is None:
        return str(target)
    namespace = getattr(target, "namespace", "aten")
    return str(packet.__name__) if namespace in _OWN else f"{namespace}::{packet.__name__}"


@dataclass(frozen=True)
class Evaluated(Wrapped):
    """A rule with the rounding of the operator's evaluation in a narrower type.

    Attributes:
        magnitudes: What the evaluation may be off by; None: nothing is known, and calls are refused.
    """

    magnitudes: Magnitudes | None

    def check(self, call: Call) -> None:
        """Refuse what is not known to be evaluated as this file assumes."""
        own = call.node.dtype
        if self.magnitudes is None:
            raise UnsupportedOperandError(
                f"{call} is evaluated in {own}, and how its kernels round is not known, so no bound of it would be "
                f"one. Compute it in float32: call .float() before it and .to({own}) after it, or keep it out of the "
                "autocast region with torch.autocast(..., enabled=False)."
            )
        wider = [d for d in call.dtypes if d.is_floating_point and is_narrower(own, d)]
        if wider or call.arguments.get("dtype") is not None:
            raise UnsupportedOperandError(
                f"{call} converts {wider[0] if wider else 'its operand'} to {own} on the way; call .to({own}) before it."
            )
        if is_cuda(call.device):
            _refuse_reduced_precision(call)
        self.rule.check(call)

    def is_affine(self, call: Call) -> bool:
        """Never: rounding has jumps."""
        return False

    def needs_interval(self, call: Call) -> tuple[bool, ...]:
        """How far rounding moves a number depends on its size."""
        return (True,) * len(call.shapes)

    def domain_violation(self, call: Call, inputs: tuple[Interval | None, ...]) -> Tensor | None:
        """Where the operator is not defined, or the type may overflow; then everywhere."""
        outside = self.rule.domain_violation(call, inputs)
        result = self.interval(call, tuple([x for x in inputs if x is not None]))
        limit = torch.finfo(call.node.dtype).max
        over = ~((result.lower >= -limit) & (result.upper <= limit)).all()
        return over.reshape(1) if outside is None else outside | over

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        """The rule's interval, and the rounding."""
        return self._rounded(call, inputs)[0]

    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        """The rule's affine bounds, moved apart by the rounding."""
        known = tuple([x for x in inputs if x is not None])
        assert len(known) == len(inputs)
        error = self._rounded(call, known)[1]
        found = self.rule.relax(call, inputs)
        lower, upper = found.lower, found.upper
        return Relaxation(
            dataclasses.replace(lower, bias=plus(lower.bias, -error)),
            dataclasses.replace(upper, bias=plus(upper.bias, error)),
        )

    def _rounded(self, call: Call, inputs: tuple[Interval, ...]) -> tuple[Interval, Tensor]:
        """The interval of what is computed, and how far that is from real arithmetic, `[B, *S]` both."""
        assert self.magnitudes is not None
        own = call.node.dtype
        found = self.rule.interval(call, inputs)
        slots = [x.lower.abs().maximum(x.upper.abs()) for x in inputs]
        largest = found.lower.abs().maximum(found.upper.abs())
        off, constants = self.magnitudes(call, slots, largest)
        u = 2 * unit_roundoff(own)
        u = u * (1 + u)
        error = off * (1 + u) + u * largest + 2 * half_smallest(own) + _FLUSHED
        if constants is not None:
            error = error + u * constants
        return Interval(found.lower - error, found.upper + error), error


@dataclass(frozen=True)
class InRange(Wrapped):
    """A rule of an operator on whole numbers, which go round at the ends of their range."""

    def domain_violation(self, call: Call, inputs: tuple[Interval | None, ...]) -> Tensor | None:
        """Where the rule's function is not defined, or whether the result may leave the range; then everywhere."""
        outside = self.rule.domain_violation(call, inputs)
        result = self.interval(call, tuple([x for x in inputs if x is not None]))
        info = torch.iinfo(call.node.dtype)
        over = ~((result.lower >= float(info.min)) & (result.upper <= float(info.max))).all()
        return over.reshape(1) if outside is None else outside | over

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        """The rule's, of the whole numbers between the bounds of whole numbers."""
        return self.rule.interval(call, _whole(call, inputs))

    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        """Likewise."""
        return self.rule.relax(call, _whole(call, inputs))


_Inputs = TypeVar("_Inputs", bound=tuple[Interval | None, ...])


def _whole(call: Call, inputs: _Inputs) -> _Inputs:
    """Operands that are whole numbers lie between whole numbers, which rounding moved apart."""
    if not call.dtypes:  # all are of the type of the output, which is one of whole numbers
        narrow = [True] * len(inputs)
    else:
        narrow = [not d.is_floating_point for d in call.dtypes]
    return tuple([  # type: ignore[return-value]
        Interval(x.lower.ceil(), x.upper.floor()) if whole and x is not None else x
        for x, whole in zip(inputs, narrow, strict=True)
    ])  # fmt: skip


def _refuse_reduced_precision(call: Call) -> None:
    matmul, own = torch.backends.cuda.matmul, call.node.dtype
    switch = None
    if own == torch.bfloat16 and matmul.allow_bf16_reduced_precision_reduction:
        switch = "torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction"
    elif own == torch.float16 and matmul.allow_fp16_reduced_precision_reduction:
        switch = "torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction"
    elif own == torch.float32:
        switch = shortened_products(call.device)
    if switch is not None:
        raise UnsupportedOperandError(
            f"{call} may be summed up in less than float32 while {switch} is set; switch it off."
        )
