"""Formulas that several operators share: bounds in, planes out; no calls, no graph."""

from lirpa_core.rules.relaxations.exponential import relative_chord
from lirpa_core.rules.relaxations.maximum import (
    MaximumPlanes,
    maximum_choices,
    maximum_planes,
    maximum_planes_with,
    rivals,
)
from lirpa_core.rules.relaxations.mixtures import mixed, shares_at, weights_of
from lirpa_core.rules.relaxations.others import one_largest, sum_of_others
from lirpa_core.rules.relaxations.products import extremes, nearest_to_zero, product_range

__all__ = [
    "MaximumPlanes",
    "extremes",
    "maximum_choices",
    "maximum_planes",
    "maximum_planes_with",
    "mixed",
    "nearest_to_zero",
    "one_largest",
    "product_range",
    "relative_chord",
    "rivals",
    "shares_at",
    "sum_of_others",
    "weights_of",
]
