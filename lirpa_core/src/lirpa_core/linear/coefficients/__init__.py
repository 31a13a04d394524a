"""Structured coefficients: the interface, the dense oracle, selected rows, positionwise rows, input-first columns."""

from lirpa_core.linear.coefficients.base import (
    Coefficients,
    Kernel,
    OptionalSides,
    Sides,
    add,
    flatten,
    numbers,
    picked,
)
from lirpa_core.linear.coefficients.dense import DenseCoefficients
from lirpa_core.linear.coefficients.input_first import InputFirstCoefficients
from lirpa_core.linear.coefficients.positionwise import PositionwiseCoefficients
from lirpa_core.linear.coefficients.selected_rows import SelectedRows
from lirpa_core.linear.coefficients.structured import StructuredCoefficients

__all__ = [
    "Coefficients",
    "DenseCoefficients",
    "InputFirstCoefficients",
    "Kernel",
    "OptionalSides",
    "PositionwiseCoefficients",
    "SelectedRows",
    "Sides",
    "StructuredCoefficients",
    "add",
    "flatten",
    "numbers",
    "picked",
]
