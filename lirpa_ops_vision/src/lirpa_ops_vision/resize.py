"""Rules of interpolation, which acts on each axis alone, and of sampling on a constant grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from lirpa_core.graph import Shape
from lirpa_core.linear.operators import LinearOp
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules import Call, Linear

aten = torch.ops.aten


@dataclass(frozen=True, eq=False)
class AxisProduct(LinearOp):
    """One matrix along each of the last axes: `y = W₁ ⊗ W₂ ⊗ .. x`.

    Its absolute values are the product of the factors' absolute values, so that mixed signs, as bicubic
    interpolation has them, cost no more than equal ones.

    Attributes:
        matrices: `[out_d, in_d]` for each spatial axis.
        shape: `S_in`.
    """

    matrices: tuple[Tensor, ...]
    shape: Shape

    @property
    def in_shape(self) -> Shape:
        return self.shape

    @property
    def out_shape(self) -> Shape:
        return (*self.shape[: len(self.shape) - len(self.matrices)], *(len(W) for W in self.matrices))

    @property
    def fan_in(self) -> int:
        return sum([W.shape[1] for W in self.matrices])

    @property
    def fan_out(self) -> int:
        return sum([W.shape[0] for W in self.matrices])

    def apply(self, x: Tensor, lead: int = 1) -> Tensor:
        return _along_axes(x, self.matrices)

    def apply_abs(self, x: Tensor, lead: int = 1) -> Tensor:
        return _along_axes(x, tuple(W.abs() for W in self.matrices))

    def transpose(self, A: Tensor) -> Tensor:
        return _along_axes(A, tuple(W.T for W in self.matrices))


def _along_axes(x: Tensor, matrices: tuple[Tensor, ...]) -> Tensor:
    first = x.dim() - len(matrices)
    return reduce(
        lambda y, item: (y.movedim(first + item[0], -1) @ item[1].T).movedim(-1, first + item[0]),
        enumerate(matrices),
        x,
    )


def resize_operator(call: Call, slot: int) -> AxisProduct:
    """Interpolation as a product of one matrix an axis.

    The matrices are read off the operator itself, so that every way to state the scale, the corners and
    the smoothing is covered. The weights of a position sum to one, so an axis may be isolated by an
    image that is constant along the others.
    """
    dims = spatial_dims(call)
    size = call.shapes[slot][len(call.shapes[slot]) - dims :]
    with torch.no_grad():
        matrices = tuple(_axis_matrix(call, size, d) for d in range(dims))
    return AxisProduct(matrices, call.shapes[slot])


def spatial_dims(call: Call) -> int:
    """Number of spatial dimensions, from the operator's name."""
    name = str(call.node.target)
    return next(d for d in (1, 2, 3) if f"{d}d" in name)


def _axis_matrix(call: Call, size: Shape, axis: int) -> Tensor:
    """The operator along one axis, `[out, in]`."""
    n = size[axis]
    eye = torch.eye(n, dtype=call.slot_dtype(0), device=call.device)
    shape = [n, 1] + [1] * len(size)
    shape[axis + 2] = n
    images = eye.reshape(shape).expand(n, 1, *size)
    out = call.function([images], ())
    return out[(slice(None), 0, *(slice(None) if d == axis else 0 for d in range(len(size))))].T


def _grid_sign(call: Call, slot: int) -> int | None:
    """Bilinear and nearest weights are not negative, bicubic ones may be."""
    return None if call["interpolation_mode"] == 2 else 1


_RESIZES = (
    aten.upsample_nearest1d, aten.upsample_nearest2d, aten.upsample_nearest3d,
    aten._upsample_nearest_exact1d, aten._upsample_nearest_exact2d, aten._upsample_nearest_exact3d,
    aten.upsample_linear1d, aten.upsample_bilinear2d, aten.upsample_trilinear3d, aten.upsample_bicubic2d,
    aten._upsample_bilinear2d_aa, aten._upsample_bicubic2d_aa,
)  # fmt: skip


def register(registry: OperatorRegistry) -> None:
    """Register this file's rules."""
    for packet in _RESIZES:
        registry.register(packet.default, Linear(("self",), operator=resize_operator))
        registry.register(packet.vec, Linear(("input",), operator=resize_operator))
    for op in (aten.grid_sampler.default, aten.grid_sampler_2d.default, aten.grid_sampler_3d.default):
        registry.register(op, Linear(("input",), sign=_grid_sign))
