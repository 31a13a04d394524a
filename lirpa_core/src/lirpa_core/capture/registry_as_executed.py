"""What capture asks a registry where bounds are to hold for the model as it is executed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lirpa_core.plugins.registry import Registry
from lirpa_core.rules.base import Rule


@dataclass(frozen=True, eq=False)
class RegistryAsExecuted:
    """The rules of a registry, without fusions, and with decompositions that know the rounding of the whole.

    Attributes:
        rules: The registry.
    """

    rules: Registry

    @property
    def operators(self) -> Mapping[Any, Any]:
        """As the registry."""
        return self.rules.operators

    @property
    def leaf_modules(self) -> Mapping[Any, Any]:
        """As the registry."""
        return self.rules.leaf_modules

    @property
    def fusions(self) -> Mapping[Any, Any]:
        """None: a fused rule is about what its parts owe to each other in real arithmetic."""
        return {}

    @property
    def real(self) -> bool:
        """Bounds are not about real arithmetic."""
        return False

    @property
    def patterns(self) -> Mapping[str, Any]:
        """Those whose two sides round in the same way."""
        return {name: entry for name, entry in self.rules.patterns.items() if entry.pattern.as_executed}

    def rule_for(self, op: object) -> Rule | None:
        """As the registry."""
        return self.rules.rule_for(op)

    def decomposition_table(self) -> dict[Any, Callable[..., Any]]:
        """Those of kernels as they are executed, where these are known."""
        return self.rules.decompositions_as_executed()
