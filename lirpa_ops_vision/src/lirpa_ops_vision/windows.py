"""Windows of pooling operators: which elements each output element reads, and sums over them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lirpa_core.graph import Shape
from lirpa_core.linear.operators import LinearOp


@dataclass(frozen=True)
class Slide:
    """One kernel moved over the image by a stride, one number for each spatial dimension."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Windows:
    """For each of `P` output positions the `K` input positions that it reads.

    Attributes:
        index: `[P, K]` positions in the flattened space of `size`; `prod(size)` marks padding.
        size: Spatial size of the input.
        out_size: Spatial size of the output, `P` elements.
        axes: Along each axis, for each output position, the input positions that it reads.
        slide: The kernel that makes them, its last dimension first to vary within `K`; None for others.
    """

    index: Tensor
    size: Shape
    out_size: Shape
    axes: Sequence[Sequence[Sequence[int]]]
    slide: Slide | None = None

    @classmethod
    def regular(
        cls,
        size: Sequence[int],
        out_size: Sequence[int],
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        device: torch.device,
    ) -> Windows:
        """Windows of one kernel, moved by a stride; `out_size` says whether the last ones overhang."""
        axes = [
            [[o * s - p + k * d for k in range(n)] for o in range(out)]
            for out, n, s, p, d in zip(out_size, kernel, stride, padding, dilation, strict=True)
        ]
        slide = Slide(tuple(kernel), tuple(stride), tuple(padding), tuple(dilation))
        return replace(cls._product(axes, size, out_size, device), slide=slide)

    @classmethod
    def adaptive(cls, size: Sequence[int], out_size: Sequence[int], device: torch.device) -> Windows:
        """Windows of adaptive pooling: the `o`-th of `m` covers `⌊o·n/m⌋` to `⌈(o+1)·n/m⌉`."""
        axes = []
        for n, m in zip(size, out_size, strict=True):
            ranges = [list(range(o * n // m, -(-(o + 1) * n // m))) for o in range(m)]
            longest = max(len(r) for r in ranges)
            axes.append([r + [-1] * (longest - len(r)) for r in ranges])
        return cls._product(axes, size, out_size, device)

    @classmethod
    def _product(
        cls, axes: list[list[list[int]]], size: Sequence[int], out_size: Sequence[int], device: torch.device
    ) -> Windows:
        """Combine positions along each axis; whatever lies outside the image is padding."""
        whole = math.prod(size)
        dims = len(size)
        index = torch.zeros((1,) * (2 * dims), dtype=torch.long, device=device)
        inside = torch.ones_like(index, dtype=torch.bool)
        for d, (axis, n) in enumerate(zip(axes, size, strict=True)):
            at = torch.tensor(axis, dtype=torch.long, device=device)  # [out_d, k_d]
            shape = [1] * (2 * dims)
            shape[d], shape[dims + d] = at.shape
            index = index + at.reshape(shape) * math.prod(size[d + 1 :])
            inside = inside & ((at >= 0) & (at < n)).reshape(shape)
        index = torch.where(inside, index, whole)
        return cls(index.reshape(math.prod(out_size), -1), tuple(size), tuple(out_size), axes)

    @property
    def readers(self) -> Tensor:
        """`[prod(size), M]`: the flattened `(p, k)` that read each input element; `P·K` marks none.

        With it, a transpose gathers as well, which unlike scattering runs in parallel and always adds
        in the same order.
        """
        dims, none = len(self.size), self.index.numel()
        flat = torch.zeros((1,) * (2 * dims), dtype=torch.long, device=self.index.device)
        read = torch.ones_like(flat, dtype=torch.bool)
        kernel = [len(axis[0]) for axis in self.axes]
        for d, (axis, n) in enumerate(zip(self.axes, self.size, strict=True)):
            output, element = (
                math.prod(self.out_size[d + 1 :]) * math.prod(kernel),
                math.prod(kernel[d + 1 :]),
            )
            found: list[list[int]] = [[] for _ in range(n)]
            for o, window in enumerate(axis):
                for k, at in enumerate(window):
                    if 0 <= at < n:
                        found[at].append(o * output + k * element)
            most = max(1, *(len(places) for places in found))
            places = torch.tensor([f + [-1] * (most - len(f)) for f in found], device=flat.device)  # [n, m]
            shape = [1] * (2 * dims)
            shape[d], shape[dims + d] = places.shape
            flat = flat + places.reshape(shape)
            read = read & (places >= 0).reshape(shape)
        return torch.where(read, flat, none).reshape(math.prod(self.size), -1)

    def gather(self, x: Tensor, fill: float = 0.0) -> Tensor:
        """`[.., *size]` to `[.., *out_size, K]`, with `fill` as padding."""
        picked = self.padded(x, fill)[..., self.index]
        return picked.reshape(*picked.shape[:-2], *self.out_size, self.index.shape[1])

    def padded(self, x: Tensor, fill: float = 0.0) -> Tensor:
        """`[.., *size]` to `[.., prod(size) + 1]`; the last element stands for padding."""
        flat = x.flatten(x.dim() - len(self.size))
        return torch.cat([flat, flat.new_full((*flat.shape[:-1], 1), fill)], -1)

    @property
    def inside(self) -> Tensor:
        """Whether each element of the windows lies in the image: `[*out_size, K]`."""
        return (self.index < math.prod(self.size)).reshape(*self.out_size, -1)

    def scatter(self, values: Tensor) -> Tensor:
        """The transpose of `gather`: `[.., *out_size, K]` to `[.., *size]`."""
        flat = values.flatten(values.dim() - len(self.out_size) - 1)
        padded = torch.cat([flat, flat.new_zeros(*flat.shape[:-1], 1)], -1)
        return padded[..., self.readers].sum(-1).reshape(*flat.shape[:-1], *self.size)


@dataclass(frozen=True, eq=False)
class WindowSum(LinearOp):
    """`y = Σ_k weight[.., k] · x[window k]`.

    Attributes:
        windows: The windows.
        weight: `[B, *S_out, K]`; a leading one is shared by all examples. Zero at padding.
        shape: `S_in`: the dimensions before space are those of the output.
    """

    windows: Windows
    weight: Tensor
    shape: Shape

    @property
    def in_shape(self) -> Shape:
        return self.shape

    @property
    def out_shape(self) -> Shape:
        return tuple(self.weight.shape[1:-1])

    @property
    def fan_in(self) -> int:
        return self.windows.index.shape[1]

    @property
    def fan_out(self) -> int:
        return self.windows.readers.shape[-1]

    def apply(self, x: Tensor, lead: int = 1) -> Tensor:
        return self._sum(x, self.weight)

    def apply_abs(self, x: Tensor, lead: int = 1) -> Tensor:
        return self._sum(x, self.weight.abs())

    def _sum(self, x: Tensor, weight: Tensor) -> Tensor:
        """One element of the window at a time, so that nothing larger than the output is made."""
        windows = self.windows
        flat = windows.padded(x)
        total: Tensor | None = None
        for k in range(windows.index.shape[1]):
            part = flat[..., windows.index[:, k]].unflatten(-1, windows.out_size) * weight[..., k]
            total = part if total is None else total + part
        assert total is not None
        return total

    def transpose(self, A: Tensor) -> Tensor:
        windows = self.windows
        dims = len(windows.out_size)
        flat = A.flatten(A.dim() - dims)  # [R, B, .., P]
        weight = self.weight.flatten(self.weight.dim() - dims - 1)  # [B, .., P·K]
        weight = torch.cat([weight, weight.new_zeros(*weight.shape[:-1], 1)], -1)
        total: Tensor | None = None
        for reader in windows.readers.T:
            at = (reader // windows.index.shape[1]).clamp(max=flat.shape[-1] - 1)
            part = flat[..., at] * weight[..., reader]
            total = part if total is None else total + part
        assert total is not None
        return total.reshape(*total.shape[:-1], *windows.size)
