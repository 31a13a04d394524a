"""Formulas that several operators share: bounds in, planes out; no calls, no graph."""

from lirpa_core.rules.relaxations.exponential import relative_chord
from lirpa_core.rules.relaxations.maximum import MaximumPlanes, maximum_planes, rivals
from lirpa_core.rules.relaxations.products import extremes, product_range

__all__ = [
    "MaximumPlanes",
    "extremes",
    "maximum_planes",
    "product_range",
    "relative_chord",
    "rivals",
]
