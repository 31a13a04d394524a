"""Rows of affine functions of the perturbed inputs: what every linear bound is, whichever way it was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from lirpa_core.linear.coefficients.base import Coefficients


@dataclass(frozen=True, eq=False)
class AffineForm:
    """`R` affine functions `Σ coefficients[name] · value of name + bias`, for each of `B` examples.

    Attributes:
        coefficients: By the name of a perturbed input, or of a node where propagation was stopped: `[R, B, *S]`.
        bias: `[R, B]`; a trailing one is shared by all examples.
        at_nodes: Coefficients over inner nodes that a backward pass was asked to hand out, `[R, B, *S]` each; the
            rows are functions of these nodes and of what joins them on the way to the inputs.
    """

    coefficients: Mapping[str, Coefficients]
    bias: Tensor
    at_nodes: Mapping[str, Coefficients] = field(default_factory=dict)
