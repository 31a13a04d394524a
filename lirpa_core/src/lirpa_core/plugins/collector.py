"""What the registries handed to hooks have in common: they collect one plugin's registrations, then close."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NoReturn, TypeVar

from lirpa_core.errors import PluginError
from lirpa_core.plugins.entries import Registration

K = TypeVar("K", bound=Hashable)
E = TypeVar("E")


class Collector:
    """Collects the registrations of one plugin while its hook runs."""

    def __init__(self, plugin: str) -> None:
        self._plugin = plugin
        self._open = True

    @property
    def plugin(self) -> str:
        """Name of the plugin that is registering."""
        return self._plugin

    def close(self) -> None:
        """Refuse further registrations; the plugin manager calls this after the hook."""
        self._open = False

    def _add(
        self, registrations: dict[K, Registration[K, E]], what: str, registration: Registration[K, E]
    ) -> None:
        if not self._open:
            self._refuse(what, "registered after the hook had returned; register inside the hook")
        if registration.key in registrations:
            self._refuse(what, "registered twice by this plugin; keep one of the two")
        registrations[registration.key] = registration

    def _refuse(self, what: str, problem: str) -> NoReturn:
        raise PluginError(f"plugin '{self._plugin}', {what}: {problem}")
