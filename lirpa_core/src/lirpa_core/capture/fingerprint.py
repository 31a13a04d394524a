"""What a captured graph takes for granted about a model: everything that its trace may have read.

Parameters, buffers, and plain tensors that are constants of the graph are read anew at every computation; all else is
compared with what it was. Identity comes first, because it costs next to nothing; what can change in place (lists,
dictionaries, objects, tensors that the graph holds a copy of) is then looked into.
"""

from __future__ import annotations

import operator
import sys
import types
import weakref
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from lirpa_core.capture.contents import (
    INTERNAL,
    PLAIN,
    contents,
    contents_and_parts,
    globals_in,
    is_foreign,
    modules_in,
    names_in,
    same,
    values_of,
)
from lirpa_core.capture.hooks import HOOKS_OF_ALL
from lirpa_core.capture.used_classes import UsedClasses

#: Lists of a recurrent layer's own parameters.
_DERIVED = frozenset({"_flat_weights", "_flat_weight_refs", "_all_weights"})

#: What changed while a model ran: the id of a dictionary, class or value, and the name in it (None: inside the value).
Notes: TypeAlias = frozenset[tuple[int, Any]]


@dataclass(eq=False)
class _Table:
    """A dictionary, what it held, and the names in it that do not matter."""

    table: Mapping[Any, Any]
    ignored: frozenset[Any]
    names: tuple[Any, ...]
    values: tuple[Any, ...]

    @classmethod
    def of(cls, table: Mapping[Any, Any], ignored: frozenset[Any] = frozenset()) -> _Table:
        return cls(table, ignored, tuple(table), tuple(table.values()))

    def renew(self) -> None:
        """Remember what it holds now."""
        self.names, self.values = tuple(self.table), tuple(self.table.values())

    def changed(self) -> list[Any]:
        """The names whose values are not what they were."""
        before = {n: v for n, v in zip(self.names, self.values, strict=True) if n not in self.ignored}
        now = {n: v for n, v in self.table.items() if n not in self.ignored}
        gone = list(before.keys() ^ now.keys())
        return gone + [n for n in before.keys() & now.keys() if not same(now[n], before[n])]


