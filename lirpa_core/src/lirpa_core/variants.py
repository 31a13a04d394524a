"""Rules that options exchange for others."""

from __future__ import annotations

from lirpa_core.options import BoundOptions
from lirpa_core.registry import Registry


def with_options(registry: Registry, options: BoundOptions) -> Registry:
    """The registry with the rules that the options ask for."""
    if options.relu == "adaptive":
        return registry
    raise NotImplementedError("TODO after the unary family lands")
