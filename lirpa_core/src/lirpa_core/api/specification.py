"""Specification matrices: linear functions of the output to bound."""

from __future__ import annotations

import math

from torch import Tensor

from lirpa_core.devices import is_traced, unreadable
from lirpa_core.errors import SpecificationError
from lirpa_core.graph import Node
from lirpa_core.linear.coefficients import DenseCoefficients
from lirpa_core.linear.finite import all_finite
from lirpa_core.problem.problem import Problem


def specification_rows(problem: Problem, node: Node, C: Tensor) -> DenseCoefficients:
    """`C` `[B, K, out]` as rows over an output node.

    Raises:
        SpecificationError: If the shape, dtype or a value of `C` does not fit.
    """
    size = math.prod(node.shape)
    expected = f"[{problem.batch}, K, {size}]"
    if not isinstance(C, Tensor):
        raise SpecificationError(f"C must be a tensor of shape {expected}; got {type(C).__name__}.")
    what = unreadable(C)
    if what is not None:
        raise SpecificationError(f"C is {what}.")
    if C.dim() < 3:
        raise SpecificationError(f"C must be a tensor of shape {expected}; got {list(C.shape)}.")
    if math.prod(C.shape[2:]) != size or C.shape[0] not in (1, problem.batch):
        raise SpecificationError(
            f"C has shape {list(C.shape)}; expected {expected}: one block of K rows an example, over the {size} "
            f"elements of {node}."
        )
    if C.dtype != problem.dtype_of(node.name):
        raise SpecificationError(
            f"C has dtype {C.dtype}; the bounds are computed in {problem.dtype_of(node.name)}."
        )
    if not is_traced() and not all_finite(C):
        raise SpecificationError("C contains NaN or infinite values, for which no bound exists.")
    return DenseCoefficients(C.transpose(0, 1).reshape(C.shape[1], C.shape[0], *node.shape))
