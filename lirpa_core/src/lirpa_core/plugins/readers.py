"""The registry that `lirpa_register_readers` receives."""

from __future__ import annotations

from lirpa_core.plugins.collector import Collector
from lirpa_core.plugins.entries import ReaderEntry, Registration
from lirpa_core.plugins.reader import Reader


class ReaderRegistry(Collector):
    """Collects the readers of one plugin."""

    def __init__(self, plugin: str) -> None:
        super().__init__(plugin)
        self._readers: dict[str, Registration[str, ReaderEntry]] = {}

    def register(self, reader: Reader, *, override: bool = False) -> None:
        """Make a reader known.

        Args:
            reader: The reader.
            override: Replace the reader of this name that another plugin registers without `override`.

        Raises:
            PluginError: It is no `Reader`, or its name is registered twice.
        """
        if not _is_reader(reader):
            self._refuse(
                "reader", f"expected an instance of a subclass of lirpa_core.plugins.Reader, got {reader!r}"
            )
        entry = ReaderEntry(reader, self.plugin)
        self._add(self._readers, f"reader {reader.name!r}", Registration(reader.name, entry, override))

    def registrations(self) -> tuple[Registration[str, ReaderEntry], ...]:
        """Everything collected."""
        return tuple(self._readers.values())


def _is_reader(value: object) -> bool:
    return isinstance(value, Reader)
