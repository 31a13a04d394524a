"""The registry that `lirpa_register_patterns` receives."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from lirpa_core.errors import PluginError
from lirpa_core.plugins.collector import Collector
from lirpa_core.plugins.entries import PatternEntry, Registration
from lirpa_core.plugins.pattern import Pattern


class PatternRegistry(Collector):
    """Collects the patterns of one plugin."""

    def __init__(self, plugin: str) -> None:
        super().__init__(plugin)
        self._patterns: dict[str, Registration[str, PatternEntry]] = {}

    def register(
        self,
        name: str,
        written: Callable[..., Tensor],
        becomes: Callable[..., Tensor],
        *,
        when: Callable[..., bool] | None = None,
        as_executed: bool = False,
        override: bool = False,
    ) -> None:
        """Make a way of writing a function known, see `Pattern`.

        Where it is found in a model that is captured, both functions are evaluated on random numbers, and only if they agree
        does `becomes` take the place of what was written.

        Args:
            name: By which it is listed.
            written: The function as people write it.
            becomes: The same function of real numbers, as it is bounded best.
            when: Whether they are the same for given tensors and numbers; None: always.
            as_executed: Whether both round in the same way, so that bounds of the model as it is executed may use it.
            override: Replace the pattern of this name that another plugin registers without `override`.

        Raises:
            PluginError: A part is not what it should be, or the name is registered twice.
        """
        what = f"pattern {name!r}"
        for part in (written, becomes, *([] if when is None else [when])):
            if not callable(part):
                self._refuse(what, f"expected a function, got {part!r} of type {type(part).__qualname__}")
        pattern = Pattern(name, written, becomes, when, as_executed)
        try:
            pattern.parameters()
        except PluginError as error:
            self._refuse(what, str(error))
        self._add(self._patterns, what, Registration(name, PatternEntry(pattern, self.plugin), override))

    def registrations(self) -> tuple[Registration[str, PatternEntry], ...]:
        """Everything collected."""
        return tuple(self._patterns.values())
