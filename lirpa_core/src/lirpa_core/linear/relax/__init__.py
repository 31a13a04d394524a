"""The relaxation pass: coefficients through lines below and above each element."""

from lirpa_core.linear.relax.eager import relax_halves, relax_into, unobserved
from lirpa_core.linear.relax.gathering import take_rows

__all__ = [
    "relax_halves",
    "relax_into",
    "take_rows",
    "unobserved",
]
