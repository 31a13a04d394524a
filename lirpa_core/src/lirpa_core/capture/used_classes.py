"""What code may read of the classes of plain objects: the attributes that it names, and what operators call."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from lirpa_core.capture.contents import is_foreign

#: Methods with names of this form that no expression about an existing object calls.
_NOT_CALLED = frozenset(
    {
        "__init__",
        "__new__",
        "__del__",
        "__repr__",
        "__str__",
        "__format__",
        "__dir__",
        "__sizeof__",
        "__doc__",
    }
    | {"__init_subclass__", "__class_getitem__", "__subclasshook__", "__set_name__"}
    | {"__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__copy__", "__deepcopy__"}
)


@dataclass(eq=False)
class UsedClasses:
    """Classes of objects that a model holds, and the names that its code reads.

    Only what is read is given out: a library's configuration has methods that reach half of the library.
    """

    names: set[str] = field(default_factory=set)
    classes: dict[int, type] = field(default_factory=dict)
    given: set[tuple[int, str]] = field(default_factory=set)

    def add(self, value: object) -> None:
        """Note the classes of an object."""
        for kind in type(value).__mro__:
            root = (kind.__module__ or "").partition(".")[0]
            if not is_foreign(root) and root not in sys.stdlib_module_names:
                self.classes[id(kind)] = kind

    def reads(self, names: Iterable[str]) -> None:
        """Note names that code reads."""
        self.names.update(names)

    def unlooked(self) -> Iterator[tuple[type, str]]:
        """Classes and names in them that may be read, each once; more may be there after these were looked into."""
        for kind in list(self.classes.values()):
            for name, value in list(vars(kind).items()):
                if (id(kind), name) not in self.given and (name in self.names or _is_called(name, value)):
                    self.given.add((id(kind), name))
                    yield kind, name


def _is_called(name: str, value: object) -> bool:
    if name == "forward":  # which `Module.__call__` calls
        return True
    return isinstance(value, types.FunctionType) and name[:2] == "__" == name[-2:] and name not in _NOT_CALLED


__all__ = ["UsedClasses"]
