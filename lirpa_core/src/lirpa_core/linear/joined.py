"""Several tensors laid out as one vector, such as all perturbed leaves of a graph."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from lirpa_core.graph import Shape


def split_joined(joined: Tensor, shapes: Sequence[Shape]) -> tuple[Tensor, ...]:
    """Cut the last dimension of `[*L, N]` into `[*L, *shape]` for each shape, one after another.

    Rows of an identity matrix over the joined vector become the coefficients of each part:

    >>> import torch
    >>> a, b = split_joined(torch.eye(3), [(2,), ()])
    >>> a.shape, b
    (torch.Size([3, 2]), tensor([0., 0., 1.]))

    Args:
        joined: `[*L, N]`, where `N` is the number of elements of all shapes together.
        shapes: The shape of each part.
    """
    parts = joined.split([math.prod(shape) for shape in shapes], -1)
    return tuple(part.reshape(*part.shape[:-1], *shape) for part, shape in zip(parts, shapes, strict=True))
