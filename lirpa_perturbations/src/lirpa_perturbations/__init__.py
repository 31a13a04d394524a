"""Threat models for lirpa beyond Lp balls.

Importing is only needed for the classes themselves: once the package is installed, `lirpa_core` finds
`plugin` by its entry point.
"""

from lirpa_perturbations._version import __version__
from lirpa_perturbations.l0 import PerturbationL0Norm

__all__ = ["PerturbationL0Norm", "__version__"]
