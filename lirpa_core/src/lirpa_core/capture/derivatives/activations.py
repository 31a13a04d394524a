"""Activations that remember what they are a function of, however often they are differentiated.

PyTorch writes the derivative of tanh as `1 − y²`, the next one as `−2 y (1 − y²)`: as products of things whose bounds know nothing
of each other. While a model is traced, an activation has the derivative `lirpa::derivative` of its operand, the derivative
of that the next one, and so on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from lirpa_core.capture.derivatives import extrema
from lirpa_core.operators.derivatives import ACTIVATIONS, DERIVATIVE, derivative

aten = torch.ops.aten


class _Derivative(torch.autograd.Function):
    """A derivative of an activation, or with order zero the activation itself."""

    @staticmethod
    def forward(x: Tensor, function: str, order: int, parameters: tuple[float, ...]) -> Tensor:
        if order == 0:
            return ACTIVATIONS[function].function(x, *parameters)
        return derivative(x, function, order, parameters)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, ctx.function, ctx.order, ctx.parameters = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return _product(grad, _next(ctx)), None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *others: None) -> Tensor:
        return _product(tangent, _next(ctx))

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], x: Tensor, *options: Any
    ) -> tuple[Tensor, int | None]:
        return _Derivative.apply(x, *options), in_dims[0]  # type: ignore[no-untyped-call]


class _Product(torch.autograd.Function):
    """A product, which leaves alone what has no tangent.

    PyTorch's own makes a tangent of zeros for it, and cannot trace what it does with that.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, y: Tensor) -> Tensor:
        return x * y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        if grad is None:
            return None, None
        x, y = ctx.saved_tensors
        return _product(grad, y), _product(grad, x)

    @staticmethod
    def jvp(ctx: Any, x_tangent: Tensor | None, y_tangent: Tensor | None) -> Tensor | None:
        x, y = ctx.saved_tensors
        parts = [_product(t, o) for t, o in ((x_tangent, y), (y_tangent, x)) if t is not None]
        return sum(parts[1:], parts[0]) if parts else None


def _product(x: Tensor, y: Tensor) -> Tensor:
    found: Tensor = _Product.apply(x, y)  # type: ignore[no-untyped-call]
    return found


def _next(ctx: Any) -> Tensor:
    (x,) = ctx.saved_tensors
    return differentiable(x, ctx.function, ctx.order + 1, ctx.parameters)


def differentiable(x: Tensor, function: str, order: int = 0, parameters: tuple[float, ...] = ()) -> Tensor:
    """An activation, or a derivative of it, whose own derivatives are single operators as far as there are such.

    Args:
        x: Its operand.
        function: A name in `ACTIVATIONS`.
        order: Which derivative; 0: the activation.
        parameters: Of the activation.
    """
    if order > ACTIVATIONS[function].highest:
        return derivative(x, function, order, parameters)
    found: Tensor = _Derivative.apply(x, function, order, parameters)  # type: ignore[no-untyped-call]
    return found


class DifferentiableActivations(TorchFunctionMode):
    """While this is open, activations are `differentiable`."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        instead = _INSTEAD.get(func)
        if instead is not None:
            found = instead(*args, **(kwargs or {}))
            if found is not None:
                return found
        return func(*args, **(kwargs or {}))


def _plain(name: str) -> Callable[..., Tensor | None]:
    def instead(input: Tensor, inplace: bool = False, *, out: Tensor | None = None) -> Tensor | None:  # noqa: A002
        return _unless(inplace or out is not None, input, name)

    return instead


def _unless(written: bool, x: Tensor, name: str, *parameters: float) -> Tensor | None:
    """The activation; None if it is to be computed in place, or is not one that has derivatives here."""
    if written or not isinstance(x, Tensor) or not x.is_floating_point():
        return None
    numbers = [float(p) for p in parameters if isinstance(p, int | float)]
    if len(numbers) != len(parameters) or not ACTIVATIONS[name].takes(tuple(numbers)):
        return None
    return differentiable(x, name, 0, tuple(numbers))


def _gelu(input: Tensor, *, approximate: str = "none") -> Tensor | None:  # noqa: A002
    return _unless(False, input, "gelu_tanh" if approximate == "tanh" else "gelu")


def _softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor | None:  # noqa: A002
    return _unless(False, input, "softplus", beta, threshold)


def _elu(
    input: Tensor,  # noqa: A002
    alpha: float = 1.0,
    scale: float = 1.0,
    input_scale: float = 1.0,
    *,
    inplace: bool = False,
) -> Tensor | None:
    return _unless(inplace, input, "elu", alpha, scale, input_scale)


def _elu_in_python(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor | None:  # noqa: A002
    return _elu(input, alpha, inplace=inplace)


def _hardsigmoid(input: Tensor) -> Tensor:  # noqa: A002
    """The function of real numbers: PyTorch's derivative has a sixth that is rounded to float32."""
    return differentiable(input / 6 + 0.5, "hardtanh", 0, (0.0, 1.0))


