"""Activations written out: by exponentials, by choices, by the error function."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lirpa_core.plugins import PatternRegistry

# ---------------------------------------------------------------------- piecewise linear


def _relu(x: Tensor) -> Tensor:
    return torch.relu(x)


def relu_where_positive(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0)


def relu_where_not_negative(x: Tensor) -> Tensor:
    return torch.where(x >= 0, x, 0)


def relu_by_sign(x: Tensor) -> Tensor:
    return x * (x > 0)


def relu_by_sign_or_zero(x: Tensor) -> Tensor:
    return x * (x >= 0)


def relu_by_absolute_value(x: Tensor) -> Tensor:
    return (x + torch.abs(x)) / 2


def _leaky_relu(x: Tensor, slope: float) -> Tensor:
    return F.leaky_relu(x, slope)


def leaky_where_positive(x: Tensor, slope: float) -> Tensor:
    return torch.where(x > 0, x, slope * x)


def leaky_where_not_negative(x: Tensor, slope: float) -> Tensor:
    return torch.where(x >= 0, x, slope * x)


def leaky_by_maximum(x: Tensor, slope: float) -> Tensor:
    return torch.maximum(x, slope * x)


def leaky_by_relus(x: Tensor, slope: float) -> Tensor:
    return torch.relu(x) - slope * torch.relu(-x)


def leaky_by_relu_and_rest(x: Tensor, slope: float) -> Tensor:
    return torch.relu(x) + slope * (x * (x <= 0))


def _abs(x: Tensor) -> Tensor:
    return torch.abs(x)


def abs_where_positive(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, -x)


def abs_where_not_negative(x: Tensor) -> Tensor:
    return torch.where(x >= 0, x, -x)


def abs_by_maximum(x: Tensor) -> Tensor:
    return torch.maximum(x, -x)


def abs_by_relus(x: Tensor) -> Tensor:
    return torch.relu(x) + torch.relu(-x)


def at_most_one(x: Tensor, slope: float) -> bool:
    """Whether the maximum of x and a·x is x where x is positive."""
    return slope <= 1


# ---------------------------------------------------------------------- by exponentials


def _sigmoid(x: Tensor) -> Tensor:
    return torch.sigmoid(x)


def sigmoid_by_exp(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def sigmoid_by_quotient(x: Tensor) -> Tensor:
    return torch.exp(x) / (1 + torch.exp(x))


def sigmoid_by_tanh(x: Tensor) -> Tensor:
    return (1 + torch.tanh(x / 2)) / 2


def _tanh(x: Tensor) -> Tensor:
    return torch.tanh(x)


def tanh_by_exp(x: Tensor) -> Tensor:
    return (torch.exp(x) - torch.exp(-x)) / (torch.exp(x) + torch.exp(-x))


def tanh_by_exp_twice(x: Tensor) -> Tensor:
    return (torch.exp(2 * x) - 1) / (torch.exp(2 * x) + 1)


def tanh_by_exp_of_opposite(x: Tensor) -> Tensor:
    return (1 - torch.exp(-2 * x)) / (1 + torch.exp(-2 * x))


def tanh_by_sigmoid(x: Tensor) -> Tensor:
    return 2 * torch.sigmoid(2 * x) - 1


def tanh_by_reciprocal(x: Tensor) -> Tensor:
    return 1 - 2 / (torch.exp(2 * x) + 1)


def tanh_by_reciprocal_of_opposite(x: Tensor) -> Tensor:
    return 2 / (1 + torch.exp(-2 * x)) - 1


def tanh_by_hyperbolic(x: Tensor) -> Tensor:
    return torch.sinh(x) / torch.cosh(x)


def _silu(x: Tensor) -> Tensor:
    return F.silu(x)


def silu_by_sigmoid(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def silu_by_exp(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def _softplus(x: Tensor) -> Tensor:
    """`log(1 + exp(x))`; PyTorch's softplus is another function, which is `x` from 20 on."""
    return -F.logsigmoid(-x)


def softplus_by_log(x: Tensor) -> Tensor:
    return torch.log(1 + torch.exp(x))


def softplus_stabilised(x: Tensor) -> Tensor:
    return torch.relu(x) + torch.log(1 + torch.exp(-torch.abs(x)))


def softplus_stabilised_after_all(x: Tensor) -> Tensor:
    return torch.relu(x) + torch.ops.aten.softplus.default(-torch.abs(x))


def softplus_stabilised_with_log_sigmoid(x: Tensor) -> Tensor:
    return torch.relu(x) - F.logsigmoid(torch.abs(x))


def softplus_of_opposite(x: Tensor) -> Tensor:
    return x - F.logsigmoid(x)


def _log_sigmoid(x: Tensor) -> Tensor:
    return F.logsigmoid(x)


def log_of_sigmoid(x: Tensor) -> Tensor:
    return torch.log(torch.sigmoid(x))


def _elu(x: Tensor, alpha: float) -> Tensor:
    return F.elu(x, alpha)


def elu_where_positive(x: Tensor, alpha: float) -> Tensor:
    return torch.where(x > 0, x, alpha * (torch.exp(x) - 1))


