"""Which elements count as one: the channels of a pixel, the elements of an embedding, or any labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lirpa_core.errors import PerturbationError


@dataclass(frozen=True, eq=False)
class Grouping:
    """A partition of the elements of one example into groups.

    Attributes:
        dims: Dimensions of one example that move together; None where labels say it.
        labels: Group of each element, numbered from zero; broadcasts to `S`.
    """

    dims: tuple[int, ...] | None
    labels: Tensor | None = None

    @classmethod
    def parse(cls, group: Any) -> Grouping:
        """Read what a user passes: dimensions, or an integer tensor of labels.

        Raises:
            PerturbationError: For anything else.
        """
        if isinstance(group, Grouping):
            return group
        if isinstance(group, int) and not isinstance(group, bool):
            return cls((group,))
        if isinstance(group, (tuple, list)) and all(type(d) is int for d in group):
            return cls(tuple(group))
        if isinstance(group, Tensor) and group.numel() > 0 and not group.is_floating_point():
            labels = torch.unique(group.long(), return_inverse=True)[1]
            return cls(None, labels)
        raise PerturbationError(
            "group must be None, the dimensions of one example that change together, such as (0,) for the "
            f"channels of an image, or an integer tensor that labels each element, not {group!r}"
        )

    @classmethod
    def of_pixels(cls, shape: tuple[int, ...]) -> Grouping:
        """The default: the channels of image-shaped examples `[C, H, W]` together, else scalars."""
        return cls((0,) if len(shape) >= 3 else ())

    def validate(self, shape: tuple[int, ...]) -> None:
        """Refuse a grouping that does not fit examples of this shape."""
        if self.labels is not None:
            try:
                self.labels.expand(shape)
            except RuntimeError as error:
                raise PerturbationError(
                    f"group has shape {list(self.labels.shape)}, which does not broadcast to one example's "
                    f"{list(shape)}"
                ) from error
        elif any(not -len(shape) <= d < len(shape) for d in self.dims or ()):
            raise PerturbationError(f"group = {self.dims} names a dimension that {list(shape)} lacks")

    def count(self, shape: tuple[int, ...]) -> int:
        """Number of groups."""
        return math.prod(self._reduced(shape)) if self.labels is None else int(self.labels.max()) + 1

    def sum(self, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Sums over each group: `[..., *S]` to `[..., G]`."""
        lead = values.shape[: values.dim() - len(shape)]
        if self.labels is None:
            dims = [len(lead) + d % len(shape) for d in self.dims or ()]
            total = values.sum(dims, keepdim=True) if dims else values
            return total.reshape(*lead, -1)
        flat = values.reshape(*lead, -1)
        zero = flat.new_zeros(*lead, self.count(shape))
        return zero.index_add(-1, self._index(shape, values.device), flat)

    def spread(self, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The value of each element's group: `[..., G]` to `[..., *S]`."""
        lead = values.shape[:-1]
        if self.labels is None:
            return values.reshape(*lead, *self._reduced(shape)).expand(*lead, *shape)
        return values[..., self._index(shape, values.device)].reshape(*lead, *shape)

    def _reduced(self, shape: tuple[int, ...]) -> list[int]:
        together = {d % len(shape) for d in self.dims or ()}
        return [1 if d in together else size for d, size in enumerate(shape)]

    def _index(self, shape: tuple[int, ...], device: torch.device) -> Tensor:
        assert self.labels is not None
        return self.labels.to(device).expand(shape).reshape(-1)
