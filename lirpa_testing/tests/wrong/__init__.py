"""Rules, perturbations and structures that are wrong on purpose: mistakes that people make.

Each entry of a gallery says which check must catch it, and words that the message must contain.
"""

from wrong import bilinear, general, linear, unary
from wrong.fault import Fault
from wrong.perturbations import SETS
from wrong.structures import MAPS

RULES: dict[str, Fault] = unary.RULES | linear.RULES | bilinear.RULES | general.RULES

__all__ = ["MAPS", "RULES", "SETS", "Fault"]
