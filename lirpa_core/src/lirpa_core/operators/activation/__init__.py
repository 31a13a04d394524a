"""Rules of functions of one variable, one file a kind."""

from lirpa_core.operators.activation import (
    elementary,
    exponential,
    gated,
    periodic,
    piecewise_linear,
    power,
    s_shaped,
    special,
    statistical,
    steps,
)
from lirpa_core.plugins import OperatorRegistry


def register(registry: OperatorRegistry) -> None:
    """Register every rule of this package."""
    for group in (
        piecewise_linear,
        elementary,
        exponential,
        power,
        s_shaped,
        gated,
        periodic,
        steps,
        special,
        statistical,
    ):
        group.register(registry)
