"""Linear operators between the values of two nodes: what a relaxation is made of, and their algebra."""

from lirpa_core.linear.operators.base import (
    Absolute,
    Composition,
    LinearOp,
    Negative,
    OpOfShapes,
    Sum,
    Transpose,
    times_dense,
)
from lirpa_core.linear.operators.broadcasting import align, sum_to
from lirpa_core.linear.operators.elementwise import Diagonal
from lirpa_core.linear.operators.matrix import MatrixOnTheRight, MatrixProduct

__all__ = [
    "Absolute",
    "Composition",
    "Diagonal",
    "LinearOp",
    "MatrixOnTheRight",
    "MatrixProduct",
    "Negative",
    "OpOfShapes",
    "Sum",
    "Transpose",
    "align",
    "sum_to",
    "times_dense",
]
