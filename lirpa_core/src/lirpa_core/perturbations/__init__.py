"""Threat models: the sets that perturbed tensors may range over, and how their arguments are read."""

import torch

from lirpa_core.perturbations.arguments import Limit, broadcasts, parse_limit, require_ordered, show
from lirpa_core.perturbations.base import Perturbation, examples_first, require_real_finite
from lirpa_core.perturbations.joint import PerturbationJoint
from lirpa_core.perturbations.lp import PerturbationLpNorm
from lirpa_core.perturbations.tensors import SAVED, BoundedParameter, BoundedTensor

# What `torch.load` may make of a file with tensors of these classes; it refuses all others by default, since a class can
# run code. These only hold tensors and numbers.
torch.serialization.add_safe_globals(
    [BoundedTensor, BoundedParameter, PerturbationLpNorm, PerturbationJoint, *SAVED]
)

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