@dataclass(eq=False)
class Fingerprint:
    """The state of everything that a trace may have read.

    Attributes:
        classes: Modules and their classes.
        tables: Dictionaries that held something.
        empty: Dictionaries that held nothing.
        places: Names in other dictionaries, such as a function's globals, the values there, and the owners' ids.
        inner: Values that can change in place, and what was inside of them.
        state: The dictionaries of parameters and buffers, with what they held.
        sharing: Which names shared one tensor.
        constants: Other tensors whose values are read anew.
        tensors: The tensors that are read anew.
        dtypes: Their types; `module.half()` changes them, and leaves the same objects.
        shapes: Their shapes; `parameter.data = value` may change them.
        live: Ids of tensors that are read anew.
        specialized: Tensors that are not, although they are parameters, buffers or constants of the graph: their values
            decided what the graph is. Each with its values.
        homes: Where parameters and buffers among those are registered.
        names: The names in classes; one more may hide an inherited one.
        number_type: The type that PyTorch gives to numbers.
        notes: What the model itself changes when it runs, and is not compared.
        uncertain: Whether some of that are no tensors: a counter, say. The replay after capture has shown that it does not
            matter so far; whether it ever will is for the tripwire to notice.
    """

    model: nn.Module
    classes: list[tuple[nn.Module, type]]
    tables: list[_Table]
    empty: list[Mapping[Any, Any]]
    places: list[tuple[Mapping[str, Any], str, Any, int]]
    inner: list[tuple[Any, object]]
    state: list[_Table]
    sharing: object
    constants: tuple[Tensor, ...]
    tensors: list[Tensor]
    dtypes: list[torch.dtype]
    shapes: list[torch.Size]
    live: frozenset[int]
    notes: Notes
    uncertain: bool = False
    specialized: list[tuple[Tensor, object]] = field(default_factory=list)
    homes: list[tuple[Mapping[str, Tensor | None], str, Tensor]] = field(default_factory=list)
    names: list[tuple[type, frozenset[str]]] = field(default_factory=list)
    number_type: torch.dtype = field(default_factory=torch.get_default_dtype)

    @classmethod
    def of(
        cls,
        model: nn.Module,
        constants: Iterable[Tensor] = (),
        before: Fingerprint | None = None,
        specialized: Iterable[Tensor] = (),
    ) -> Fingerprint:
        """The state as it is now.

        Args:
            model: The model.
            constants: Tensors whose values are read anew at every computation, besides parameters and buffers.
            before: The state before the model was run the last few times; what has changed since, the model has changed.
            specialized: Tensors whose values decided what the graph is, so that they have to stay.
        """
        constants = tuple(constants)
        live = frozenset(map(id, chain(constants, model.parameters(), model.buffers())))
        notes, uncertain = before.changed() if before is not None else (frozenset(), False)
        found = cls(
            model, [], [], [], [], [], [], _sharing(model), constants, [], [], [], live, notes, uncertain
        )
        found.specialized = [(x, values_of(x)) for x in specialized]
        own = {id(x) for x, _ in found.specialized}
        found.homes = [
            (table, name, x)
            for module in model.modules()
            for table in (module._parameters, module._buffers)
            for name, x in table.items()
            if x is not None and id(x) in own
        ]
        collector = _Collector(found)
        for module in model.modules():
            collector.module(module)
        for name in ("__call__", "_call_impl"):
            collector.place(vars(nn.Module), name, nn.Module, enter=False)
        for table in HOOKS_OF_ALL:
            collector.table(table)
            for hook in table.values():
                collector.value(hook)
        collector.classes_of_objects()
        found.tensors = found._read_anew()
        found.dtypes, found.shapes = [v.dtype for v in found.tensors], [v.shape for v in found.tensors]
        return found

    def changed(self) -> tuple[Notes, bool]:
        """What is not as it was, and whether some of it are no tensors."""
        found: set[tuple[int, Any]] = set()
        values: list[Any] = []
        for t in self.tables:
            held = dict(zip(t.names, t.values, strict=True))
            for name in t.changed():
                now = t.table.get(name)
                if contents(now, self.live) != contents(
                    held.get(name), self.live
                ):  # torch.export rebuilds lists
                    found.add((id(t.table), name))
                    values.append(now)
        for table, name, value, owner in self.places:
            if table.get(name) is not value:
                found.add((owner, name))
                values.append(table.get(name))
        for value, before in self.inner:
            if contents(value, self.live) != before:
                found.add((id(value), None))
                values.append(value)
        return frozenset(found), not all(map(_only_tensors, values))

    def holds(self) -> bool:
        """Whether everything is as it was."""
        if any(self.empty) or torch.get_default_dtype() != self.number_type:
            return False
        if not all([table.get(name) is x for table, name, x in self.homes]):
            return False
        if not all([values_of(x) == before for x, before in self.specialized]):
            return False
        for module, kind in self.classes:
            if module.__class__ is not kind:
                return False
        for kind, names in self.names:
            if len(vars(kind)) != len(names) and any(_read_of_class(kind, vars(kind).keys() - names)):
                return False
        if not all(map(self._renewed, _changed(self.tables))):
            return False
        for table, name, value, _ in self.places:
            if table.get(name) is not value:
                return False
        if _changed(self.state):
            if _sharing(self.model) != self.sharing:
                return False
            self.state = [_Table.of(t.table) for t in self.state]
            self.tensors = self._read_anew()
        # A conversion to a tensor's type is a part of the graph. Lists of one attribute each are the fastest to make.
        if [v.dtype for v in self.tensors] != self.dtypes or [v.shape for v in self.tensors] != self.shapes:
            return False
        return all([contents(value, self.live) == before for value, before in self.inner])

    def _read_anew(self) -> list[Tensor]:
        return [v for v in chain(*[t.values for t in self.state], self.constants) if v is not None]

    def _renewed(self, t: _Table) -> bool:
        """Whether a dictionary holds equal values, though not the same; remembers those if so.

        An export replaces lists and dictionaries by equal ones. They are compared with what was inside of the old ones when
        these were looked into, not with what is now.
        """
        before = dict(zip(t.names, t.values, strict=True))
        for name in t.changed():
            then, now = before.get(name), t.table.get(name)
            if type(now) is not type(then) or type(now) not in (list, dict):
                return False
            known = [held for value, held in self.inner if value is then]
            if not known or contents(now, self.live) != known[0]:
                return False
            self.inner = [(now if value is then else value, held) for value, held in self.inner]
        t.renew()
        return True


def _changed(tables: Iterable[_Table]) -> list[_Table]:
    """Those that hold other objects than they held."""
    return [
        t
        for t in tables
        if len(t.table) != len(t.values) or not all(map(operator.is_, t.table.values(), t.values))
    ]


def _read_of_class(kind: type, names: Iterable[str]) -> Iterator[str]:
    """Those among names in a class that code may read; Python adds others, such as `__annotations__`, when it likes."""
    own = vars(kind)
    return (name for name in names if not name.startswith("__") or isinstance(own[name], types.FunctionType))


