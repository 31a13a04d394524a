"""Bounds of a model's derivative over a set: the Jacobian, its norms, and the local Lipschitz constant."""

from lirpa_core.api.jacobian.bounds import JacobianBounds
from lirpa_core.api.jacobian.compute import jacobian
from lirpa_core.api.jacobian.module import JacobianOf

__all__ = ["JacobianBounds", "JacobianOf", "jacobian"]
