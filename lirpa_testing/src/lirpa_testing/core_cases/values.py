"""Operands and constants in the tables of this package."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lirpa_core.rules import Const, Operand

#: Examples of a batch in which constants differ.
BATCH = 3


def X(*sizes: int) -> Operand:  # noqa: N802
    """A perturbed operand of one example."""
    return Operand(sizes)


def M(*sizes: int) -> Operand:  # noqa: N802
    """A perturbed mask."""
    return Operand(sizes, torch.bool)


def C(*sizes: int) -> Tensor:  # noqa: N802
    """A constant."""
    generator = torch.Generator().manual_seed(math.prod(sizes))
    return torch.randn(sizes, generator=generator, dtype=torch.float64)


def P(*sizes: int) -> Const:  # noqa: N802
    """A constant that differs between the examples."""
    return Const(C(BATCH, *sizes), batched=True)


def I(*values: Any) -> Tensor:  # noqa: E743, N802
    """Places, or a mask."""
    return torch.tensor(values)


def each(*values: Any) -> Const:
    """Places of each example."""
    return Const(torch.tensor(values), batched=True)
