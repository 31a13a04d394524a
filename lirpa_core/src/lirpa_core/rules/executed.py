"""Operators as a model executes them in the type of its bounds: the rounding of their evaluation is part of them.

A kernel returns the exact value for the operands that it is given, moved by at most what `rules.allowances` states. What
is not listed there is refused.

Where a rule is about a narrower type than that of the bounds, `rules.evaluated` says what that adds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lirpa_core.devices import is_cuda, shortened_products, sums_products
from lirpa_core.errors import UnsupportedOperandError
from lirpa_core.graph import Node
from lirpa_core.linear.infinite import plus
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.linear.rounding import Accuracy, tiny
from lirpa_core.linear.shapes import broadcast_shapes
from lirpa_core.rules.allowances import ALLOWANCES, CONVOLUTIONS, EXECUTED_EXACTLY, PRODUCTS, Allowance
from lirpa_core.rules.base import MODES, Rule, Slope
from lirpa_core.rules.call import Call
from lirpa_core.rules.evaluated import Evaluated, operator_name
from lirpa_core.rules.precision import is_narrower
from lirpa_core.rules.wrapped import Wrapped

#: The error terms are themselves computed with rounding; they are enlarged by so much.
_SPARE = 1 + 2.0**-6

_NORMALIZATIONS = (
    "instance_norm", "layer_norm", "native_layer_norm", "group_norm", "native_group_norm", "rms_norm", "batch_norm",
)  # fmt: skip
_PRODUCTS = (*PRODUCTS, "addmm", "addmv", "addbmm", "baddbmm", "einsum", "tensordot", "inner")
_SUMS = frozenset({"sum", "mean"})
_IN_PLACE = ("add", "sub", "mul", "div", "relu", "sigmoid", "tanh", "exp", "clamp", "sqrt")

#: Recurrent layers, which cuDNN computes in one kernel.
_RECURRENT = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})

#: Operators that fall apart into others whose errors cover what one kernel makes of the whole, and into which.
COMPOSITES: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(_NORMALIZATIONS, frozenset({"mul", "add"})),
    **dict.fromkeys(_PRODUCTS, frozenset({*PRODUCTS, "mul", "add"})),
    "scaled_dot_product_attention": frozenset({"mul", "bmm", "matmul", "add", "softmax", "masked_softmax"}),
    **dict.fromkeys(("div", "true_divide", "divide"), frozenset({"reciprocal", "mul"})),
    "addcmul": frozenset({"mul", "add", "pow", "square"}),
    "addcdiv": frozenset({"mul", "add", "reciprocal"}),
    "mul": frozenset({"pow", "square"}),
    "pow": frozenset({"square", "sqrt", "rsqrt", "reciprocal", "mul"}),
    "square": frozenset({"pow", "mul"}),
    **dict.fromkeys(("linalg_vector_norm", "norm"), frozenset({"square", "sqrt", "sum", "abs", "pow"})),
    **dict.fromkeys(("mse_loss", "l1_loss"), frozenset({"sub", "square", "pow", "abs"}) | _SUMS),
    "tanhshrink": frozenset({"tanh", "sub"}),
    "softsign": frozenset({"add", "reciprocal", "mul"}),
    **{f"conv{n}d": frozenset({"convolution"}) for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": frozenset({"convolution"}) for n in (1, 2, 3)},
    "subtract": frozenset({"sub"}),
    "multiply": frozenset({"mul"}),
    **dict.fromkeys(("masked_fill", "fill", "nan_to_num"), frozenset({"where"})),
    "index_fill": frozenset({"index_put"}),
    "index_add": frozenset({"index_put"}),
    "lerp": frozenset({"sub", "mul", "add"}),
    "hypot": frozenset({"square", "pow", "mul", "add", "sqrt"}),
    "logaddexp": frozenset({"logsumexp"}),
    "frac": frozenset({"sub"}),
    "rrelu": frozenset({"leaky_relu"}),
    "xlogy": frozenset({"log", "mul"}),
    **{f"adaptive_avg_pool{n}d": frozenset({"mean", f"_adaptive_avg_pool{n}d"}) for n in (1, 2, 3)},
    "log_sigmoid": frozenset({"log_sigmoid_forward"}),
    "logsigmoid": frozenset({"log_sigmoid"}),
    **{f"{name}_": frozenset({name}) for name in _IN_PLACE},
    "fill_": frozenset({"where"}),
}  # fmt: skip

#: Constants that are made or chosen rather than computed, and copies.
_MADE = frozenset({
    "full", "zeros", "ones", "empty", "arange", "eye", "scalar_tensor", "full_like", "zeros_like", "ones_like",
    "new_zeros", "new_ones", "new_full", "_to_copy", "lift_fresh_copy", "tril", "triu", "where", "masked_fill", "clamp",
})  # fmt: skip

#: Operators of a single rounding, which every execution computes alike.
_SINGLE = frozenset({"neg", "abs", "add", "sub", "rsub", "mul", "div", "sqrt"})


class Executions(Protocol):
    """What is known of how operators are executed, besides the tables of this package: a registry."""

    @property
    def known_as_executed(self) -> frozenset[str]:
        """Names of the operators that fall apart as they are executed."""

    def allowance_for(self, op: object) -> Allowance | None:
        """What an operator's kernel may be off by, if a plugin says so."""


