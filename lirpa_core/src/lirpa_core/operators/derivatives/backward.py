"""How the operators fall apart that PyTorch differentiates backward with: into products with derivatives of one variable.

Those of convolutions, poolings and normalisations are with respect to the operand that is perturbed; derivatives with respect to
weights are sums over examples, which no bound of one example is about.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lirpa_core.errors import UnsupportedOperatorError
from lirpa_core.operators.derivatives.operator import derivative
from lirpa_core.plugins import OperatorRegistry

aten = torch.ops.aten

# ---------------------------------------------------------------------- activations


def _times(name: str) -> Callable[..., Tensor]:
    """`grad_output · f'(self)` of an activation without parameters."""

    def backward(grad_output: Tensor, self: Tensor, *others: object) -> Tensor:
        return grad_output * derivative(self, name, 1)

    return backward


def tanh_backward(grad_output: Tensor, output: Tensor) -> Tensor:
    """`grad · (1 − y²)`."""
    return grad_output * (1 - torch.square(output))


def sigmoid_backward(grad_output: Tensor, output: Tensor) -> Tensor:
    """`grad · y (1 − y)`, which mentions y once."""
    return grad_output * (0.25 - torch.square(output - 0.5))


def gelu_backward(grad_output: Tensor, self: Tensor, *, approximate: str = "none") -> Tensor:
    """The derivative of one of the two GELUs."""
    return grad_output * derivative(self, "gelu_tanh" if approximate == "tanh" else "gelu", 1)


def softplus_backward(grad_output: Tensor, self: Tensor, beta: float, threshold: float) -> Tensor:
    """The derivative of softplus."""
    if beta > 0 and threshold > 0:
        return grad_output * derivative(self, "softplus", 1, (float(beta), float(threshold)))
    return grad_output * torch.where(self * beta > threshold, 1.0, torch.sigmoid(beta * self))


def elu_backward(
    grad_output: Tensor,
    alpha: float,
    scale: float,
    input_scale: float,
    is_result: bool,
    self_or_result: Tensor,
) -> Tensor:
    """The derivative of ELU, from its operand or, where it was computed in place, from its result."""
    x, coefficient = self_or_result, alpha * scale
    if is_result:
        negative = input_scale * (x + coefficient)
        return grad_output * torch.where(x <= 0, negative, scale)
    if input_scale > 0:
        return grad_output * derivative(x, "elu", 1, (float(alpha), float(scale), float(input_scale)))
    negative = coefficient * input_scale * torch.exp(input_scale * x.clamp(max=0))
    return grad_output * torch.where(x <= 0, negative, scale)


def threshold_backward(grad_output: Tensor, self: Tensor, threshold: float) -> Tensor:
    """The derivative of ReLU and of `threshold`."""
    return grad_output * derivative(self - threshold if threshold else self, "relu", 1)


def leaky_relu_backward(
    grad_output: Tensor, self: Tensor, negative_slope: float, self_is_result: bool
) -> Tensor:
    """The derivative of a leaky ReLU; its result has its operand's sign."""
    return grad_output * derivative(self, "leaky_relu", 1, (float(negative_slope),))


def hardtanh_backward(grad_output: Tensor, self: Tensor, min_val: float, max_val: float) -> Tensor:
    """The derivative of a clamp."""
    return grad_output * derivative(self, "hardtanh", 1, (float(min_val), float(max_val)))


def softshrink_backward(grad_output: Tensor, self: Tensor, lambd: float) -> Tensor:
    """The derivative of soft shrinkage."""
    return grad_output * derivative(self, "softshrink", 1, (float(lambd),))


# ---------------------------------------------------------------------- softmax


def softmax_backward(grad_output: Tensor, output: Tensor, dim: int, input_dtype: torch.dtype) -> Tensor:
    """`y (g − Σ g y)`."""
    found = output * (grad_output - (grad_output * output).sum(dim, keepdim=True))
    return found.to(input_dtype)


