"""Guaranteed bounds on the output of PyTorch models: IBP, CROWN, forward bounds and their hybrids."""

from typing import Any

from lirpa_core._version import __version__
from lirpa_core.api import functional
from lirpa_core.api.bounded_module import BoundedModule
from lirpa_core.api.compatibility.names import GradNorm, JacobianOP, get_spec_matrix, register_custom_op
from lirpa_core.api.data_parallel import BoundDataParallel
from lirpa_core.api.jacobian.bounds import JacobianBounds
from lirpa_core.api.jacobian.function import jacobian
from lirpa_core.api.results import BoundsResult
from lirpa_core.devices import Processes
from lirpa_core.linear.interval import Interval
from lirpa_core.perturbations.base import Perturbation
from lirpa_core.perturbations.joint import PerturbationJoint
from lirpa_core.perturbations.lp import PerturbationLpNorm
from lirpa_core.perturbations.tensors import BoundedParameter, BoundedTensor
from lirpa_core.progress import Progress

__all__ = [
    "BoundDataParallel",
    "BoundedModule",
    "BoundedParameter",
    "BoundedTensor",
    "BoundsResult",
    "GradNorm",
    "Interval",
    "JacobianBounds",
    "JacobianOP",
    "Perturbation",
    "PerturbationJoint",
    "PerturbationLpNorm",
    "Processes",
    "Progress",
    "__version__",
    "functional",
    "get_spec_matrix",
    "jacobian",
    "register_custom_op",
]


def __getattr__(name: str) -> Any:
    from lirpa_core.api.compatibility.elsewhere import explain

    explain(name, __name__)
