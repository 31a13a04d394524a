"""Embedding: a look-up at constant places in a table that may be perturbed."""

from __future__ import annotations

import torch

from lirpa_core.registry import OperatorRegistry
from lirpa_core.rules.linear import Linear

aten = torch.ops.aten

#: Token ids are whole numbers: a perturbation of words moves their vectors (the table, or what is looked up).
EMBEDDING = Linear(("weight",))


def register(registry: OperatorRegistry) -> None:
    """Register this file's rule."""
    registry.register(aten.embedding.default, EMBEDDING)
