"""Quantised numbers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.kinds.case import Case


def int8_linear(x: Tensor) -> Tensor:
    """A linear layer as PT2E exports it: quantised, dequantised, multiplied, quantised again."""
    ops = torch.ops.quantized_decomposed
    q = ops.quantize_per_tensor(x, 0.02, 3, -128, 127, torch.int8)
    x = ops.dequantize_per_tensor(q, 0.02, 3, -128, 127, torch.int8)
    weight = torch.linspace(-1, 1, 12).reshape(3, 4)
    q = ops.quantize_per_tensor(x @ weight.T, 0.05, 0, -128, 127, torch.int8)
    return ops.dequantize_per_tensor(q, 0.05, 0, -128, 127, torch.int8)


def quantised(name: str, function: Callable[[Tensor], Tensor], dtype: torch.dtype = torch.float32) -> Case:
    """A case in float32."""
    import torch.ao.quantization.fx._decomposed  # noqa: F401 - registers the operators that PT2E exports

    return Case(name, lambda: function, (4,), -1.0, 1.0, dtype)


_SCALES = torch.tensor([0.1, 0.2, 0.05, 0.3])

CASES: tuple[Case, ...] = (
    quantised("fake_quantize per tensor", lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 2, -8, 7)),
    quantised("fake_quantize per channel", lambda x: torch.fake_quantize_per_channel_affine(x, _SCALES, torch.zeros(4, dtype=torch.int32), 1, -8, 7)),
    quantised("quantize_per_tensor (PT2E)", lambda x: torch.ops.quantized_decomposed.dequantize_per_tensor(torch.ops.quantized_decomposed.quantize_per_tensor(x, 0.1, 0, -8, 7, torch.int8), 0.1, 0, -8, 7, torch.int8)),
    quantised("quantize_per_channel (PT2E)", lambda x: torch.ops.quantized_decomposed.dequantize_per_channel(torch.ops.quantized_decomposed.quantize_per_channel(x, _SCALES, torch.zeros(4), 1, -8, 7, torch.int8), _SCALES, torch.zeros(4), 1, -8, 7, torch.int8)),
    quantised("int8 linear layer (PT2E)", int8_linear),
    quantised("torch.quantize_per_tensor", lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8).dequantize()),
    quantised("rounding to int8 by hand", lambda x: (x / 0.1).round().clamp(-8, 7).to(torch.int8).to(torch.float32) * 0.1),
    quantised("binarised weights and signs", lambda x: x.sign() @ torch.linspace(-1, 1, 12).reshape(3, 4).sign().T),
    quantised("float16 in the middle", lambda x: x.half().float() * 2),
    quantised("bfloat16 in the middle", lambda x: x.bfloat16().float() * 2),
)  # fmt: skip
