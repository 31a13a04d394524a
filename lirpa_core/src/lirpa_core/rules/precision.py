"""Element types: in which one bounds are kept, which is narrower, and how far rounding moves a number.

Bounds are kept in float32 or float64, whatever the model's own type at a node is: a number of a narrower type is
one of float32 as well.
"""

from __future__ import annotations

from functools import cache

import torch

_F32, _F64 = torch.float32, torch.float64

#: Types that bounds are kept in.
KEPT = (_F32, _F64)


def bounds_dtype(own: torch.dtype, precision: torch.dtype) -> torch.dtype:
    """The type that bounds of a node are kept in.

    Args:
        own: The node's own type; bounds of a mask or of whole numbers are floating.
        precision: The type of the bounds of the inputs.

    >>> bounds_dtype(torch.bfloat16, torch.float32), bounds_dtype(torch.float32, torch.float64)
    (torch.float32, torch.float64)
    """
    return _F64 if own is _F64 or precision is _F64 else _F32


def is_narrower(own: torch.dtype, kept: torch.dtype) -> bool:
    """Whether a floating type has fewer digits than the type that bounds are kept in."""
    return own.is_floating_point and own is not kept and spacing_at_one(own) > spacing_at_one(kept)


@cache
def spacing_at_one(dtype: torch.dtype) -> float:
    """The distance from one to the next number, read off the type itself: `torch.finfo` errs about float8_e5m2fnuz."""
    if dtype in KEPT:
        return torch.finfo(dtype).eps
    bits = torch.int8 if dtype.itemsize == 1 else torch.int16
    following = (torch.tensor([1.0]).to(dtype).view(bits) + 1).view(dtype)
    return float(following.to(_F64)) - 1


def unit_roundoff(dtype: torch.dtype) -> float:
    """Half the distance from one to the next number: rounding to nearest moves `x` by at most `u·|x|`.

    Valid where the result is no subnormal number; see `half_smallest`.

    >>> unit_roundoff(torch.bfloat16) == 2**-8
    True
    """
    return spacing_at_one(dtype) / 2


def half_smallest(dtype: torch.dtype) -> float:
    """Half the smallest positive number, by which rounding moves a number of the subnormal range at most."""
    return torch.finfo(dtype).smallest_normal * spacing_at_one(dtype) / 2


def rounds_to_one_of_two(value: float, dtype: torch.dtype) -> bool:
    """Whether kernels differ in what they take a number for that an operator of this type is given.

    In the types of 16 bits some round it to the type, and some compute in float32.

    >>> rounds_to_one_of_two(0.1, torch.bfloat16), rounds_to_one_of_two(0.5, torch.bfloat16)
    (True, False)
    """
    if dtype not in (torch.float16, torch.bfloat16):
        return False
    return float(torch.tensor(value, dtype=_F64).to(dtype)) != value
