"""Quantised numbers: bounds jump where the model does."""

import pytest
import torch
import torch.ao.quantization.fx._decomposed

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm

SCALES, ZEROS = torch.tensor([0.1, 0.2, 0.05]), torch.tensor([1, 0, -2])
X = torch.tensor([[0.31, -0.62, 0.17], [1.92, 0.11, -0.4]])
decomposed = torch.ops.quantized_decomposed


def per_tensor(x):
    q = decomposed.quantize_per_tensor(x, 0.1, 1, -8, 7, torch.int8)
    return decomposed.dequantize_per_tensor(q, 0.1, 1, -8, 7, torch.int8)


def per_channel(x):
    q = decomposed.quantize_per_channel(x, SCALES, ZEROS, 1, -8, 7, torch.int8)
    return decomposed.dequantize_per_channel(q, SCALES, ZEROS, 1, -8, 7, torch.int8)


@pytest.mark.parametrize(
    "function",
    [
        per_tensor,
        per_channel,
        lambda x: torch.fake_quantize_per_channel_affine(x, SCALES, ZEROS.to(torch.int32), 1, -8, 7),
        lambda x: torch.quantize_per_tensor(x, 0.1, 1, torch.qint8).dequantize(),
    ],
    ids=["per tensor", "per channel", "fake, per channel", "quantised tensor"],
)
def test_the_interval_is_that_of_the_ends(function):
    """Rounding to multiples never falls, so its least and greatest values on a box are at its ends."""
    ball = BoundedTensor(X, PerturbationLpNorm(eps=0.113))
    lower, upper = BoundedModule(function, X, bound_opts={"rounding": "nearest"}).compute_bounds(
        x=(ball,), method="IBP"
    )
    torch.testing.assert_close(lower, function(X - 0.113))
    torch.testing.assert_close(upper, function(X + 0.113))


def test_a_network_with_int8_weights():
    weight = torch.tensor([[12, -7, 3], [5, 100, -20]], dtype=torch.int8)

    def model(x):
        w = decomposed.dequantize_per_tensor(weight, 0.02, 0, -128, 127, torch.int8)
        return torch.relu(per_tensor(x) @ w.T)

    lower, upper = BoundedModule(model, X).compute_bounds(
        x=(BoundedTensor(X, PerturbationLpNorm(eps=0.113)),), method="CROWN"
    )
    for t in torch.linspace(-0.113, 0.113, 41):
        assert (lower <= model(X + t) + 1e-6).all() and (model(X - t) <= upper + 1e-6).all()
