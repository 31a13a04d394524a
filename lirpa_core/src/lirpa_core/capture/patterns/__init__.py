"""The same function, however it is written: what patterns describe becomes the operators that have the tightest rules."""

from lirpa_core.capture.patterns.rewriting import rewrite

__all__ = ["rewrite"]