def _celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor | None:  # noqa: A002
    return _unless(inplace or alpha == 0, input, "elu", alpha, 1.0, 1.0 / (alpha or math.inf))


def _selu(input: Tensor, inplace: bool = False) -> Tensor | None:  # noqa: A002
    return _unless(inplace, input, "elu", 1.6732632423543772, 1.0507009873554805, 1.0)


def _leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor | None:  # noqa: A002
    return _unless(inplace, input, "leaky_relu", negative_slope)


def _hardtanh(
    input: Tensor,  # noqa: A002
    min_val: float = -1.0,
    max_val: float = 1.0,
    inplace: bool = False,
) -> Tensor | None:
    return _unless(inplace, input, "hardtanh", min_val, max_val)


def _relu6(input: Tensor, inplace: bool = False) -> Tensor | None:  # noqa: A002
    return _unless(inplace, input, "hardtanh", 0.0, 6.0)


def _softshrink(input: Tensor, lambd: float = 0.5) -> Tensor | None:  # noqa: A002
    return _unless(False, input, "softshrink", lambd)


def _tanhshrink(input: Tensor) -> Tensor:  # noqa: A002
    return input - differentiable(input, "tanh")


#: Functions by which users call activations, and what is called instead.
_INSTEAD: Mapping[Any, Callable[..., Tensor | None]] = {
    **dict.fromkeys((torch.tanh, Tensor.tanh), _plain("tanh")),
    **dict.fromkeys((torch.sigmoid, Tensor.sigmoid, torch.special.expit), _plain("sigmoid")),
    **dict.fromkeys((torch.relu, Tensor.relu, F.relu), _plain("relu")),
    **dict.fromkeys((torch.abs, Tensor.abs, Tensor.__abs__, torch.absolute, Tensor.absolute), _plain("abs")),
    F.silu: _plain("silu"),
    F.mish: _plain("mish"),
    F.hardswish: _plain("hardswish"),
    F.hardsigmoid: _plain("hardsigmoid"),
    F.logsigmoid: _plain("log_sigmoid"),
    F.softsign: _plain("softsign"),
    F.gelu: _gelu,
    F.softplus: _softplus,
    F.elu: _elu_in_python,
    F.celu: _celu,
    torch.celu: _celu,
    F.selu: _selu,
    torch.selu: _selu,
    F.leaky_relu: _leaky_relu,
    F.hardtanh: _hardtanh,
    F.relu6: _relu6,
    F.softshrink: _softshrink,
    F.tanhshrink: _tanhshrink,
    **dict.fromkeys((torch.amax, Tensor.amax, aten.amax.default), extrema.amax),
    **dict.fromkeys((torch.amin, Tensor.amin, aten.amin.default), extrema.amin),
    **dict.fromkeys((torch.max, Tensor.max, aten.max.dim, aten.max.default), extrema.maximum_along),
    **dict.fromkeys((torch.min, Tensor.min, aten.min.dim, aten.min.default), extrema.minimum_along),
    # as they stand in a captured graph
    aten.tanh.default: _plain("tanh"),
    aten.sigmoid.default: _plain("sigmoid"),
    aten.relu.default: _plain("relu"),
    aten.abs.default: _plain("abs"),
    aten.silu.default: _plain("silu"),
    aten.mish.default: _plain("mish"),
    aten.hardswish.default: _plain("hardswish"),
    aten.log_sigmoid.default: _plain("log_sigmoid"),
    aten.gelu.default: _gelu,
    aten.softplus.default: _softplus,
    aten.elu.default: _elu,
    aten.celu.default: _celu,
    aten.selu.default: _selu,
    aten.leaky_relu.default: _leaky_relu,
    aten.hardtanh.default: _hardtanh,
    aten.relu6.default: _relu6,
    aten.softshrink.default: _softshrink,
    aten.hardsigmoid.default: _hardsigmoid,
    DERIVATIVE: differentiable,
}

__all__ = ["DifferentiableActivations", "differentiable"]
