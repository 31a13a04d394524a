"""The relaxation pass: coefficients through lines below and above each element."""

from lirpa_core.linear.relax.eager import relax_halves, relax_into, unobserved

__all__ = [
    "relax_halves",
    "relax_into",
    "unobserved",
]
