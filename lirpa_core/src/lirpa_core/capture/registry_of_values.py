"""What capture asks a registry where a model's value is to be differentiated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lirpa_core.plugins.reader import CaptureRules
from lirpa_core.rules.base import Rule


@dataclass(frozen=True, eq=False)
class RegistryOfValues:
    """The rules of a registry, with every module and every function in pieces that PyTorch can differentiate.

    Attributes:
        rules: The registry.
    """

    rules: CaptureRules

    @property
    def operators(self) -> Mapping[Any, Any]:
        """As the registry."""
        return self.rules.operators

    @property
    def leaf_modules(self) -> Mapping[Any, Any]:
        """None: what is kept in one piece has no derivative."""
        return {}

    @property
    def fusions(self) -> Mapping[Any, Any]:
        """None: fused operators have no derivative."""
        return {}

    @property
    def real(self) -> bool:
        """As the registry."""
        return self.rules.real

    @property
    def patterns(self) -> Mapping[str, Any]:
        """None, likewise."""
        return {}

    def rule_for(self, op: object) -> Rule | None:
        """As the registry, for operators."""
        return self.rules.rule_for(op) if op in self.rules.operators else None

    def decomposition_table(self) -> dict[Any, Callable[..., Any]]:
        """As the registry."""
        return self.rules.decomposition_table()
