"""Threat models: the sets that perturbed tensors may range over."""

from lirpa_core.perturbations.base import Perturbation
from lirpa_core.perturbations.joint import PerturbationJoint
from lirpa_core.perturbations.lp import PerturbationLpNorm

__all__ = ["Perturbation", "PerturbationJoint", "PerturbationLpNorm"]
