"""Sequence and attention operators for lirpa: embedding, softmax, attention, layer norm and recurrent layers.

Nothing here needs to be imported: once the package is installed, `lirpa_core` finds `plugin` by
its entry point.
"""

from lirpa_ops_nlp._version import __version__

__all__ = ["__version__"]
