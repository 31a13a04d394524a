"""What no input reaches is known while a model is exported, whatever the model does with it.

`torch.export` runs `forward` on tensors without values, and refuses to make a number or a size of any. Parameters, buffers and
constants do have values. So what is computed from them alone is computed a second time, with the values, and a model may
branch on it, index with it as a mask, or make it a number. Each tensor whose values entered the graph this way is noted: when it
changes, the graph is no longer the model's, and `Fingerprint` has it captured anew.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor  # no public function tells
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree  # the public torch.utils.pytree is not in all supported versions
from torch.utils._python_dispatch import _disable_current_modes  # there is no public way out of a trace

from lirpa_core.capture.guards import checked_at, passing_answer
from lirpa_core.devices import random_state, set_random_state
from lirpa_core.perturbations.tensors import BoundedParameter, BoundedTensor

#: Functions of a tensor that give Python values.
READ_BY_PYTHON = frozenset(
    {
        "item", "tolist", "numpy", "__array__", "__bool__", "__float__", "__int__", "__index__", "__complex__", "is_nonzero",
        "equal", "allclose",
    }
)  # fmt: skip

#: Functions whose results have a size that depends on values.
_SIZES = frozenset(
    {"nonzero", "argwhere", "unique", "unique_consecutive", "bincount", "masked_select", "repeat_interleave"}
)

#: Functions that read or write elements by an index, which may be a mask.
_INDEXED = frozenset({"__getitem__", "__setitem__", "index_put", "index_put_"})

#: What makes a number of a truth.
_AS_NUMBER: Final[Mapping[str, Callable[[bool], Any]]] = {"__float__": float, "__int__": int}

#: In the place of a result that is not known.
_OPEN: Final = object()


@dataclass(frozen=True, eq=False)
class Known:
    """A tensor's values, and the tensors of the model that they were computed from, by id."""

    value: Tensor
    sources: Mapping[int, Tensor]


