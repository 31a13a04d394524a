"""Structured coefficients: the interface, the dense oracle, selected rows, and rows of a matrix at positions."""

from lirpa_core.bounds.linear_map.base import Kernel, LinearMap, OptionalSides, Sides, add
from lirpa_core.bounds.linear_map.dense import DenseMap
from lirpa_core.bounds.linear_map.positionwise import PositionwiseMap
from lirpa_core.bounds.linear_map.rows import RowsMap

__all__ = ["DenseMap", "Kernel", "LinearMap", "OptionalSides", "PositionwiseMap", "RowsMap", "Sides", "add"]
