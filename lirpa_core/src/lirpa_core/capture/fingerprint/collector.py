"""What a trace of a model may have read: modules, classes, functions, and all that these reach."""

from __future__ import annotations

import sys
import types
import weakref
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from torch import nn

from lirpa_core.capture.fingerprint.code import globals_in, modules_in, names_in
from lirpa_core.capture.fingerprint.contents import INTERNAL, PLAIN, contents_and_parts
from lirpa_core.capture.fingerprint.libraries import is_library, is_opaque
from lirpa_core.capture.fingerprint.table import Table
from lirpa_core.capture.fingerprint.used_classes import METHODS, UsedClasses
from lirpa_core.capture.hooks import HOOKS_OF_ALL

#: Lists of a recurrent layer's own parameters.
_DERIVED = frozenset({"_flat_weights", "_flat_weight_refs", "_all_weights"})

#: What changed while a model ran: the id of a dictionary, class or value, and the name in it (None: inside the value).
Notes: TypeAlias = frozenset[tuple[int, Any]]


def read_of_class(kind: type, names: Iterable[str]) -> Iterator[str]:
    """Those among names in a class that code may read; Python adds others, such as `__annotations__`, when it likes."""
    own = vars(kind)
    return (name for name in names if not name.startswith("__") or isinstance(own[name], METHODS))


