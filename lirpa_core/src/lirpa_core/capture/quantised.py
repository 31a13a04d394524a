"""Quantised numbers, found before operators are decomposed: rounding to multiples of a scale, within limits, and back.

`quantized_decomposed` are the operators that PyTorch's quantisation of exported programs leaves in them. They are known by
their names: the module that defines them is loaded by whoever uses it. PyTorch's older quantised tensors exist between
`quantize_per_tensor` and `dequantize` alone, so these two are one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx import Node

from lirpa_core.capture.inlining import inlined, put_in_place

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from lirpa_core.capture.recording import Recorded

aten = torch.ops.aten

_LIMITS = {torch.qint8: (-128, 127), torch.quint8: (0, 255), torch.qint32: (-(2**31), 2**31 - 1)}


def _inverse(scale: Any) -> Any:
    return torch.reciprocal(scale) if isinstance(scale, Tensor) else 1.0 / scale


def _levels(x: Tensor, scale: Any, zero_point: Any, low: int, high: int) -> Tensor:
    levels: Tensor = torch.round(x * _inverse(scale)) + zero_point
    return levels.clamp(low, high)


def _along(values: Tensor, x: Tensor, axis: int) -> Tensor:
    shape = [1] * x.dim()
    shape[axis] = -1
    return values.reshape(shape)


def quantize_per_tensor(
    input: Tensor,  # noqa: A002
    scale: Any,
    zero_point: Any,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
) -> Tensor:
    """The number of the nearest multiple of the scale, within limits.

    It is whole, and stays in the type of the input: a conversion would cut off what bounds are rounded outward by, and be a step away.
    """
    return _levels(input, scale, zero_point, quant_min, quant_max)


def dequantize_per_tensor(
    input: Tensor,  # noqa: A002
    scale: Any,
    zero_point: Any,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
    *,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """The multiple of that number."""
    found: Tensor = (input.to(out_dtype or torch.float32) - zero_point) * scale
    return found


def quantize_per_channel(
    input: Tensor,  # noqa: A002
    scales: Tensor,
    zero_points: Tensor,
    axis: int,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
) -> Tensor:
    """As `quantize_per_tensor`, with a scale for each entry of a dimension."""
    scale, zero = _along(scales, input, axis), _along(zero_points, input, axis)
    return _levels(input, scale.to(input.dtype), zero.to(input.dtype), quant_min, quant_max)


def dequantize_per_channel(
    input: Tensor,  # noqa: A002
    scales: Tensor,
    zero_points: Tensor | None,
    axis: int,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
    *,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """As `dequantize_per_tensor`, with a scale for each entry of a dimension."""
    x = input.to(out_dtype or torch.float32)
    scale = _along(scales, x, axis).to(x.dtype)
    return x * scale if zero_points is None else (x - _along(zero_points, x, axis).to(x.dtype)) * scale


#: By name.
_EXPORTED: Mapping[str, Callable[..., Tensor]] = {
    "quantized_decomposed::quantize_per_tensor": quantize_per_tensor,
    "quantized_decomposed::dequantize_per_tensor": dequantize_per_tensor,
    "quantized_decomposed::quantize_per_channel": quantize_per_channel,
    "quantized_decomposed::dequantize_per_channel": dequantize_per_channel,
}


def _fake(x: Tensor, scale: Any, zero_point: Any, dtype: torch.dtype) -> Tensor:
    found: Tensor = (_levels(x, scale, zero_point, *_LIMITS[dtype]) - zero_point) * scale
    return found


def _fake_per_channel(x: Tensor, scales: Tensor, zeros: Tensor, axis: int, dtype: torch.dtype) -> Tensor:
    scale, zero = _along(scales, x, axis).to(x.dtype), _along(zeros, x, axis).to(x.dtype)
    return _fake(x, scale, zero, dtype)


#: Operators whose results are quantised tensors.
_QUANTISED: Mapping[Any, Callable[..., Tensor]] = {
    aten.quantize_per_tensor.default: _fake,
    aten.quantize_per_channel.default: _fake_per_channel,
}


def write_out_quantised(program: ExportedProgram | Recorded) -> None:
    """Write out, in place, every operator that quantises, or takes what is quantised, in operators on real numbers."""
    for node in list(program.graph.nodes):
        if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
            continue
        function = _EXPORTED.get(node.target.name().partition(".")[0])
        if function is not None:
            _write(program, node, function, [node])
        elif node.target in _QUANTISED and all(u.target is aten.dequantize.self for u in node.users):
            _write(program, node, _QUANTISED[node.target], list(node.users))


def _write(
    program: ExportedProgram | Recorded, node: Node, function: Callable[..., Tensor], ends: list[Node]
) -> None:
    given = node.all_input_nodes
    where = {n: i for i, n in enumerate(given)}

    def written(*tensors: Tensor) -> list[Tensor]:
        def value(argument: Any) -> Any:
            return tensors[where[argument]] if isinstance(argument, Node) else argument

        return [function(*map(value, node.args), **{k: value(v) for k, v in node.kwargs.items()})]

    (found,) = inlined(written, given, node)
    for end in ends:
        put_in_place(program, end, found)
        program.graph.erase_node(end)
    if node not in ends:
        program.graph.erase_node(node)
