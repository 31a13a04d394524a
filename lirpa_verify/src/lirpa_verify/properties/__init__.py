"""Properties: which outputs, for which inputs, would be a violation."""

from lirpa_verify.properties.box import Box, exact
from lirpa_verify.properties.builders import monotone, output_in_box, robust, targeted
from lirpa_verify.properties.linear import Conjunction, Inequality
from lirpa_verify.properties.property import Property, Specification

__all__ = [
    "Box",
    "Conjunction",
    "Inequality",
    "Property",
    "Specification",
    "exact",
    "monotone",
    "output_in_box",
    "robust",
    "targeted",
]
