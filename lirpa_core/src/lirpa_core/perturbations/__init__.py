"""Threat models: the sets that perturbed tensors may range over, and how their arguments are read."""

from lirpa_core.perturbations.arguments import Limit, broadcasts, parse_limit, require_ordered, show
from lirpa_core.perturbations.base import Perturbation, examples_first, require_real_finite
from lirpa_core.perturbations.joint import PerturbationJoint
from lirpa_core.perturbations.lp import PerturbationLpNorm

__all__ = [
    "Limit",
    "Perturbation",
    "PerturbationJoint",
    "PerturbationLpNorm",
    "broadcasts",
    "examples_first",
    "parse_limit",
    "require_ordered",
    "require_real_finite",
    "show",
]
