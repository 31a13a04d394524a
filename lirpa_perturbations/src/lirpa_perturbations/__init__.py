"""Threat models for lirpa: L0 perturbations, synonym substitution and other threat models.

Nothing here needs to be imported: once the package is installed, `lirpa_core` finds `plugin` by
its entry point.
"""

from lirpa_perturbations._version import __version__

__all__ = ["__version__"]
