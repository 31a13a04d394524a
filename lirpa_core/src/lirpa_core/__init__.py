"""Guaranteed bounds on the output of PyTorch models: IBP, CROWN, forward bounds and their hybrids."""

from lirpa_core._version import __version__
from lirpa_core.bounds.interval import Interval
from lirpa_core.data_parallel import BoundDataParallel
from lirpa_core.facade.result import BoundsResult
from lirpa_core.module import BoundedModule
from lirpa_core.perturbations.base import Perturbation
from lirpa_core.perturbations.joint import PerturbationJoint
from lirpa_core.perturbations.lp import PerturbationLpNorm
from lirpa_core.tensors import BoundedParameter, BoundedTensor

__all__ = [
    "BoundDataParallel",
    "BoundedModule",
    "BoundedParameter",
    "BoundedTensor",
    "BoundsResult",
    "Interval",
    "Perturbation",
    "PerturbationJoint",
    "PerturbationLpNorm",
    "__version__",
]