def elu_where_not_negative(x: Tensor, alpha: float) -> Tensor:
    return torch.where(x >= 0, x, alpha * (torch.exp(x) - 1))


# ---------------------------------------------------------------------- GELU

_CUBE = 0.044715
_RATE = math.sqrt(2 / math.pi)


def _gelu(x: Tensor) -> Tensor:
    return F.gelu(x)


def gelu_by_erf(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def gelu_by_erfc(x: Tensor) -> Tensor:
    return x * torch.erfc(-x / math.sqrt(2)) / 2


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def gelu_by_tanh(x: Tensor) -> Tensor:
    return x * (1 + torch.tanh(_RATE * (x + _CUBE * x**3))) / 2


def gelu_by_tanh_of_product(x: Tensor) -> Tensor:
    return x * (1 + torch.tanh(_RATE * x * (1 + _CUBE * x**2))) / 2


def gelu_by_sigmoid(x: Tensor) -> Tensor:
    return x * torch.sigmoid(2 * _RATE * (x + _CUBE * x**3))


def gelu_by_sigmoid_of_product(x: Tensor) -> Tensor:
    return x * torch.sigmoid(2 * _RATE * x * (1 + _CUBE * x**2))


def _softsign(x: Tensor) -> Tensor:
    return torch.ops.lirpa.derivative.default(x, "softsign", 0, [])


def softsign_by_absolute_value(x: Tensor) -> Tensor:
    return x / (1 + torch.abs(x))


def register(registry: PatternRegistry) -> None:
    """Register this file's patterns."""
    for name, written, becomes in (
        ("ReLU: where, x > 0", relu_where_positive, _relu),
        ("ReLU: where, x >= 0", relu_where_not_negative, _relu),
        ("ReLU: x * (x > 0)", relu_by_sign, _relu),
        ("ReLU: x * (x >= 0)", relu_by_sign_or_zero, _relu),
        ("ReLU: (x + |x|) / 2", relu_by_absolute_value, _relu),
        ("leaky ReLU: where, x > 0", leaky_where_positive, _leaky_relu),
        ("leaky ReLU: where, x >= 0", leaky_where_not_negative, _leaky_relu),
        ("leaky ReLU: two ReLUs", leaky_by_relus, _leaky_relu),
        ("leaky ReLU: ReLU and the rest", leaky_by_relu_and_rest, _leaky_relu),
        ("absolute value: where, x > 0", abs_where_positive, _abs),
        ("absolute value: where, x >= 0", abs_where_not_negative, _abs),
        ("absolute value: maximum", abs_by_maximum, _abs),
        ("absolute value: two ReLUs", abs_by_relus, _abs),
        ("sigmoid: by exp", sigmoid_by_exp, _sigmoid),
        ("sigmoid: by two exps", sigmoid_by_quotient, _sigmoid),
        ("sigmoid: by tanh", sigmoid_by_tanh, _sigmoid),
        ("tanh: by exp", tanh_by_exp, _tanh),
        ("tanh: by exp(2x)", tanh_by_exp_twice, _tanh),
        ("tanh: by exp(-2x)", tanh_by_exp_of_opposite, _tanh),
        ("tanh: by sigmoid", tanh_by_sigmoid, _tanh),
        ("tanh: by a reciprocal", tanh_by_reciprocal, _tanh),
        ("tanh: by a reciprocal, exp(-2x)", tanh_by_reciprocal_of_opposite, _tanh),
        ("tanh: sinh / cosh", tanh_by_hyperbolic, _tanh),
        ("SiLU: by sigmoid", silu_by_sigmoid, _silu),
        ("SiLU: by exp", silu_by_exp, _silu),
        ("softplus: by log", softplus_by_log, _softplus),
        ("softplus: by log of a small number", softplus_stabilised, _softplus),
        ("softplus: ReLU and softplus", softplus_stabilised_after_all, _softplus),
        ("softplus: ReLU and log-sigmoid", softplus_stabilised_with_log_sigmoid, _softplus),
        ("softplus: of the opposite", softplus_of_opposite, _softplus),
        ("softsign: by absolute value", softsign_by_absolute_value, _softsign),
        ("log-sigmoid: log of sigmoid", log_of_sigmoid, _log_sigmoid),
        ("ELU: where, x > 0", elu_where_positive, _elu),
        ("ELU: where, x >= 0", elu_where_not_negative, _elu),
        ("GELU: by erf", gelu_by_erf, _gelu),
        ("GELU: by erfc", gelu_by_erfc, _gelu),
        ("GELU by tanh: cube", gelu_by_tanh, _gelu_tanh),
        ("GELU by tanh: product", gelu_by_tanh_of_product, _gelu_tanh),
        ("GELU by tanh: sigmoid, cube", gelu_by_sigmoid, _gelu_tanh),
        ("GELU by tanh: sigmoid, product", gelu_by_sigmoid_of_product, _gelu_tanh),
    ):
        registry.register(name, written, becomes)
    registry.register("leaky ReLU: maximum", leaky_by_maximum, _leaky_relu, when=at_most_one)