def _only_tensors(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return len(value) > 0 and all([_only_tensors(v) for v in value])
    return isinstance(value, Tensor)


@dataclass(eq=False)
class _Collector:
    """Fills a fingerprint; every class and function is entered once."""

    found: Fingerprint

    def __post_init__(self) -> None:
        self.seen: set[int] = set()
        self.registered = frozenset(map(id, self.found.model.modules()))
        self.used = UsedClasses()

    def module(self, module: nn.Module) -> None:
        own, notes = vars(module), self.found.notes
        ignored = INTERNAL | _DERIVED | {name for owner, name in notes if owner == id(own)}
        self.found.classes.append((module, type(module)))
        self.found.tables.append(_Table.of(own, ignored))
        for name in ("_parameters", "_buffers"):
            if own[name]:
                self.found.state.append(_Table.of(own[name]))
            else:
                self.found.empty.append(own[name])
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
                self.type(base)

    def table(self, table: Mapping[Any, Any]) -> None:
        if table:
            self.found.tables.append(_Table.of(table))
        else:
            self.found.empty.append(table)

    def type(self, kind: type) -> None:
        """The attributes of a user's class; of PyTorch's its `forward`."""
        if id(kind) in self.seen:
            return
        self.seen.add(id(kind))
        own = vars(kind)
        self.found.names.append((kind, frozenset(own)))
        if is_foreign(kind.__module__):
            if "forward" in own:
                self.place(own, "forward", kind, enter=False)
            return
        for name in list(_read_of_class(kind, own)):
            self.place(own, name, kind)

    def classes_of_objects(self) -> None:
        """What code reads of the classes of the objects that were looked into."""
        while waiting := list(self.used.unlooked()):
            for kind, name in waiting:
                self.place(vars(kind), name, kind)
        for kind in self.used.classes.values():
            self.found.names.append((kind, frozenset(vars(kind))))

    def place(self, table: Mapping[str, Any], name: str, owner: object, *, enter: bool = True) -> None:
        """Note a name in a dictionary, and what is inside of the value there."""
        if (id(owner), name) not in self.found.notes:
            self.found.places.append((table, name, table[name], id(owner)))
            if enter:
                self.value(table[name])

    def value(self, value: Any) -> None:
        """Note what is inside of a value, if it can change in place."""
        if isinstance(value, (*PLAIN, types.ModuleType)):
            return
        if isinstance(value, type):
            self.type(value)
            return
        if (
            id(value) in self.found.live
            or id(value) in self.registered
            or (id(value), None) in self.found.notes
        ):
            return
        if isinstance(value, weakref.ref):
            self.value(value())
            return
        if isinstance(value, types.MethodType):
            self.value(value.__self__)
        function = getattr(value, "__func__", value)
        if isinstance(function, types.FunctionType):
            if not is_foreign(function.__module__):
                self.function(function)
            return
        if isinstance(value, types.BuiltinFunctionType) and isinstance(value.__self__, types.ModuleType):
            return
        held, parts = contents_and_parts(value, self.found.live)
        self.found.inner.append((value, held))
        self.code_of(parts)

    def code_of(self, parts: Iterable[Any]) -> None:
        """The functions and classes among the values inside of a value."""
        for part in parts:
            if isinstance(part, types.FunctionType):
                if not is_foreign(part.__module__):
                    self.function(part)
            elif isinstance(part, type):
                self.type(part)
            elif id(part) not in self.registered and id(part) not in self.found.live:
                self.used.add(part)

    def function(self, function: types.FunctionType) -> None:
        """What a user's function reads: its globals, closure and defaults, and what the functions that it calls read."""
        if id(function) in self.seen:
            return
        self.seen.add(id(function))
        held, parts = contents_and_parts(function, self.found.live)
        self.found.inner.append((function, held))
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
        inside, foreign = vars(module), is_foreign(module.__name__)
        for name in names & inside.keys():
            self.place(inside, name, inside, enter=not foreign)


def _sharing(model: nn.Module) -> object:
    """Which names share one tensor, and which have none."""
    names: dict[int, list[str]] = {}
    none: list[str] = []
    for path, module in model.named_modules(remove_duplicate=False):
        for table in (module._parameters, module._buffers):
            for name, tensor in table.items():
                if tensor is None:
                    none.append(f"{path}.{name}")
                else:
                    names.setdefault(id(tensor), []).append(f"{path}.{name}")
    return tuple([tuple(shared) for shared in names.values() if len(shared) > 1]), tuple(none)


__all__ = ["Fingerprint", "Notes"]
