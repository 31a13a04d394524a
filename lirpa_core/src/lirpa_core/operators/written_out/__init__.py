"""Ways of writing the functions that the core has operators for: its patterns."""

from lirpa_core.operators.written_out import activations, entropy, masked, normalization, softmax
from lirpa_core.plugins import PatternRegistry


def register(registry: PatternRegistry) -> None:
    """Register the patterns of every file of this folder."""
    for module in (activations, entropy, masked, normalization, softmax):
        module.register(registry)


__all__ = ["register"]
