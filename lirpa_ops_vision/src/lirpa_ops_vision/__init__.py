"""Vision operators for lirpa: convolutions, pooling, image normalisation, resizing and the patches form of coefficients.

Nothing here needs to be imported: once the package is installed, `lirpa_core` finds `plugin` by
its entry point.
"""

from lirpa_ops_vision._version import __version__

__all__ = ["__version__"]