def executed(rule: Rule, node: Node, kept: torch.dtype, known: Executions) -> Rule:
    """The rule of an operator as the model executes it.

    Args:
        rule: The rule of `rules.evaluated.evaluation`: in real arithmetic where the node's type is that of the bounds.
        node: The operator.
        kept: The type of the bounds of the inputs.
        known: What plugins know.

    Raises:
        UnsupportedOperandError: If it is not known how the operator is executed.
    """
    name = operator_name(node.target)
    if rule.rounds or rule.selects or not node.dtype.is_floating_point or name in EXECUTED_EXACTLY:
        return rule
    part = name in COMPOSITES.get(node.origin, ()) or node.origin in known.known_as_executed
    if node.origin != name and not part:
        whole = (
            f"'{node.origin}', of which it is a part," if node.origin else "the operator that it is a part of"
        )
        raise _unknown(node, whole)
    if is_narrower(node.dtype, kept):
        if isinstance(rule, Evaluated):
            return rule
        raise _unknown(node, f"'{name}' in {node.dtype}")
    allowance = known.allowance_for(node.target) or ALLOWANCES.get(name)
    if allowance is None:
        raise _unknown(node, f"'{name}'")
    return Executed(rule, allowance)


def refuse_constant(node: Node, rule: Rule | None) -> None:
    """Refuse a constant that another execution may compute otherwise.

    Args:
        node: The operator that computes it.
        rule: Its rule, if it has one.

    Raises:
        UnsupportedOperandError: Naming the node.
    """
    if not node.dtype.is_floating_point or (rule is not None and rule.selects):
        return
    name = operator_name(node.target)
    if name in _MADE or name in EXECUTED_EXACTLY:
        return
    whole = node.origin.rstrip("_") == name
    if name in _SINGLE and whole and all([a.value in (1, None) for a in node.arguments if a.name == "alpha"]):
        return
    raise UnsupportedOperandError(
        f'{node} is computed from constants, and covers="float" does not know by how much another execution may compute '
        "it otherwise. Compute it once and keep it as a buffer, or remove the parametrization."
    )


def _unknown(node: Node, what: str) -> UnsupportedOperandError:
    return UnsupportedOperandError(
        f'{node}: covers="float" does not know how {what} is executed, so no bound of it would be one. Write it with '
        'operators of PyTorch that are known, or bound the model in real arithmetic (covers="real").'
    )


