"""Rows of a tensor, copied whole: PyTorch's general indexing looks at every element, and takes several times as long on a CPU."""

from __future__ import annotations

from torch import Tensor

from lirpa_core.linear.relax.eager import unobserved


def take_rows(x: Tensor, index: Tensor) -> Tensor:
    """`x[index]`: rows of `[N, *S]` at `index` of any shape `[*I]`, as `[*I, *S]`.

    Where gradients are recorded, or on other devices, it is just that, whose derivative sums in a fixed order.
    """
    if not unobserved(x):
        return x[index]
    return x.index_select(0, index.reshape(-1)).view(*index.shape, *x.shape[1:])
