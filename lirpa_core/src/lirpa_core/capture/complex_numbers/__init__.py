"""Complex numbers inside of a model as pairs of real ones, so that real rules bound them.

`pair` is such a number, `arithmetic` and `transforms` say what operators do with it, `rewriting` puts that in the places of a
program's complex operators.
"""

from lirpa_core.capture.complex_numbers.rewriting import as_pairs

__all__ = ["as_pairs"]
