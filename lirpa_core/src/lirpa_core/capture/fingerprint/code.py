"""What code reads: names of globals, attributes and modules."""

from __future__ import annotations

import dis
import functools
import types
from collections.abc import Iterator

_IMPORT = frozenset({"IMPORT_NAME"})
_READ_GLOBALS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})

#: With these, code reads attributes whose names it makes as it runs.
_BY_MADE_NAMES = frozenset(
    {
        "getattr",
        "vars",
        "eval",
        "exec",
        "globals",
        "attrgetter",
        "methodcaller",
        "__dict__",
        "__getattribute__",
    }
)


def names_in(code: types.CodeType) -> Iterator[str]:
    """Names of globals and attributes that code reads, that of functions inside of it included."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from names_in(constant)


def globals_in(code: types.CodeType) -> tuple[str, ...]:
    """Names of the globals among `names_in`: `self.model` reads an attribute, whatever a global of the name `model` may be."""
    return _named_by(code, _READ_GLOBALS)


def modules_in(code: types.CodeType) -> tuple[str, ...]:
    """Names of the modules that code imports when it runs."""
    return _named_by(code, _IMPORT)


def makes_names(names: set[str]) -> bool:
    """Whether code that reads these names may read attributes of any name."""
    return not names.isdisjoint(_BY_MADE_NAMES)


# Code never changes, and taking it apart takes longer than all else of a look.
@functools.lru_cache(maxsize=4096)
def _named_by(code: types.CodeType, operations: frozenset[str]) -> tuple[str, ...]:
    found = [i.argval for i in dis.get_instructions(code) if i.opname in operations]
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found += _named_by(constant, operations)
    return tuple(dict.fromkeys(found))


__all__ = ["globals_in", "makes_names", "modules_in", "names_in"]