def log_softmax_backward(grad_output: Tensor, output: Tensor, dim: int, input_dtype: torch.dtype) -> Tensor:
    """`g − exp(y) Σ g`."""
    return (grad_output - torch.exp(output) * grad_output.sum(dim, keepdim=True)).to(input_dtype)


# ---------------------------------------------------------------------- normalisations


def layer_norm_backward(
    grad_out: Tensor,
    input: Tensor,  # noqa: A002
    normalized_shape: Sequence[int],
    mean: Tensor,
    rstd: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    output_mask: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The derivative with respect to the operand."""
    dims = list(range(input.dim() - len(normalized_shape), input.dim()))
    grad = grad_out if weight is None else grad_out * weight
    return _standardized(grad, (input - mean) * rstd, rstd, dims), None, None


def group_norm_backward(
    grad_out: Tensor,
    input: Tensor,  # noqa: A002
    mean: Tensor,
    rstd: Tensor,
    weight: Tensor | None,
    N: int,
    C: int,
    HxW: int,
    group: int,
    output_mask: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The derivative with respect to the operand."""
    grad = grad_out if weight is None else grad_out * weight.reshape([1, -1] + [1] * (input.dim() - 2))
    shape = (N, group, C // group * HxW)
    mean, rstd = mean.reshape(N, group, 1), rstd.reshape(N, group, 1)
    standard = (input.reshape(shape) - mean) * rstd
    return _standardized(grad.reshape(shape), standard, rstd, [-1]).reshape(input.shape), None, None


def _standardized(grad: Tensor, standard: Tensor, rstd: Tensor, dims: list[int]) -> Tensor:
    """`(g − mean g − z mean(g z)) / σ` with the standardised operand z, none of whose n elements is larger than `√(n − 1)`."""
    most = math.sqrt(max(math.prod([standard.shape[d] for d in dims]) - 1, 0))
    standard = standard.clamp(-most, most)
    along = (grad * standard).mean(dims, keepdim=True)
    return rstd * (grad - grad.mean(dims, keepdim=True) - standard * along)


def batch_norm_backward(
    grad_out: Tensor,
    input: Tensor,  # noqa: A002
    weight: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    save_mean: Tensor | None,
    save_invstd: Tensor | None,
    train: bool,
    eps: float,
    output_mask: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The derivative with respect to the operand, with running statistics."""
    if train or running_var is None:
        raise UnsupportedOperatorError(
            "the derivative of a batch norm with the statistics of its batch mixes examples. Call model.eval()."
        )
    scale = torch.rsqrt(running_var + eps)
    scale = scale if weight is None else scale * weight
    return grad_out * scale.reshape([1, -1] + [1] * (input.dim() - 2)), None, None


# ---------------------------------------------------------------------- convolutions and pooling


def convolution_backward(
    grad_output: Tensor,
    input: Tensor,  # noqa: A002
    weight: Tensor,
    bias_sizes: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    output_mask: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The derivative with respect to the operand: the transposed convolution."""
    space = len(stride)
    if transposed:
        found = aten.convolution.default(
            grad_output, weight, None, stride, padding, dilation, False, [0] * space, groups
        )
        return found, None, None
    missing = []
    for i in range(space):
        kernel = dilation[i] * (weight.shape[2 + i] - 1) + 1
        reached = (grad_output.shape[2 + i] - 1) * stride[i] - 2 * padding[i] + kernel
        missing.append(input.shape[2 + i] - reached)
    found = aten.convolution.default(
        grad_output, weight, None, stride, padding, dilation, True, missing, groups
    )
    return found, None, None


def avg_pool2d_backward(
    grad_output: Tensor,
    self: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    """Every mean is spread evenly over its window."""
    kernel, stride, padding = _pair(kernel_size), _pair(stride or kernel_size), _pair(padding)
    ones = torch.ones([1, 1, *self.shape[-2:]], dtype=self.dtype, device=self.device)
    share = F.avg_pool2d(ones, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override)
    inside = F.avg_pool2d(
        ones, kernel, stride, padding, ceil_mode, True, 1
    )  # elements of each window that exist
    grad = grad_output * (share / inside)
    return _spread(grad, self, kernel, stride, padding, (1, 1))


def _spread(
    grad: Tensor,
    like: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """The sum of what windows give to each of their elements, all the same."""
    batched = grad if grad.dim() == 4 else grad.unsqueeze(0)
    channels = batched.shape[1]
    ones = torch.ones([channels, 1, *kernel], dtype=grad.dtype, device=grad.device)
    size = [
        (n - 1) * s + d * (k - 1) + 1
        for n, s, d, k in zip(batched.shape[2:], stride, dilation, kernel, strict=True)
    ]
    wide = aten.convolution.default(
        batched, ones, None, list(stride), [0, 0], list(dilation), True, [0, 0], channels
    )
    return _cropped(wide, size, like, padding)


def _cropped(wide: Tensor, size: Sequence[int], like: Tensor, padding: Sequence[int]) -> Tensor:
    """What lies inside of the image, of what windows reach."""
    for dim, reached, n, before in zip((-2, -1), size, like.shape[-2:], padding, strict=True):
        if reached < before + n:
            pad = [0, before + n - reached] if dim == -1 else [0, 0, 0, before + n - reached]
            wide = F.pad(wide, pad)
        wide = wide.narrow(dim, before, n)
    return wide.reshape(like.shape)


def max_pool2d_backward(
    grad_output: Tensor,
    self: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
    indices: Tensor,
) -> Tensor:
    """Every window gives to its largest element, the first of those.

    Whether an element is the largest is a step of its difference from the maximum of the others. At a tie the step has both
    values, whichever is chosen.
    """
    kernel, stride = _pair(kernel_size), _pair(stride or kernel_size)
    padding, dilation = _pair(padding), _pair(dilation)
    x = self if self.dim() == 4 else self.unsqueeze(0)
    grad = grad_output if grad_output.dim() == 4 else grad_output.unsqueeze(0)
    height, width = grad.shape[-2:]
    reach = [
        (n - 1) * s + d * (k - 1) + 1
        for n, s, d, k in zip((height, width), stride, dilation, kernel, strict=True)
    ]
    after = [max(0, r - p - n) for r, p, n in zip(reach, padding, x.shape[-2:], strict=True)]
    offsets = list(itertools.product(range(kernel[0]), range(kernel[1])))
    kept: list[tuple[tuple[int, int], Tensor, Tensor]] = []
    padded = F.pad(x, [padding[1], after[1], padding[0], after[0]])
    inside = F.pad(torch.ones_like(x[:1, :1]), [padding[1], after[1], padding[0], after[0]])
    for i, j in offsets:
        at = _window(padded, (i, j), stride, dilation, (height, width))
        exists = _window(inside, (i, j), stride, dilation, (height, width))
        kept.append(((i, j), at, exists))
    values, there = [at for _, at, _ in kept], [exists for _, _, exists in kept]
    chosen = _largest(values) if sum(padding) + sum(after) == 0 else _largest_of_those(values, there)
    wide = torch.zeros_like(padded)
    for (offset, _, _), own in zip(kept, chosen, strict=True):
        wide = wide + _placed(grad * own, padded, offset, stride, dilation)
    return _cropped(wide, padded.shape[-2:], self, padding)


def _largest(values: Sequence[Tensor]) -> list[Tensor]:
    """For each of several tensors, 1 where its element is the largest, the first of those."""
    before = list(itertools.accumulate(values, torch.maximum))
    after = list(itertools.accumulate(reversed(values), torch.maximum))[::-1]
    found = []
    for place, value in enumerate(values):
        one = torch.ones_like(value) if place == 0 else _larger(value, before[place - 1], True)
        found.append(one if place == len(values) - 1 else one * _larger(value, after[place + 1], False))
    return found


def _largest_of_those(values: Sequence[Tensor], exists: Sequence[Tensor]) -> list[Tensor]:
    """As `_largest`, among elements that exist: others are zeros around an image."""
    found = []
    for place, value in enumerate(values):
        chosen = exists[place].expand_as(value)
        for other, there in enumerate(exists):
            if other != place:
                larger = _larger(value, values[other], other < place)
                chosen = chosen * (there * larger + (1 - there))
        found.append(chosen)
    return found


def _larger(x: Tensor, other: Tensor, strictly: bool) -> Tensor:
    """1 where x is larger, or as large unless strictly."""
    if strictly:
        return derivative(x - other, "relu", 1)
    return 1 - derivative(other - x, "relu", 1)


def _window(
    x: Tensor, offset: tuple[int, int], stride: Sequence[int], dilation: Sequence[int], size: tuple[int, int]
) -> Tensor:
    """The elements at one offset of all windows."""
    for dim, o, s, d, n in zip((-2, -1), offset, stride, dilation, size, strict=True):
        start = o * d
        x = x.narrow(dim, start, (n - 1) * s + 1)
        index = torch.arange(0, (n - 1) * s + 1, s, device=x.device)
        x = x if s == 1 else x.index_select(dim, index)
    return x


def _placed(
    x: Tensor, like: Tensor, offset: tuple[int, int], stride: Sequence[int], dilation: Sequence[int]
) -> Tensor:
    """What `_window` takes elements from, with these there and zeros elsewhere."""
    for dim, o, s, d in zip((-2, -1), offset, stride, dilation, strict=True):
        start, n, full = o * d, x.shape[dim], like.shape[dim]
        to = start + s * torch.arange(n, device=x.device)
        matrix = (torch.arange(full, device=x.device).unsqueeze(-1) == to).to(x.dtype)  # [full, n]
        x = torch.matmul(matrix, x) if dim == -2 else torch.matmul(x, matrix.transpose(0, 1))
    return x


def _pair(value: Sequence[int]) -> list[int]:
    return [int(n) for n in (list(value) * 2 if len(value) == 1 else value)]


# ---------------------------------------------------------------------- what derivatives are filled with


def efficient_zeros(size: Sequence[int], **options: Any) -> Tensor:
    """Zeros that take memory."""
    return torch.zeros(size, dtype=options.get("dtype"), device=options.get("device"))


def register(registry: OperatorRegistry) -> None:
    """Register this file's decompositions."""
    for op, function in (
        (aten.tanh_backward.default, tanh_backward),
        (aten.sigmoid_backward.default, sigmoid_backward),
        (aten.gelu_backward.default, gelu_backward),
        (aten.silu_backward.default, _times("silu")),
        (aten.mish_backward.default, _times("mish")),
        (aten.softplus_backward.default, softplus_backward),
        (aten.log_sigmoid_backward.default, _times("log_sigmoid")),
        (aten.elu_backward.default, elu_backward),
        (aten.threshold_backward.default, threshold_backward),
        (aten.leaky_relu_backward.default, leaky_relu_backward),
        (aten.hardtanh_backward.default, hardtanh_backward),
        (aten.hardswish_backward.default, _times("hardswish")),
        (aten.hardsigmoid_backward.default, _times("hardsigmoid")),
        (aten.softshrink_backward.default, softshrink_backward),
        (aten._softmax_backward_data.default, softmax_backward),
        (aten._log_softmax_backward_data.default, log_softmax_backward),
        (aten.native_layer_norm_backward.default, layer_norm_backward),
        (aten.native_group_norm_backward.default, group_norm_backward),
        (aten.native_batch_norm_backward.default, batch_norm_backward),
        (aten.convolution_backward.default, convolution_backward),
        (aten.avg_pool2d_backward.default, avg_pool2d_backward),
        (aten.max_pool2d_with_indices_backward.default, max_pool2d_backward),
        (aten._efficientzerotensor.default, efficient_zeros),
    ):
        registry.decompose(op, function)
