"""What a captured graph takes for granted about a model: everything that its trace may have read.

Parameters, buffers, and plain tensors that are constants of the graph are read anew at every computation; all else is
compared with what it was. Identity comes first, because it costs next to nothing; what can change in place (lists,
dictionaries, objects, tensors that the graph holds a copy of) is then looked into.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from lirpa_core.capture.fingerprint.collector import Collector, Notes, read_of_class
from lirpa_core.capture.fingerprint.contents import contents, values_of
from lirpa_core.capture.fingerprint.table import Table, changed


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
        names: The names in classes; one more may hide an inherited one.
        sharing: Which names shared one tensor.
        constants: Other tensors whose values are read anew.
        tensors: The tensors that are read anew.
        dtypes: Their types; `module.half()` changes them, and leaves the same objects.
        shapes: Their shapes; `parameter.data = value` may change them.
        live: Ids of tensors that are read anew.
        specialized: Tensors that are not, although they are parameters, buffers or constants of the graph: their values
            decided what the graph is. Each with its values.
        homes: Where parameters and buffers among those are registered.
        number_type: The type that PyTorch gives to numbers.
        notes: What the model itself changes when it runs, and is not compared.
        uncertain: Whether some of that are no tensors: a counter, say. The replay after capture has shown that it does not
            matter so far; whether it ever will is for the tripwire to notice.
    """

    model: nn.Module
    classes: list[tuple[nn.Module, type]]
    tables: list[Table]
    empty: list[Mapping[Any, Any]]
    places: list[tuple[Mapping[str, Any], str, Any, int]]
    inner: list[tuple[Any, object]]
    state: list[Table]
    names: list[tuple[type, frozenset[str]]]
    sharing: object
    constants: tuple[Tensor, ...]
    tensors: list[Tensor]
    dtypes: list[torch.dtype]
    shapes: list[torch.Size]
    live: frozenset[int]
    notes: Notes
    uncertain: bool
    specialized: list[tuple[Tensor, object]]
    homes: list[tuple[Mapping[str, Tensor | None], str, Tensor]]
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
        reached = Collector(live, frozenset(map(id, model.modules())), notes)
        reached.model(model)
        decided: list[tuple[Tensor, object]] = [(x, values_of(x)) for x in specialized]
        own = {id(x) for x, _ in decided}
        homes: list[tuple[Mapping[str, Tensor | None], str, Tensor]] = [
            (table, name, x)
            for module in model.modules()
            for table in (module._parameters, module._buffers)
            for name, x in table.items()
            if x is not None and id(x) in own
        ]
        tensors = _read_anew(reached.state, constants)
        return cls(
            model, reached.classes, reached.tables, reached.empty, reached.places, reached.inner, reached.state,
            reached.names, _sharing(model), constants, tensors, [v.dtype for v in tensors], [v.shape for v in tensors],
            live, notes, uncertain, decided, homes,
        )  # fmt: skip

    def changed(self) -> tuple[Notes, bool]:
        """What is not as it was, and whether some of it are no tensors."""
        found: set[tuple[int, Any]] = set()
        values: list[Any] = []
        for t in self.tables:
            held = t.held()
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
            if len(vars(kind)) != len(names) and any(read_of_class(kind, vars(kind).keys() - names)):
                return False
        if not all(map(self._renewed, changed(self.tables))):
            return False
        for table, name, value, _ in self.places:
            if table.get(name) is not value:
                return False
        if changed(self.state):
            if _sharing(self.model) != self.sharing:
                return False
            self.state = [Table.of(t.table) for t in self.state]
            self.tensors = _read_anew(self.state, self.constants)
        # A conversion to a tensor's type is a part of the graph. Lists of one attribute each are the fastest to make.
        if [v.dtype for v in self.tensors] != self.dtypes or [v.shape for v in self.tensors] != self.shapes:
            return False
        return all([contents(value, self.live) == before for value, before in self.inner])

    def _renewed(self, t: Table) -> bool:
        """Whether a dictionary holds equal values, though not the same; remembers those if so.

        An export replaces lists and dictionaries by equal ones. They are compared with what was inside of the old ones when
        these were looked into, not with what is now.
        """
        before = t.held()
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


def _read_anew(state: Iterable[Table], constants: Iterable[Tensor]) -> list[Tensor]:
    """Parameters, buffers, and the constants of a graph that are."""
    return [v for v in chain(*[t.values for t in state], constants) if v is not None]


def _only_tensors(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return len(value) > 0 and all([_only_tensors(v) for v in value])
    return isinstance(value, Tensor)


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
