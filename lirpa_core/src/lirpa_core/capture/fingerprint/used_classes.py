"""What code may read of classes and of modules that are values: what it names, what operators call, and what libraries' classes call."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from torch import nn

from lirpa_core.capture.fingerprint.code import makes_names
from lirpa_core.capture.fingerprint.libraries import is_installed, is_library

#: Methods that only the making of an object calls.
_MAKING = frozenset({"__init__", "__new__"})

#: Methods with names of this form that no expression about an existing object calls.
_NOT_CALLED = (
    _MAKING
    | {"__del__", "__repr__", "__str__", "__format__", "__dir__", "__sizeof__", "__doc__"}
    | {"__init_subclass__", "__class_getitem__", "__subclasshook__", "__set_name__"}
    | {"__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__copy__", "__deepcopy__"}
)

#: Values in a class that are code, or run it when they are read or called.
_CODE = (types.FunctionType, property, staticmethod, classmethod, type)

#: Values in a class that are methods.
METHODS = (types.FunctionType, staticmethod, classmethod)


@dataclass(eq=False)
class UsedClasses:
    """Classes whose attributes a model's code may read, and the names that its code reads.

    Only what is read is given out: a library's configuration has methods that reach half of the library, and so has a module's
    training step.

    Attributes:
        names: Names of attributes that code reads.
        classes: The classes by their ids, libraries' excepted.
        modules: Modules of the user's that are values, as a settings file that is an attribute, by their ids.
        of_modules: Ids of those classes that are classes of the model's modules, or made or read by name in code.
        called: By a class's id the names of what libraries' classes have that an object of it is of, too: their code may call
            what stands in its place.
        made: Ids of those of which code may make objects.
        given: Ids of classes and names that were given out.
    """

    names: set[str] = field(default_factory=set)
    classes: dict[int, type] = field(default_factory=dict)
    modules: dict[int, types.ModuleType] = field(default_factory=dict)
    of_modules: set[int] = field(default_factory=set)
    called: dict[int, set[str]] = field(default_factory=dict)
    made: set[int] = field(default_factory=set)
    given: set[tuple[int, str]] = field(default_factory=set)

    def add(self, value: object) -> None:
        """Note the classes of an object."""
        for kind in type(value).__mro__:
            if not is_library(kind.__module__):
                self.classes[id(kind)] = kind
        self.inherits(type(value))

    def inherits(self, kind: type) -> None:
        """Note what the code of libraries' classes may call of the user's classes among those that a class inherits from."""
        own = [base for base in kind.__mro__ if not is_library(base.__module__)]
        if own and len(own) + 1 < len(kind.__mro__):
            names = {name for base in kind.__mro__ if base not in own for name in _called_by(base)}
            for base in own:
                self.called.setdefault(id(base), set()).update(names)

    def add_class(self, kind: type, *, made: bool) -> None:
        """Note a class of a module, or one that code names and may make objects of (`made`)."""
        self.classes[id(kind)] = kind
        (self.made if made else self.of_modules).add(id(kind))

    def add_module(self, module: types.ModuleType) -> None:
        """Note a module that is a value."""
        if not is_library(module.__name__):
            self.modules[id(module)] = module

    def reads(self, names: Iterable[str]) -> None:
        """Note names that code reads."""
        self.names.update(names)

    def unlooked(self) -> Iterator[tuple[type | types.ModuleType, str]]:
        """Owners and names in them that may be read, each once; more may be there after these were looked into."""
        any_name = makes_names(self.names)
        for key, module in list(self.modules.items()):
            for name in self.names & vars(module).keys():
                if (key, name) not in self.given:
                    self.given.add((key, name))
                    yield module, name
        for key, kind in list(self.classes.items()):
            for name, value in list(vars(kind).items()):
                if (key, name) not in self.given and (
                    name in self.names
                    or name in self.called.get(key, ())
                    or _is_called(name, value)
                    or (name in _MAKING and key in self.made)
                    or (any_name and _has_any_name(kind, name, value, key in self.of_modules))
                ):
                    self.given.add((key, name))
                    yield kind, name


def _is_called(name: str, value: object) -> bool:
    if name == "forward":  # which `Module.__call__` calls
        return True
    return isinstance(value, METHODS) and _is_special(name) and name not in _NOT_CALLED


def _called_by(kind: type) -> set[str]:
    """The names of what the code of a library's class may call; `Module` itself has much that running it does not."""
    if kind is nn.Module:
        return {"_call_impl", "_wrapped_call_impl", "_slow_forward"}
    return set() if kind is object else {name for name in vars(kind) if not _is_special(name)}


def _has_any_name(kind: type, name: str, value: object, of_module: bool) -> bool:
    """Whether an attribute may be read by a name that code makes: any of the user's modules, and what runs no code of others.

    A framework's base class of models downloads, saves and trains; its code makes names everywhere.
    """
    if _is_special(name):
        return False
    return not isinstance(value, _CODE) or (of_module and not is_installed(kind.__module__))


def _is_special(name: str) -> bool:
    return name[:2] == "__" == name[-2:]


__all__ = ["METHODS", "UsedClasses"]
