"""Properties from VNN-LIB files, versions 1.0 and 2.0."""

from lirpa_verify.vnnlib.read import Case, Query, parse_vnnlib, read_vnnlib

__all__ = ["Case", "Query", "parse_vnnlib", "read_vnnlib"]