@dataclass(frozen=True)
class Executed(Wrapped):
    """A rule with the rounding of the operator's evaluation in the type of the bounds.

    Attributes:
        allowance: What the evaluation may be off by.
    """

    allowance: Allowance

    def check(self, call: Call) -> None:
        """Refuse devices and settings under which kernels do not compute what is assumed."""
        self.rule.check(call)
        if call.arguments.get("dtype") not in (None, call.node.dtype):
            raise UnsupportedOperandError(
                f"{call} converts its operand on the way; call .to({call.node.dtype}) before it."
            )
        name = operator_name(call.node.target)
        if is_cuda(call.device) and call.node.origin in _RECURRENT and torch.backends.cudnn.enabled:
            raise UnsupportedOperandError(
                f"{call} is a part of what cuDNN computes as a whole, in a way that is not known; set "
                "torch.backends.cudnn.enabled = False, or compute the bounds of the model on the CPU."
            )
        if name not in CONVOLUTIONS and name not in PRODUCTS:
            return
        switch = None if call.node.dtype != torch.float32 else shortened_products(call.device)
        if switch is not None:
            raise UnsupportedOperandError(
                f"{call} may be computed in less than float32, because of {switch}; set it to 'ieee', or call "
                "torch.set_float32_matmul_precision('highest')."
            )
        if name in CONVOLUTIONS:
            _refuse_transforms(call)

    def is_affine(self, call: Call) -> bool:
        """Never: rounding has jumps."""
        return False

    def accuracy(self, call: Call) -> Accuracy:
        """As the rule, whose ends now are computed."""
        known = self.rule.accuracy(call)
        return dataclasses.replace(known, relative_to="ends") if known.relative_to == "exact" else known

    def needs_interval(self, call: Call) -> tuple[bool, ...]:
        """How far rounding moves a number depends on its size."""
        return (True,) * len(call.shapes)

    def domain_violation(self, call: Call, inputs: tuple[Interval | None, ...]) -> Tensor | None:
        """Where the operator is not defined, or the type may overflow; then everywhere."""
        outside = self.rule.domain_violation(call, inputs)
        result = self.interval(call, tuple([x for x in inputs if x is not None]))
        over = (
            torch.zeros(1, dtype=torch.bool, device=call.device)
            if call.infinite
            else ~(result.lower.isfinite() & result.upper.isfinite()).all().reshape(1)
        )
        return over if outside is None else outside | over

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        """The rule's interval, and the rounding."""
        return self._moved(call, inputs)[0]

    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        """The rule's affine bounds, moved apart by the rounding."""
        return self._apart(call, inputs, self.rule.relax(call, inputs))

    @property
    def relaxes_together(self) -> bool:  # type: ignore[override]
        """As the rule."""
        return self.rule.relaxes_together

    def relax_all(
        self, calls: Sequence[Call], inputs: Sequence[tuple[Interval | None, ...]]
    ) -> list[Relaxation]:
        """The rule's affine bounds of several calls, each moved apart by its rounding."""
        found = self.rule.relax_all(calls, inputs)
        return [self._apart(*each) for each in zip(calls, inputs, found, strict=True)]

    def slopes(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Slope, ...]:
        """Those of the rule."""
        return self.rule.slopes(call, inputs)

    def relax_with(
        self, call: Call, inputs: tuple[Interval | None, ...], slopes: Sequence[Tensor]
    ) -> Relaxation:
        """The rule's affine bounds of these slopes, moved apart by the rounding."""
        return self._apart(call, inputs, self.rule.relax_with(call, inputs, slopes))

    def _apart(self, call: Call, inputs: tuple[Interval | None, ...], found: Relaxation) -> Relaxation:
        known = tuple([x for x in inputs if x is not None])
        assert len(known) == len(inputs)
        _, below, above = self._moved(call, known)
        error = below.maximum(above)
        lower, upper = found.lower, found.upper
        return Relaxation(
            dataclasses.replace(lower, bias=plus(lower.bias, -error)),
            dataclasses.replace(upper, bias=plus(upper.bias, error)),
        )

    def _moved(self, call: Call, inputs: tuple[Interval, ...]) -> tuple[Interval, Tensor, Tensor]:
        """The interval of what is executed, and how far that is from real arithmetic, `[B, *S]` each."""
        found = self.rule.interval(call, inputs)
        own = call.node.dtype
        below, above = self.allowance(call, inputs, found, torch.finfo(own).eps / 2)
        least = 256 * tiny(
            own
        )  # numbers that are flushed to zero on the way, and overflows of what is divided by
        low, up = found.lower - (below * _SPARE + least), found.upper + (above * _SPARE + least)
        # What only moves relatively, or underflows, keeps its sign.
        keeps_low = (found.lower >= 0) & (below <= found.lower)
        keeps_up = (found.upper <= 0) & (above <= -found.upper)
        if call.infinite:  # what is −∞ is so in any execution
            fixed = found.lower.isinf() & (found.lower == found.upper)
            low, up = torch.where(fixed, found.lower, low), torch.where(fixed, found.upper, up)
            below, above = torch.where(fixed, 0, below), torch.where(fixed, 0, above)
        box = Interval(
            torch.where(keeps_low, low.clamp(min=0), low), torch.where(keeps_up, up.clamp(max=0), up)
        )
        shape = broadcast_shapes(below.shape, found.lower.shape)
        return box, (below * _SPARE + least).expand(shape), (above * _SPARE + least).expand(shape)


def _refuse_transforms(call: Call) -> None:
    if is_cuda(call.device) and torch.backends.cudnn.enabled:
        raise UnsupportedOperandError(
            f"{call} may be computed by a transform on CUDA, whose error has no such bound; set "
            "torch.backends.cudnn.enabled = False, or compute the bounds of the model on the CPU."
        )
    if not is_cuda(call.device) and not sums_products(call.device):
        raise UnsupportedOperandError(
            f"{call} may be computed by a transform where oneDNN is not used, whose error has no such bound; set "
            "torch.backends.mkldnn.enabled = True, on an x86 processor."
        )


@dataclass(frozen=True)
class IntervalOnly(Wrapped):
    """A rule of which only the interval is used: of operators that do nothing but bound an error."""

    @property
    def modes(self) -> tuple[str, ...]:  # type: ignore[override]
        return MODES

    def is_affine(self, call: Call) -> bool:
        """Never: two constants bound it."""
        return False

    def needs_interval(self, call: Call) -> tuple[bool, ...]:
        """All: they are what the constants follow from."""
        return (True,) * len(call.shapes)

    def unstable_inputs(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Tensor | None, ...]:
        """None is worth tightening."""
        return (None,) * len(call.shapes)

    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        """Two constants."""
        found = self.rule.interval(call, tuple([x for x in inputs if x is not None]))
        nothing = (None,) * len(call.shapes)
        shape = (-1, *call.shape)
        return Relaxation(
            Affine(nothing, found.lower.expand(shape)), Affine(nothing, found.upper.expand(shape))
        )
