"""Terms: what a node computes, written in one way only, so that what is the same can be seen to be the same."""

from lirpa_core.capture.terms.algebra import as_product, as_sum, product, scaled, total
from lirpa_core.capture.terms.reader import TermReader
from lirpa_core.capture.terms.term import Dims, Scalar, Symbol, Term, Terms

__all__ = [
    "Dims",
    "Scalar",
    "Symbol",
    "Term",
    "TermReader",
    "Terms",
    "as_product",
    "as_sum",
    "product",
    "scaled",
    "total",
]
