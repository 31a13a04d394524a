"""The operator `lirpa::derivative`: a derivative of an activation, as one function of the activation's operand.

Bounds of what PyTorch writes for a derivative, `y (1 − y)` say, are those of its parts. Bounds of this operator are those of
the derivative as a function of one variable: exact intervals, and the best lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lirpa_core.operators.derivatives.table import ACTIVATIONS, Parameters, curve_of
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.call import Call
from lirpa_core.rules.unary import Curve, Unary

_NAME = "lirpa::derivative"
torch.library.define(_NAME, "(Tensor self, str function, int order, float[] parameters) -> Tensor")


def _evaluate(self: Tensor, function: str, order: int, parameters: Sequence[float]) -> Tensor:
    """The derivative.

    Args:
        self: The activation's operand.
        function: A name in `ACTIVATIONS`.
        order: Which derivative.
        parameters: Of the activation.
    """
    return curve_of(function, order, tuple(parameters)).f(self)


torch.library.impl(_NAME, "CompositeExplicitAutograd", _evaluate)
torch.library.impl(_NAME, "Meta", lambda self, function, order, parameters: torch.empty_like(self))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, ctx.function, ctx.order, ctx.parameters = inputs
    ctx.save_for_backward(x)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
    return (
        grad * derivative(ctx.saved_tensors[0], ctx.function, ctx.order + 1, tuple(ctx.parameters)),
        None,
        None,
        None,
    )


torch.library.register_autograd(_NAME, _backward, setup_context=_setup)


def _mapped(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int | None]:
    return DERIVATIVE(*inputs), in_dims[0]


torch.library.register_vmap(_NAME, _mapped)

DERIVATIVE = torch.ops.lirpa.derivative.default


def derivative(x: Tensor, function: str, order: int, parameters: Parameters = ()) -> Tensor:
    """A derivative of an activation: the operator, or the operators of a formula where it is too high.

    Args:
        x: The activation's operand.
        function: A name in `ACTIVATIONS`.
        order: Which derivative, one or more.
        parameters: Of the activation.
    """
    highest = ACTIVATIONS[function].highest
    if order <= highest:
        found: Tensor = DERIVATIVE(x, function, order, list(parameters))
        return found
    formula = curve_of(function, highest, tuple(parameters)).f  # a list, where a graph holds it
    for _ in range(order - highest):
        formula = _differentiated(formula)
    return formula(x)


def _differentiated(formula: Any) -> Any:
    def slope(x: Tensor) -> Tensor:
        return torch.func.jvp(formula, (x,), (torch.ones_like(x),))[1]  # type: ignore[no-any-return]

    return slope


def _curve(call: Call) -> Curve:
    return curve_of(call["function"], int(call["order"]), tuple([float(p) for p in call["parameters"]]))


def register(registry: OperatorRegistry) -> None:
    """Register the rule of this file."""
    registry.register(DERIVATIVE, Unary(_curve))
