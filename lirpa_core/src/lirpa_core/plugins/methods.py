"""The registry that `lirpa_register_methods` receives."""

from __future__ import annotations

from lirpa_core.methods.base import Method
from lirpa_core.plugins.collector import Collector
from lirpa_core.plugins.entries import MethodEntry, Registration


class MethodRegistry(Collector):
    """Collects the methods of one plugin."""

    def __init__(self, plugin: str) -> None:
        super().__init__(plugin)
        self._methods: dict[str, Registration[str, MethodEntry]] = {}

    def register(self, method: Method, *, override: bool = False) -> None:
        """Make a method known under its name and its aliases, in any case.

        Args:
            method: The method, with the options that it has by default.
            override: Replace methods of these names that another plugin registers without `override`.

        Raises:
            PluginError: It is no `Method`, it has no name, or a name is registered twice.
        """
        if not _is_method(method):
            self._refuse(
                "method", f"expected an instance of a subclass of lirpa_core.methods.Method, got {method!r}"
            )
        name = getattr(method, "name", None)
        if not isinstance(name, str) or not name:
            self._refuse("method", f"expected a method with a name, got {method!r}")
        entry = MethodEntry(method, self.plugin)
        for each in (name, *method.aliases):
            self._add(self._methods, f"method {each!r}", Registration(each.lower(), entry, override))

    def registrations(self) -> tuple[Registration[str, MethodEntry], ...]:
        """Everything collected, one entry a name."""
        return tuple(self._methods.values())


def _is_method(value: object) -> bool:
    return isinstance(value, Method)
