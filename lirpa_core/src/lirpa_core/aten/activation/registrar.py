"""The one thing these files need of a registry."""

from __future__ import annotations

from typing import Any, Protocol

from lirpa_core.rules.base import Rule


class Registrar(Protocol):
    """Takes rules by operator."""

    def register(self, op: Any, rule: Rule, *, override: bool = False) -> None:
        """Let `rule` bound every call of `op`."""
