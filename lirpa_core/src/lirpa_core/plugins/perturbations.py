"""The registry that `lirpa_register_perturbations` receives."""

from __future__ import annotations

from typing import Any

from lirpa_core.plugins.collector import Collector
from lirpa_core.plugins.entries import PerturbationEntry, Registration


class PerturbationRegistry(Collector):
    """Collects the perturbations of one plugin."""

    def __init__(self, plugin: str) -> None:
        super().__init__(plugin)
        self._perturbations: dict[str, Registration[str, PerturbationEntry]] = {}

    def register(self, name: str, cls: type[Any], *, override: bool = False) -> None:
        """Make a perturbation known under a name.

        Args:
            name: The public name, such as `"lp"`.
            cls: The perturbation's class.
            override: Replace the class that another plugin registers without `override`.

        Raises:
            PluginError: The name is no identifier, `cls` no class, or the name registered twice.
        """
        what = f"perturbation {name!r}"
        if not _is_name(name):
            self._refuse(what, "expected a name made of letters, digits and underscores")
        if not _is_class(cls):
            self._refuse(what, f"expected a class, got {cls!r} of type {type(cls).__qualname__}")
        self._add(
            self._perturbations, what, Registration(name, PerturbationEntry(name, cls, self.plugin), override)
        )

    def registrations(self) -> tuple[Registration[str, PerturbationEntry], ...]:
        """Everything collected."""
        return tuple(self._perturbations.values())


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value.isidentifier()


def _is_class(value: object) -> bool:
    return isinstance(value, type)
