"""Branch and bound."""

from lirpa_verify.search.input_splitting import InputSplitting

__all__ = ["InputSplitting"]
