"""Derivatives of activations, and how the operators fall apart that PyTorch differentiates backward with."""

from lirpa_core.operators.derivatives import adaptive, backward, operator
from lirpa_core.operators.derivatives.operator import DERIVATIVE, derivative
from lirpa_core.operators.derivatives.table import ACTIVATIONS
from lirpa_core.plugins import OperatorRegistry


def register(registry: OperatorRegistry) -> None:
    """Register every rule and decomposition of this package."""
    operator.register(registry)
    backward.register(registry)
    adaptive.register(registry)


__all__ = ["ACTIVATIONS", "DERIVATIVE", "derivative", "register"]
