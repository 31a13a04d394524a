"""Leading dimensions folded into the batch of an image operator, which is faster than `vmap`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from lirpa_core.graph import Shape
from lirpa_core.rules import Call, LinearNative, pulled_back


def as_images(x: Tensor, rank: int) -> Tensor:
    """`[*L, *image]` to `[N, *image]`, with `rank` dimensions in `image`; all others become one."""
    return x.reshape(-1, *x.shape[x.dim() - rank :])


def spatial(values: int | Sequence[int], dims: int) -> tuple[int, ...]:
    """An option such as a stride, which may be one number for all dimensions."""
    if isinstance(values, int):
        return (values,) * dims
    return tuple(values) * dims if len(values) == 1 else tuple(values)


class ImageRank(Protocol):
    """How many trailing dimensions of the operand are one image: channels and space."""

    def __call__(self, call: Call) -> int: ...


@dataclass(frozen=True)
class ImageOperator(LinearNative):
    """Native code of linear image operators: everything before the image is one long batch.

    Attributes:
        rank: How many trailing dimensions make an image.
    """

    rank: ImageRank

    def evaluate(self, call: Call, operands: Sequence[Tensor], lead: int) -> Tensor:
        return self._run(call, operands[0], lead)

    def part(self, call: Call, slot: int, x: Tensor, lead: int) -> Tensor:
        return self._run(call, x, lead)

    def transpose(self, call: Call, slot: int, A: Tensor) -> Tensor:
        out_rank = self._out_rank(call)
        flat = as_images(A, out_rank)
        image: Shape = call.shapes[slot][len(call.shapes[slot]) - self.rank(call) :]
        zero = A.new_zeros(1, *image).expand(flat.shape[0], *image)
        rows = flat.reshape(flat.shape[0], *call.shape[len(call.shape) - out_rank :])
        transposed = pulled_back(lambda x: self._images(call, x), zero, rows)
        return transposed.reshape(*A.shape[:2], *call.shapes[slot])

    def _run(self, call: Call, x: Tensor, lead: int) -> Tensor:
        return self._images(call, as_images(x, self.rank(call))).reshape(*x.shape[:lead], *call.shape)

    def _images(self, call: Call, x: Tensor) -> Tensor:
        return call.function([x], [c.value for c in call.constants])

    def _out_rank(self, call: Call) -> int:
        """Dimensions of one output image; the dimensions before it are those of the operand."""
        return self.rank(call) + len(call.shape) - len(call.shapes[0])
