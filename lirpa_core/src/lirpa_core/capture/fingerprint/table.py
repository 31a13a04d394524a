"""Dictionaries and what they held, compared by identity first."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lirpa_core.capture.fingerprint.contents import same


@dataclass(eq=False)
class Table:
    """A dictionary, what it held, and the names in it that do not matter.

    Attributes:
        table: The dictionary.
        ignored: Names that do not matter.
        names: The names that it held.
        values: Their values.
    """

    table: Mapping[Any, Any]
    ignored: frozenset[Any]
    names: tuple[Any, ...]
    values: tuple[Any, ...]

    @classmethod
    def of(cls, table: Mapping[Any, Any], ignored: frozenset[Any] = frozenset()) -> Table:
        """The dictionary and what it holds now."""
        return cls(table, ignored, tuple(table), tuple(table.values()))

    def held(self) -> dict[Any, Any]:
        """What it held, by name."""
        return dict(zip(self.names, self.values, strict=True))

    def renew(self) -> None:
        """Remember what it holds now."""
        self.names, self.values = tuple(self.table), tuple(self.table.values())

    def changed(self) -> list[Any]:
        """The names whose values are not what they were."""
        before = {n: v for n, v in self.held().items() if n not in self.ignored}
        now = {n: v for n, v in self.table.items() if n not in self.ignored}
        gone = list(before.keys() ^ now.keys())
        return gone + [n for n in before.keys() & now.keys() if not same(now[n], before[n])]


def changed(tables: Iterable[Table]) -> list[Table]:
    """Those that hold other objects than they held."""
    return [
        t
        for t in tables
        if len(t.table) != len(t.values) or not all(map(operator.is_, t.table.values(), t.values))
    ]


__all__ = ["Table", "changed"]
