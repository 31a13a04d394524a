"""Patches: coefficients that are zero outside a window of the image, a window for each row."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lirpa_core.graph import Shape
from lirpa_core.linear import scaled_norm
from lirpa_core.linear.coefficients import (
    Coefficients,
    OptionalSides,
    SelectedRows,
    Sides,
    StructuredCoefficients,
    picked,
)
from lirpa_core.linear.relax import relax_halves, relax_into, unobserved
from lirpa_ops_vision.patches.placement import Placement

#: Elements of the windows that one step works on, so that temporaries stay small and in the cache.
_CHUNK = 2**17


@dataclass(frozen=True, eq=False)
class PatchesCoefficients(StructuredCoefficients):
    """Rows whose coefficients vanish outside a window (cf. Xu et al. 2020, "patches mode").

    Rows may repeat the placement: rows `i`, `i + R0`, `i + 2 R0`, .. share one window. What lies
    outside the image counts as zero, whatever is stored there, unless `clean` says it is zero.

    Attributes:
        values: `[R, B, C, kh, kw]`, `R` a multiple of the placement's `R0`; `B` of one is shared.
        place: The windows.
        size: `S`: `(1, .., 1, C, H, W)`.
        clean: Whether the values outside the image are known to be zero.
    """

    values: Tensor
    place: Placement
    size: Shape
    clean: bool = False

    @property
    def rows(self) -> int:
        return self.values.shape[0]

    @property
    def batch(self) -> int:
        return max(self.values.shape[1], self.place.anchor.shape[1])

    @property
    def shape(self) -> Shape:
        return self.size

    @property
    def numel(self) -> int:
        return self.values.numel()

    def to_dense(self) -> Tensor:
        pixels, valid = self.place.pixels()  # [R0, B, kh, kw]
        repeat, batch, channels = self.repeat, self.batch, self.size[-3]
        values = torch.where(self._broadcast(valid), self._blocks(self.values), 0).flatten(-2)
        values = values.expand(repeat, -1, batch, -1, -1)  # [n, R0, B, C, k]
        index = self._broadcast(pixels).flatten(-2).expand(values.shape)
        out = values.new_zeros(*values.shape[:4], math.prod(self.place.size))
        if unobserved(values):  # written out in pieces, where an expanded index takes many times as long
            step = max(1, _CHUNK // max(1, values[0, 0].numel()))
            for block, at, part in zip(out, index, values, strict=True):
                for to, where, what in zip(block.split(step), at.split(step), part.split(step), strict=True):
                    to.scatter_add_(-1, where.contiguous(), what.contiguous())
        else:
            out = out.scatter_add(-1, index, values)
        return out.reshape(self.rows, batch, *self.size[:-3], channels, *self.place.size)

    @property
    def repeat(self) -> int:
        """How many rows share a window."""
        return self.rows // self.place.rows

    def _blocks(self, x: Tensor) -> Tensor:
        """`[R, ..]` to `[repeat, R0, ..]`."""
        return x.reshape(self.repeat, self.place.rows, *x.shape[1:])

    @staticmethod
    def _broadcast(x: Tensor) -> Tensor:
        """`[R0, B, kh, kw]` to `[1, R0, B, 1, kh, kw]`."""
        return x.unsqueeze(2).unsqueeze(0)

    def with_values(self, values: Tensor, *, clean: bool) -> PatchesCoefficients:
        """Other values in the same windows."""
        return replace(self, values=values, clean=clean)

    def cleaned(self) -> PatchesCoefficients:
        """The same coefficients with zeros outside the image."""
        if self.clean or self.place.inside:
            return self
        _, valid = self.place.pixels()
        values = self._blocks(self.values) * self._broadcast(valid).to(self.values.dtype)
        return self.with_values(values.flatten(0, 1), clean=True)

    # -------------------------------------------------------------- products with values [B, *S]

    def _images(self, value: Tensor) -> Tensor:
        """A value that broadcasts against `[B, *S]`, as `[B, C, H, W]`."""
        rank = len(self.size)
        value = value.reshape(*([1] * max(0, rank + 1 - value.dim())), *value.shape)
        value = value.expand(value.shape[0], *self.size)
        return value.reshape(value.shape[0], *self.size[-3:])

    def _each(self, images: list[Tensor], function: Callable[..., tuple[Tensor, ...]]) -> list[Tensor]:
        """Apply a function of the values and of the images' windows, some rows at a time.

        Args:
            images: Each `[B, C, H, W]`.
            function: From `[n, r, B, C, kh, kw]` and one window `[r, B, C, kh, kw]` an image to
                tensors `[n, r, B, ..]`.

        Returns:
            A tensor `[R, B, ..]` for each of them.
        """
        blocks = self._blocks(self.values)
        parts = []
        for start, stop, windows in self._steps(images):
            parts.append(function(blocks[:, start:stop], *windows))
        return [
            (pieces[0] if len(pieces) == 1 else torch.cat(pieces, 1)).flatten(0, 1)
            for pieces in zip(*parts, strict=True)
        ]

    def _steps(self, images: list[Tensor]) -> Iterator[tuple[int, int, list[Tensor]]]:
        """First and last row of each step, and the images' windows of these rows, `[r, B, C, kh, kw]`."""
        windows = [self.place.windows(image) for image in images]
        wide = max(self.batch, *(image.shape[0] for image in images))
        size = self.repeat * wide * math.prod(self.values.shape[2:])
        if self.place.rows >= math.prod(self.place.space):  # each is read about once or more
            windows = [w.contiguous() for w in windows]
        step = max(1, _CHUNK // max(1, size))
        for start in range(0, self.place.rows, step):
            stop = min(start + step, self.place.rows)
            yield start, stop, [self.place.pick(w, start, stop) for w in windows]

    def dot(self, value: Tensor) -> Tensor:
        image = self._images(value)
        if _is_constant(image):
            sums = self.cleaned().values.sum((-2, -1))  # [R, B, C]
            return (sums * image[..., 0, 0]).sum(-1).expand(-1, max(self.batch, image.shape[0]))
        return self._each([image], lambda a, window: (_sum(a, window),))[0]

    def split_dot(self, lower: Tensor | None, upper: Tensor | None) -> Tensor:
        if lower is None:
            assert upper is not None
            return self._each([self._images(upper)], lambda a, up: (_sum(a.clamp(max=0), up),))[0]
        if upper is None:
            return self._each([self._images(lower)], lambda a, low: (_sum(torch.relu(a), low),))[0]
        low, up = lower / 2, upper / 2  # divided first, so that nothing overflows
        images = [self._images(low + up), self._images(up - low)]
        return self._each(images, lambda a, center, radius: (_sum(a, center) - _sum(a.abs(), radius),))[0]

    def midpoint_radius(self, midpoint: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        images = [self._images(midpoint), self._images(radius)]
        center, spread = self._each(images, lambda a, c, r: (_sum(a, c), _sum(a.abs(), r)))
        return center, spread

    def dual_norm(self, q: float, weight: Tensor | None = None) -> Tensor:
        if weight is not None and q == 1:
            return self._each([self._images(weight.abs())], lambda a, window: (_sum(a.abs(), window),))[0]
        if weight is not None:
            return self.scale(weight).dual_norm(q)
        flat = self.cleaned().values.flatten(2)
        norm = flat.abs().amax(-1) if q == math.inf else scaled_norm(flat, q)
        return norm.expand(-1, self.batch)

    def scale(self, factor: Tensor) -> Coefficients:
        image = self._images(factor)
        if _is_constant(image):
            return self.with_values(self.values * image[..., :1, :1], clean=self.clean)
        return self.with_values(self._each([image], lambda a, f: (a * f,))[0], clean=True)

    def relax_mirrored(self, slopes: Sides, biases: OptionalSides) -> tuple[Coefficients, Tensor | None]:
        return self._in_place(slopes, biases, True) or super().relax_mirrored(slopes, biases)

    def _in_place(
        self, slopes: Sides, biases: OptionalSides, mirrored: bool
    ) -> tuple[Coefficients, Tensor | None] | None:
        """The relaxation pass of `A` or `[A; −A]`, written where it belongs; None where somebody looks on."""
        given = [side for side in (*slopes, *biases) if side is not None]
        if any([side.dtype != self.values.dtype for side in given]) or not unobserved(self.values):
            return None
        images = [self._images(side) for side in given]
        blocks = self._blocks(self.values)
        batch = max(self.batch, *[image.shape[0] for image in images])
        times, repeat, rows = 1 + mirrored, self.repeat, self.place.rows
        out = blocks.new_empty(times, repeat, rows, batch, *blocks.shape[3:])
        bias = None if biases == (None, None) else blocks.new_zeros(times, repeat, rows, batch)
        for start, stop, (lower, upper, *offsets) in self._steps(images):
            negated = (-lower, -upper) if mirrored else (lower, upper)
            halves = relax_into(
                blocks[:, start:stop], (lower, upper), negated, out[:, :, start:stop].unbind()
            )
            for half, other, side in zip(halves, halves[::-1], biases, strict=True):
                if side is not None and bias is not None:
                    offset = offsets[0] if side is biases[0] else offsets[-1]
                    bias[0, :, start:stop] += _sum(half, offset)
                    if mirrored:
                        bias[1, :, start:stop] -= _sum(other, offset)
        sums = None if bias is None else bias.reshape(-1, batch)
        return self.with_values(out.reshape(-1, *out.shape[3:]), clean=True), sums

    def relax_affine(self, slopes: Sides, biases: OptionalSides) -> tuple[Coefficients, Tensor | None]:
        found = self._in_place(slopes, biases, False)
        if found is not None:
            return found
        present = [side is not None for side in biases]
        images = [self._images(side) for side in (*slopes, *biases) if side is not None]

        def relaxed(a: Tensor, lower: Tensor, upper: Tensor, *offsets: Tensor) -> tuple[Tensor, ...]:
            # As dense coefficients do it, with a gradient where `a` is zero.
            positive, negative = torch.relu(a), a.clamp(max=0)
            halves = [half for half, there in zip((positive, negative), present, strict=True) if there]
            sums = [_sum(half, offset) for half, offset in zip(halves, offsets, strict=True)]
            return (relax_halves(positive, negative, lower, upper), *sums)

        values, *sums = self._each(images, relaxed)
        return self.with_values(values, clean=True), (sum(sums[1:], start=sums[0]) if sums else None)

    # -------------------------------------------------------------- rearranging

    def split(self) -> tuple[Coefficients, Coefficients]:
        return (
            self.with_values(self.values.clamp(min=0), clean=self.clean),
            self.with_values(self.values.clamp(max=0), clean=self.clean),
        )

    def negate(self) -> Coefficients:
        return self.with_values(-self.values, clean=self.clean)

    def with_negated(self) -> Coefficients:
        return self.with_values(torch.cat([self.values, -self.values]), clean=self.clean)

    def take(self, start: int, stop: int) -> Coefficients:
        place = self.place.repeated(self.repeat).take(start, stop)
        return replace(self, values=self.values[start:stop], place=place)

    def pick(self, index: Tensor) -> Coefficients:
        place = self.place.repeated(self.repeat)
        anchor = place.anchor.expand(-1, index.shape[1]).gather(0, index)
        return replace(self, values=picked(self.values, index), place=replace(place, anchor=anchor))

    def squeeze(self, dim: int) -> Coefficients:
        if dim >= len(self.size) - 3:
            return super().squeeze(dim)
        return replace(self, size=self.size[:dim] + self.size[dim + 1 :])

    def channels(self, start: int, stop: int) -> PatchesCoefficients:
        """The coefficients of channels `start` to `stop`, as coefficients over those channels."""
        size = (*self.size[:-3], stop - start, *self.size[-2:])
        return replace(self, values=self.values[:, :, start:stop], size=size)

    def add(self, other: Coefficients) -> Coefficients | None:
        theirs = _ADDENDS.get(type(other), _none)(other)
        if theirs is None or not self._fits(theirs):
            return None
        place = self.place.union(theirs.place)
        if place.covers:
            return None
        mine, yours = self.cleaned(), theirs.cleaned()
        values = _padded(mine.values, self.place.margin(place)) + _padded(
            yours.values, theirs.place.margin(place)
        )
        return PatchesCoefficients(values, place, self.size, clean=True)

    def _fits(self, other: PatchesCoefficients) -> bool:
        mine, yours = self.place, other.place
        if self.size != other.size or self.rows != other.rows or mine.stride != yours.stride:
            return False
        if self.repeat != other.repeat:
            mine, yours = mine.repeated(self.repeat), yours.repeated(other.repeat)
        return mine.same_rows(yours)


def _sum(a: Tensor, window: Tensor) -> Tensor:
    """`Σ a·window` over channels and pixels: `[n, r, B, C, kh, kw]` to `[n, r, B]`."""
    total: Tensor = torch.linalg.vecdot(a.flatten(-3), window.flatten(-3))
    return total


def _is_constant(image: Tensor) -> bool:
    """Whether each channel holds one number, as what was expanded over space does."""
    return image.stride(-1) == 0 and image.stride(-2) == 0


def _padded(values: Tensor, margin: tuple[int, int, int, int]) -> Tensor:
    return torch.constant_pad_nd(values, margin) if any(margin) else values


def single_pixels(rows: SelectedRows) -> PatchesCoefficients | None:
    """Selected rows of an image as patches of one pixel; None where the value is no image."""
    if not is_image(rows.shape):
        return None
    channels, *space = rows.shape[-3:]
    area = space[0] * space[1]
    index = rows.index
    every = torch.arange(
        channels, device=index.device
    )  # one_hot would look at the numbers, and wait for them
    one_hot = (index // area).unsqueeze(-1) == every  # [R, B, C]
    values = (one_hot.to(rows.values.dtype) * rows.values.unsqueeze(-1))[..., None, None]
    return PatchesCoefficients(values, placement_of(rows), rows.shape, clean=True)


def placement_of(rows: SelectedRows) -> Placement:
    """Windows of one pixel at the rows' own positions."""
    height, width = rows.shape[-2:]
    anchor = rows.index % (height * width)
    return Placement(anchor, (height, width), (1, 1), (0, 0), (1, 1), (height, width))


def is_image(shape: Shape) -> bool:
    """Whether a value is one image with channels: `(1, .., 1, C, H, W)`."""
    return len(shape) >= 3 and math.prod(shape[:-3]) == 1


def _none(other: Coefficients) -> PatchesCoefficients | None:
    return None


def _itself(other: Coefficients) -> PatchesCoefficients | None:
    assert isinstance(other, PatchesCoefficients)
    return other


def _from_rows(other: Coefficients) -> PatchesCoefficients | None:
    assert isinstance(other, SelectedRows)
    return single_pixels(other)


#: How to see another structure as patches, so that it can be added.
_ADDENDS: dict[type[Coefficients], Callable[[Coefficients], PatchesCoefficients | None]] = {
    PatchesCoefficients: _itself,
    SelectedRows: _from_rows,
}
