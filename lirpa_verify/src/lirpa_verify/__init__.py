"""Proves or refutes properties of networks: attacks, bounds, branch and bound.

result = verify(model, x, PerturbationLpNorm(eps=0.01), robust(label=y))
result.status, result.counterexample, result.margins, result.statistics
"""

from lirpa_verify._version import __version__
from lirpa_verify.answers import Result, Statistics, Status
from lirpa_verify.ladder import Attack
from lirpa_verify.properties import (
    Inequality,
    Property,
    Specification,
    monotone,
    output_in_box,
    robust,
    targeted,
)
from lirpa_verify.questions import verify, verify_files

__all__ = [
    "Attack",
    "Inequality",
    "Property",
    "Result",
    "Specification",
    "Statistics",
    "Status",
    "__version__",
    "monotone",
    "output_in_box",
    "robust",
    "targeted",
    "verify",
    "verify_files",
]
