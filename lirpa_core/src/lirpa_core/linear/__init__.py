"""Intervals, affine functions and relaxations, which rules and methods exchange.

Linear operators are in `lirpa_core.linear.operators`, structures of coefficients in `lirpa_core.linear.coefficients`, the
relaxation pass in `lirpa_core.linear.relax`.
"""

from lirpa_core.linear.affine import AffineForm
from lirpa_core.linear.infinite import separated
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.norms import scaled_norm
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.linear.rounding import Accuracy

__all__ = [
    "Accuracy",
    "Affine",
    "AffineForm",
    "Interval",
    "Relaxation",
    "scaled_norm",
    "separated",
]
