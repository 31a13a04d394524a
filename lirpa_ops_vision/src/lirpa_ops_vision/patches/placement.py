"""Where the window of each row lies, kept as an affine function of the row's own position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from lirpa_core.devices import same_positions
from lirpa_core.linear.relax import take_rows, unobserved

Pair: TypeAlias = tuple[int, int]

#: From this part of the image on, gathering slopes for a window costs more than it saves (measured on
#: the residual networks of VNN-COMP 2021).
_DENSE_FROM = 0.75


@dataclass(frozen=True, eq=False)
class Placement:
    """Windows of `R0` rows over an image: the window of a row begins at `anchor · stride + offset`.

    The anchor is the position at which the row started, in the value that it was a row of. It never
    changes while stride and offset, plain numbers, follow the operators on the way. So windows of two
    branches are compared without reading the device.

    Attributes:
        anchor: `[R0, B or 1]`, flattened positions in `space`.
        space: Height and width that the anchors range over.
        stride: Pixels between windows of neighbouring anchors.
        offset: Where the window of the first anchor begins; negative: before the image.
        kernel: Height and width of the windows.
        size: Height and width of the image.
    """

    anchor: Tensor
    space: Pair
    stride: Pair
    offset: Pair
    kernel: Pair
    size: Pair

    @property
    def rows(self) -> int:
        """`R0`."""
        return self.anchor.shape[0]

    @property
    def overhang(self) -> tuple[int, int, int, int]:
        """How far windows reach beyond the image: left, right, top, bottom, as `constant_pad_nd` has it."""
        sides: list[int] = []
        for d in (1, 0):
            last = (self.space[d] - 1) * self.stride[d] + self.offset[d] + self.kernel[d]
            sides += [max(0, -self.offset[d]), max(0, last - self.size[d])]
        return sides[0], sides[1], sides[2], sides[3]

    @property
    def inside(self) -> bool:
        """Whether no window of any anchor reaches beyond the image."""
        return not any(self.overhang)

    @property
    def covers(self) -> bool:
        """Whether the window is so large a part of the image that dense coefficients cost less."""
        return self.kernel[0] * self.kernel[1] >= _DENSE_FROM * self.size[0] * self.size[1]

    def same_rows(self, other: Placement) -> bool:
        """Whether the rows of both began at the same places."""
        if self.space != other.space:
            return False
        if self.anchor is other.anchor:
            return True
        if self.anchor.shape != other.anchor.shape:
            return False
        return same_positions(self.anchor, other.anchor)

    def take(self, start: int, stop: int) -> Placement:
        """Rows `start` to `stop`."""
        return replace(self, anchor=self.anchor[start:stop])

    def repeated(self, times: int) -> Placement:
        """The rows one after the other, several times."""
        return self if times == 1 else replace(self, anchor=self.anchor.repeat(times, 1))

    def windows(self, image: Tensor) -> Tensor:
        """The windows of every anchor there can be, cut out of an image.

        Args:
            image: `[B, C, H, W]`.

        Returns:
            `[Ha, Wa, B, C, kh, kw]` for anchors `[Ha, Wa]`, a view; zero outside the image.
        """
        left, right, top, bottom = self.overhang
        padded = torch.constant_pad_nd(image, (left, right, top, bottom)) if not self.inside else image
        first = (self.offset[0] + top, self.offset[1] + left)
        cut = padded[..., first[0] :, first[1] :]
        unfolded = cut.unfold(2, self.kernel[0], self.stride[0]).unfold(3, self.kernel[1], self.stride[1])
        unfolded = unfolded[:, :, : self.space[0], : self.space[1]]  # [B, C, Ha, Wa, kh, kw]
        return unfolded.permute(2, 3, 0, 1, 4, 5)

    def pick(self, windows: Tensor, start: int, stop: int) -> Tensor:
        """The windows of rows `start` to `stop`: `[Ha, Wa, B, ..]` to `[R, B, ..]`."""
        if windows.is_contiguous() and unobserved(windows):
            return take_rows(windows.flatten(0, 2), self._numbers(start, stop, windows.shape[2]))
        anchor = self.anchor[start:stop]
        down, right = anchor // self.space[1], anchor % self.space[1]
        if anchor.shape[1] == 1:
            return windows[down[:, 0], right[:, 0]]
        if windows.shape[2] == 1:
            return windows[:, :, 0][down, right]
        return windows[down, right, torch.arange(windows.shape[2], device=anchor.device)]

    def _numbers(self, start: int, stop: int, batch: int) -> Tensor:
        """Numbers of the windows of rows `start` to `stop` among the windows `[Ha, Wa, B]` of an image, `[R, B]`."""
        return self.anchor[start:stop] * batch + torch.arange(batch, device=self.anchor.device)

    def pixels(self) -> tuple[Tensor, Tensor]:
        """Flattened position of every element of the windows, and whether it lies in the image.

        Returns:
            Two of `[R0, B or 1, kh, kw]`; positions outside are clamped into the image.
        """
        device = self.anchor.device
        at: list[Tensor] = []
        for d, place in enumerate((self.anchor // self.space[1], self.anchor % self.space[1])):
            steps = torch.arange(self.kernel[d], device=device)
            steps = steps[:, None] if d == 0 else steps
            at.append((place * self.stride[d] + self.offset[d])[..., None, None] + steps)
        valid = (at[0] >= 0) & (at[0] < self.size[0]) & (at[1] >= 0) & (at[1] < self.size[1])
        flat = at[0].clamp(0, self.size[0] - 1) * self.size[1] + at[1].clamp(0, self.size[1] - 1)
        return flat, valid

    def through(
        self, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], size: Pair
    ) -> Placement:
        """The windows that the elements of these windows read through a sliding kernel.

        Args:
            kernel: Extent of the kernel, dilation included.
            stride: Its stride.
            padding: Padding before the image.
            size: Size of the image that it slides over.
        """
        return replace(
            self,
            stride=(self.stride[0] * stride[0], self.stride[1] * stride[1]),
            offset=(self.offset[0] * stride[0] - padding[0], self.offset[1] * stride[1] - padding[1]),
            kernel=(
                (self.kernel[0] - 1) * stride[0] + kernel[0],
                (self.kernel[1] - 1) * stride[1] + kernel[1],
            ),
            size=size,
        )

    def union(self, other: Placement) -> Placement:
        """The smallest windows that hold those of both; the rows and strides must agree."""
        first = [min(a, b) for a, b in zip(self.offset, other.offset, strict=True)]
        ends = [
            max(a + n, b + m)
            for a, n, b, m in zip(self.offset, self.kernel, other.offset, other.kernel, strict=True)
        ]
        return replace(self, offset=(first[0], first[1]), kernel=(ends[0] - first[0], ends[1] - first[1]))

    def margin(self, larger: Placement) -> tuple[int, int, int, int]:
        """What to pad a window with so that it becomes the `larger` one, as `constant_pad_nd` has it."""
        sides: list[int] = []
        for d in (1, 0):
            before = self.offset[d] - larger.offset[d]
            sides += [before, larger.kernel[d] - self.kernel[d] - before]
        return sides[0], sides[1], sides[2], sides[3]