@dataclass(eq=False)
class Collector:
    """Finds what a trace of a model may read; every class and function is entered once.

    Attributes:
        live: Ids of tensors that are read anew.
        registered: Ids of the model's modules.
        notes: What the model itself changes when it runs, and is not compared.
        classes: Modules and their classes.
        tables: Dictionaries that hold something.
        empty: Dictionaries that hold nothing.
        places: Names in other dictionaries, such as a function's globals, the values there, and the owners' ids.
        inner: Values that can change in place, and what is inside of them.
        state: The dictionaries of parameters and buffers.
        names: The names in classes; one more may hide an inherited one.
        seen: Ids of the classes and functions that were entered.
        used: Classes of which only what is read is entered.
    """

    live: frozenset[int]
    registered: frozenset[int]
    notes: Notes
    classes: list[tuple[nn.Module, type]] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    empty: list[Mapping[Any, Any]] = field(default_factory=list)
    places: list[tuple[Mapping[str, Any], str, Any, int]] = field(default_factory=list)
    inner: list[tuple[Any, object]] = field(default_factory=list)
    state: list[Table] = field(default_factory=list)
    names: list[tuple[type, frozenset[str]]] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    used: UsedClasses = field(default_factory=UsedClasses)

    def model(self, model: nn.Module) -> None:
        """All modules of a model, their hooks and those of all modules, and what code reads of the classes that were met."""
        for module in model.modules():
            self.module(module)
        for name in ("__call__", "_call_impl"):
            self.place(vars(nn.Module), name, nn.Module, enter=False)
        for table in HOOKS_OF_ALL:
            self.table(table)
            for hook in table.values():
                self.value(hook)
        self.read_of_classes()

    def module(self, module: nn.Module) -> None:
        own, notes = vars(module), self.notes
        ignored = INTERNAL | _DERIVED | {name for owner, name in notes if owner == id(own)}
        self.classes.append((module, type(module)))
        self.tables.append(Table.of(own, ignored))
        for name in ("_parameters", "_buffers"):
            if own[name]:
                self.state.append(Table.of(own[name]))
            else:
                self.empty.append(own[name])
        for name in ("_modules", "_forward_hooks", "_forward_pre_hooks"):
            self.table(own[name])
        for name in ("_forward_hooks", "_forward_pre_hooks"):
            for hook in own[name].values():
                self.value(hook)
        for name, value in own.items():
            if name not in ignored:
                self.value(value)
        for base in type(module).__mro__:
            if base is not nn.Module and base is not object:
                self.class_of_code(base, made=False)
        self.used.inherits(type(module))

    def table(self, table: Mapping[Any, Any]) -> None:
        if table:
            self.tables.append(Table.of(table))
        else:
            self.empty.append(table)

    def class_of_code(self, kind: type, *, made: bool) -> None:
        """The attributes of a user's class, which are entered if they are read; of a library's its `forward`."""
        if made and not is_library(kind.__module__):
            self.used.add_class(kind, made=True)
        if id(kind) in self.seen:
            return
        self.seen.add(id(kind))
        own = vars(kind)
        self.names.append((kind, frozenset(own)))
        if is_library(kind.__module__):
            if "forward" in own:
                self.place(own, "forward", kind, enter=False)
            return
        for name in list(read_of_class(kind, own)):
            self.place(own, name, kind, enter=False)
        self.used.add_class(kind, made=made)

    def named(self, kind: type) -> None:
        """A class that code names: it may make objects of it, and read what the class and its own class have."""
        self.used.add(kind)
        self.used.inherits(kind)
        for base in kind.__mro__:
            self.class_of_code(base, made=True)

    def read_of_classes(self) -> None:
        """What code reads of the classes that were met, and of those that are met there."""
        while waiting := list(self.used.unlooked()):
            for owner, name in waiting:
                if (id(owner), name) not in self.notes:
                    if id(owner) not in self.seen:  # all of the names of the others are noted
                        self.place(vars(owner), name, owner, enter=False)
                    self.value(vars(owner)[name])
        for kind in self.used.classes.values():
            if id(kind) not in self.seen:
                self.names.append((kind, frozenset(vars(kind))))

    def place(self, table: Mapping[str, Any], name: str, owner: object, *, enter: bool = True) -> None:
        """Note a name in a dictionary, and what is inside of the value there."""
        if (id(owner), name) not in self.notes:
            self.places.append((table, name, table[name], id(owner)))
            if enter:
                self.value(table[name])

    def value(self, value: Any) -> None:
        """Note what is inside of a value, if it can change in place."""
        if isinstance(value, PLAIN):
            return
        if isinstance(value, types.ModuleType):
            self.used.add_module(value)
            return
        if isinstance(value, type):
            self.named(value)
            return
        if id(value) in self.live or id(value) in self.registered or (id(value), None) in self.notes:
            return
        if isinstance(value, weakref.ref):
            self.value(value())
            return
        if isinstance(value, types.MethodType):
            self.value(value.__self__)
        function = getattr(value, "__func__", value)
        if isinstance(function, types.FunctionType):
            if not is_library(function.__module__):
                self.function(function)
            return
        if isinstance(value, types.BuiltinFunctionType) and isinstance(value.__self__, types.ModuleType):
            return
        held, parts = contents_and_parts(value, self.live)
        self.inner.append((value, held))
        self.code_of(parts)

    def code_of(self, parts: Iterable[Any]) -> None:
        """The functions and classes among the values inside of a value."""
        for part in parts:
            if isinstance(part, types.FunctionType):
                if not is_library(part.__module__):
                    self.function(part)
            elif isinstance(part, type):
                self.named(part)
            elif isinstance(part, types.ModuleType):
                self.used.add_module(part)
            elif id(part) not in self.registered and id(part) not in self.live:
                self.used.add(part)

    def function(self, function: types.FunctionType) -> None:
        """What a user's function reads: its globals, closure and defaults, and what the functions that it calls read."""
        if id(function) in self.seen:
            return
        self.seen.add(id(function))
        held, parts = contents_and_parts(function, self.live)
        self.inner.append((function, held))
        self.code_of(parts)
        for cell in function.__closure__ or ():
            try:
                self.value(cell.cell_contents)
            except ValueError:  # not filled yet
                continue
        names = set(names_in(function.__code__))
        self.used.reads(names)
        space = function.__globals__
        for name in space.keys() & set(globals_in(function.__code__)):
            value = space[name]
            self.place(space, name, space, enter=not isinstance(value, types.ModuleType))
            if isinstance(value, types.ModuleType):
                self.attributes(value, names)
        for name in modules_in(function.__code__):
            if name in sys.modules:
                self.attributes(sys.modules[name], names)

    def attributes(self, module: types.ModuleType, names: Set[str]) -> None:
        """What is read of a module."""
        inside = vars(module)
        for name in names & inside.keys():
            self.place(inside, name, inside, enter=not is_opaque(module.__name__))


__all__ = ["Collector", "Notes", "read_of_class"]
