"""Patches: the form of coefficients that keeps backward bounds of convolutional networks small."""

from lirpa_ops_vision.patches.placement import Placement
from lirpa_ops_vision.patches.propagation import register
from lirpa_ops_vision.patches.structure import PatchesCoefficients

__all__ = ["PatchesCoefficients", "Placement", "register"]