class KnownValues(TorchFunctionMode):
    """While `forward` runs for an export: the values of what is computed from parameters, buffers and constants alone.

    Args:
        model: The model; parameters and buffers are those that it has now, before the export puts others in their places.
        compute: Whether to compute values; else it is noted alone which tensors have their values read by Python.

    Attributes:
        used: Tensors of the model whose values entered the graph, by id.
        assumed: Where the model checks what no graph can, and raises if it does not hold: it is taken to hold.
    """

    def __init__(self, model: nn.Module, *, compute: bool) -> None:
        super().__init__()
        self.used: dict[int, Tensor] = {}
        self.assumed: list[str] = []
        self._model, self._compute = model, compute
        self._state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self._known: dict[
            int, tuple[Tensor, Known | None]
        ] = {}  # the tensors kept, lest others get their ids

    def enter(self, *inputs: Any) -> None:
        """Forget an earlier run; inputs have no known values."""
        self.assumed.clear()
        self._known = {id(x): (x, None) for x in pytree.tree_leaves(inputs) if isinstance(x, Tensor)}
        now = {**dict(self._model.named_parameters()), **dict(self._model.named_buffers())}
        for path, stand_in in now.items():
            own = self._state.get(path)
            self._known[id(stand_in)] = stand_in, None if own is None else _leaf(own)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if not self._compute:
            if name in READ_BY_PYTHON:
                self._use([self._of(x) for x in args if isinstance(x, Tensor)])
            return func(*args, **kwargs)
        given = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        known = [self._of(x) for x in given]
        everything = all([k is not None for k in known])
        if given and everything and (name in READ_BY_PYTHON or _has_unknown_size(name, args, kwargs)):
            found = self._constant(func, args, kwargs, known)
            if found is not None:
                return found
        if given and (passes := self._passes(name, given[0])) is not None:
            return None if name == "_assert" else _AS_NUMBER.get(name, bool)(passes)
        if (chosen := self._chosen(name, args, kwargs)) is not None:
            return chosen
        args = self._with_indices(name, args)
        try:
            out = func(*args, **kwargs)
        except Exception:  # an operator that cannot be traced
            found = self._constant(func, args, kwargs, known) if given and everything else None
            if found is None:
                raise
            return found
        results = [x for x in pytree.tree_leaves(out) if isinstance(x, Tensor)]
        writes = _writes(func, name, kwargs)
        found = self._computed(func, args, kwargs) if everything and (results or writes) else _OPEN
        self._note(results, found, known)
        if writes:
            self._written([k for k in known if k is not None], found is not _OPEN)
        return out

    def _passes(self, name: str, x: Tensor) -> bool | None:
        """What Python is told of a truth that is not known, where it only decides whether the model raises; see `guards`."""
        frame = sys._getframe(2)
        if name == "_assert":
            where, answer = checked_at(frame, __file__), True
        elif name == "__bool__" or (name in ("item", *_AS_NUMBER) and x.dtype == torch.bool):
            answer, where = passing_answer(frame, __file__) or (True, None)
        else:
            return None
        if where is None:
            return None
        if where not in self.assumed:
            self.assumed.append(where)
        return answer

    def _of(self, x: Tensor) -> Known | None:
        if id(x) in self._known:
            return self._known[id(x)][1]
        found = _leaf(x)
        self._known[id(x)] = x, found
        return found

    def _computed(self, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """The function of the known values; `_OPEN` where it fails, or draws random numbers, or leaves values open."""
        if getattr(func, "__name__", "").startswith(("empty", "new_empty")):
            return _OPEN

        def value(x: Any) -> Any:
            if not isinstance(x, Tensor):
                return x
            known = self._of(x)
            assert known is not None
            return known.value

        args, kwargs = pytree.tree_map(value, (args, kwargs))
        with _untraced():
            before = random_state()
            try:
                found = func(*args, **kwargs)
            except Exception:  # noqa: BLE001  what cannot be computed is not known
                found = _OPEN
            if not all(map(torch.equal, before, random_state())):
                set_random_state(before)
                return _OPEN
        return found

    def _constant(
        self, func: Callable[..., Any], args: Any, kwargs: Any, known: Sequence[Known | None]
    ) -> Any:
        """The function's result as a constant of the graph; None where it has to stay symbolic."""
        found = self._computed(func, args, kwargs)
        if found is None or found is _OPEN or self._loses_gradient(found, known):
            return None
        self._use(known)
        return self._kept(found, known)

    def _note(self, results: list[Tensor], found: Any, known: Sequence[Known | None]) -> None:
        values = [x for x in pytree.tree_leaves(found) if isinstance(x, Tensor)]
        sources = {i: t for k in known if k is not None for i, t in k.sources.items()}
        for position, result in enumerate(results):
            value = values[position] if len(values) == len(results) else None
            if value is None or value.shape != result.shape or value.dtype != result.dtype:
                self._known[id(result)] = result, None
            else:
                wrapped = is_functorch_wrapped_tensor(value)
                self._known[id(result)] = result, None if wrapped else Known(value, sources)

    def _kept(self, found: Any, known: Sequence[Known | None]) -> Any:
        """Computed values as constants of the graph, which are known too."""
        sources = {i: t for k in known if k is not None for i, t in k.sources.items()}

        def keep(x: Any) -> Any:
            if not isinstance(x, Tensor):
                return x
            constant = x.clone()
            self._known[id(constant)] = constant, Known(x, sources)
            return constant

        if not isinstance(found, (Tensor, list, tuple)):
            return found.copy() if hasattr(found, "tobytes") and hasattr(found, "copy") else found
        with _untraced():
            return pytree.tree_map(keep, found)

    def _with_indices(self, name: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments with the positions that known masks pick in the place of the masks."""
        if name not in _INDEXED or len(args) < 2:
            return args
        entries = args[1] if isinstance(args[1], (tuple, list)) else (args[1],)
        if not any([isinstance(entry, Tensor) for entry in entries]):
            return args
        chosen: list[Any] = []
        for entry in entries:
            picked = self._picked(entry, None)
            chosen += [entry] if picked is None else picked
        if all([a is b for a, b in zip(chosen, entries, strict=False)]):
            return args
        return (args[0], tuple(chosen), *args[2:])

    def _chosen(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
        """What `masked_select` and `repeat_interleave` choose by a known second operand; None for anything else."""
        if name == "masked_select" and len(args) == 2:
            x, mask = args
            shape = torch.broadcast_shapes(x.shape, mask.shape)
            picked = self._picked(mask, shape)
            return None if picked is None else torch.broadcast_to(x, shape)[tuple(picked)]
        if name == "repeat_interleave" and len(args) > 1 and isinstance(args[1], Tensor):
            x, repeats = args[:2]
            known = self._of(repeats)
            if known is None:
                return None
            dim = kwargs.get("dim", args[2] if len(args) > 2 else None)
            x, dim = (x.reshape(-1), 0) if dim is None else (x, dim)
            with _untraced():
                counts = known.value.expand(x.shape[dim])
                index = torch.repeat_interleave(torch.arange(x.shape[dim], device=counts.device), counts)
            self._use([known])
            return torch.index_select(x, dim, index)
        return None

    def _picked(self, entry: Any, shape: torch.Size | None) -> list[Tensor] | None:
        """One tensor of positions for each dimension of a known mask, which is broadcast to a shape before."""
        if not isinstance(entry, Tensor) or entry.dtype != torch.bool or not entry.dim():
            return None
        known = self._of(entry)
        if known is None:
            return None
        self._use([known])
        with _untraced():
            mask = known.value if shape is None else known.value.expand(shape)
            return [index.clone() for index in mask.nonzero(as_tuple=True)]

    def _use(self, known: Sequence[Known | None]) -> None:
        for k in known:
            self.used.update({} if k is None else k.sources)

    def _loses_gradient(self, found: Any, known: Sequence[Known | None]) -> bool:
        """Whether a constant would stand where the model differentiates."""
        floating = any([isinstance(x, Tensor) and x.is_floating_point() for x in pytree.tree_leaves(found)])
        return floating and any([t.requires_grad for k in known if k is not None for t in k.sources.values()])

    def _written(self, known: Sequence[Known], still: bool) -> None:
        """What shares memory with something that was written into is as known, and from as many sources."""
        places = {k.value.untyped_storage().data_ptr() for k in known}
        sources = {i: t for k in known for i, t in k.sources.items()}
        for key, (x, old) in self._known.items():
            if old is not None and old.value.untyped_storage().data_ptr() in places:
                self._known[key] = x, Known(old.value, {**old.sources, **sources}) if still else None


def _leaf(x: Tensor) -> Known | None:
    """A tensor of the model as a known one, a copy that may be written into; None for what has no values of its own."""
    from torch._subclasses.fake_tensor import FakeTensor

    if isinstance(x, (BoundedParameter, BoundedTensor, FakeTensor)) or x.is_meta or x.layout != torch.strided:
        return None
    if is_functorch_wrapped_tensor(x):
        return None
    with _untraced():
        return Known(x.detach().clone(), {id(x): x})


@contextmanager
def _untraced() -> Iterator[None]:
    """Compute with values, outside of whatever trace is going on."""
    with _disable_current_modes(), torch._C.DisableTorchFunction(), torch.no_grad():
        yield


def _has_unknown_size(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    return name in _SIZES or (name == "where" and len(args) + len(kwargs) == 1)


def _writes(func: Any, name: str, kwargs: Mapping[str, Any]) -> bool:
    if isinstance(func, torch._ops.OpOverload):  # no public name for the type exists
        return bool(func._schema.is_mutable)
    in_place = name.endswith("_") and not name.endswith("__")
    return in_place or kwargs.get("out") is not None or name == "__setitem__" or name.startswith("__i")


@contextmanager
def knowing_constants(model: nn.Module, *, compute: bool) -> Iterator[KnownValues]:
    """While this is open, the model's `forward` knows the values of what no input reaches; see `KnownValues`."""
    values = KnownValues(model, compute=compute)
    forward, own = model.forward, vars(model).get("forward")

    @functools.wraps(forward)
    def run(*args: Any, **kwargs: Any) -> Any:
        values.enter(args, kwargs)
        with values:
            return forward(*args, **kwargs)

    model.forward = run
    try:
        yield values
    finally:
        if own is None:
            del model.forward
        else:
            model.forward = own
