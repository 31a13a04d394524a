"""A model and its graphs: captured when first needed, and again when its structure, dtype or device changes."""

from __future__ import annotations

import dataclasses
import inspect
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePath
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree  # the public torch.utils.pytree is not in all supported versions

from lirpa_core.capture.batch_state import BatchState, clean_pass, fixable, needs_state
from lirpa_core.capture.fingerprint import Fingerprint
from lirpa_core.capture.inputs import refuse_containers, refuse_mapped, refuse_sharded
from lirpa_core.capture.mixed_precision import refuse_autocast
from lirpa_core.capture.registry_as_executed import RegistryAsExecuted
from lirpa_core.devices import in_full_precision
from lirpa_core.errors import CaptureError, InputError, OptionError, TrainingModeWarning
from lirpa_core.graph import Graph
from lirpa_core.perturbations.tensors import BoundedTensor
from lirpa_core.plugins import LiveModel, Reader, Registry, unsupported_message
from lirpa_core.problem.batching import batch_size
from lirpa_core.problem.binding import Binder
from lirpa_core.problem.problem import Problem
from lirpa_core.progress import Monitor, Report

#: Graphs kept for a dtype and a device, such as those of training and of evaluation.
_KEPT = 4

#: Kinds of inputs that graphs are kept for: dtype, device, and without a batch dimension the shapes.
_KINDS = 16

#: Layers named in a warning.
_LISTED = 8


@dataclass(eq=False)
class CapturedModel:
    """A live model, the graphs captured of it, and the form of inputs that they were captured with.

    Attributes:
        reader: What reads the model.
        live: The model.
        example: Positional and keyword inputs, plain tensors.
        batch_dims: See `BoundedModule`.
    """

    reader: Reader
    live: LiveModel
    example: tuple[tuple[Any, ...], dict[str, Any]]
    batch_dims: Sequence[int | None] | str | None
    _graphs: dict[object, list[tuple[Fingerprint, Graph]]] = field(default_factory=dict)
    _warned: bool = False
    _binders: dict[tuple[int, int], tuple[Graph, Registry, Binder]] = field(default_factory=dict)
    _with_state: dict[int, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._leaves, self._spec = pytree.tree_flatten(self.example)

    @classmethod
    def of(
        cls,
        source: object,
        example: Any,
        kwargs: Mapping[str, Any] | None,
        batch_dims: Sequence[int | None] | str | None,
        device: torch.device | str | None,
        registry: Registry,
    ) -> CapturedModel:
        """What `BoundedModule` is given, on the device that it is to be on; nothing is captured yet.

        Raises:
            CaptureError: No reader reads such a source.
            InputError: The example holds containers that fall apart into several tensors, or is inside of `torch.func.vmap`.
        """
        reader = _reader_of(source, registry)
        live = reader.open(source)
        if device is not None:
            live.module.to(device)
        refuse_containers((example, *(kwargs or {}).values()))
        args = tuple(example) if isinstance(example, (tuple, list)) else (example,)
        refuse_containers(args)
        refuse_mapped(pytree.tree_leaves((args, kwargs)))
        given = pytree.tree_map_only(Tensor, lambda t: without_set(t, device), (args, dict(kwargs or {})))
        return cls(reader, live, given, batch_dims)

    @in_full_precision
    def graph(
        self,
        registry: Registry,
        inputs: Sequence[Any] | None = None,
        executed: bool = False,
        report: Report | None = None,
    ) -> Graph:
        """The graph for the model's structure as it is now and for the inputs' dtypes and device.

        Args:
            registry: What the model is captured for.
            inputs: Flat inputs; None: the example. A model without a batch dimension is captured anew for other shapes.
            executed: Whether bounds are to hold for the model as it is executed.
            report: Is told how far a capture is.

        Raises:
            CaptureError: If the model cannot be captured as one graph.
        """
        dtype = device = None
        example = self._leaves
        for x in example if inputs is None else inputs:
            if isinstance(x, Tensor):
                x = without_set(x)  # an attribute of a tensor of another class takes many times as long
                device = device or x.device
                if x.is_floating_point():
                    dtype = x.dtype
                    break
        like = self.example
        shapes = None
        if self.batch_dims is None:  # no dimension runs over examples, so every other shape is another model
            shapes = _shapes(example if inputs is None else inputs)
            if inputs is not None and shapes != _shapes(example):
                like = self.unflatten([without_set(x) if isinstance(x, Tensor) else x for x in inputs])
        known = self._graphs.setdefault((dtype, device, shapes, executed), [])
        if len(self._graphs) > _KINDS:  # the oldest goes, lest every new shape stay for good
            gone = [graph for _, graph in self._graphs.pop(next(iter(self._graphs)))]
            self._binders = {
                k: held for k, held in self._binders.items() if not any(held[0] is g for g in gone)
            }
        for fingerprint, graph in reversed(known):
            if fingerprint.holds():
                return graph
        args, kwargs = pytree.tree_map_only(
            Tensor, lambda t: t.to(device=device, dtype=dtype if t.is_floating_point() else t.dtype), like
        )
        module = self.live.module
        refuse_sharded(module)
        before = Fingerprint.of(module)
        rules = RegistryAsExecuted(registry) if executed else registry
        live = self.live if report is None else dataclasses.replace(self.live, monitor=Monitor(report))
        graph = self.reader.graph(live, args, kwargs, rules, self.batch_dims)
        if executed:
            graph = dataclasses.replace(graph, executed=True)
        if len(known) >= _KEPT:
            _, old = known.pop(0)
            self._with_state.pop(id(old), None)
            self._binders = {key: held for key, held in self._binders.items() if held[0] is not old}
        found = Fingerprint.of(module, graph.constants.values(), before, graph.specialized)
        known.append((found, graph))
        return graph

    @in_full_precision
    def bind(
        self,
        graph: Graph,
        registry: Registry,
        inputs: Sequence[Any],
        wanted: frozenset[str],
        batch_state: BatchState | None = None,
        outward: bool = False,
    ) -> Problem:
        """The bound problem of these inputs and the model's current parameters.

        Args:
            graph: The model's graph for these inputs.
            registry: Rules to use.
            inputs: The inputs, flattened; the perturbed ones are `BoundedTensor`s.
            wanted: Names of the nodes whose bounds are wanted.
            batch_state: Of a model in training mode: the statistics and masks to hold; None: those of these inputs.
            outward: Whether bounds account for the rounding of their own computation.

        Raises:
            LirpaError: Of the class that fits: an input of a wrong shape, nothing perturbed, an operator without a rule.
        """
        self.refuse_autocast(inputs)
        if graph.executed and (batch_state is not None or self.takes_state(graph)):
            raise OptionError(
                'covers="float" is for models in evaluation mode: in training mode the statistics that a layer takes from the '
                "batch would be executed too. Call model.eval()."
            )
        if batch_state is None and self.takes_state(graph):
            args, kwargs = self.unflatten([without_set(v) if isinstance(v, Tensor) else v for v in inputs])
            batch = batch_size(inputs, graph.input_batch_dims, graph.inputs)
            self.warn_of_training_mode()
            _, batch_state = clean_pass(self.live.module, args, kwargs, batch, update=False)
        buffers = None if batch_state is None else batch_state.leaves(graph)
        known = self._binders.get((id(graph), id(registry)))
        if known is None:  # graph and registry are kept too, lest other objects get their ids
            binder = Binder(graph, self.live.module, registry, partial(_describe_missing, registry))
            known = self._binders[id(graph), id(registry)] = (graph, registry, binder)
        return known[2].bind(inputs, wanted, buffers, outward)

    def refuse_autocast(self, inputs: Sequence[Any]) -> None:
        """Check that no autocast region is open around the call.

        Raises:
            InputError: Naming the dtype of the region.
        """
        if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
            refuse_autocast(inputs)

    def takes_state(self, graph: Graph) -> bool:
        """Whether the model as it was when the graph was captured takes statistics or masks from the batch."""
        if id(graph) not in self._with_state:
            self._with_state[id(graph)] = needs_state(self.live.module)
        return self._with_state[id(graph)]

    def is_certain(self, graph: Graph) -> bool:
        """Whether all that the graph takes for granted is compared at every call; see `Fingerprint.uncertain`."""
        return not any([f.uncertain for known in self._graphs.values() for f, g in known if g is graph])

    def warn_of_training_mode(self) -> None:
        """Say once which layers take the batch's statistics or masks, to a user who may have forgotten `eval()`.

        A batch's statistics are computed from the clean inputs, of one example often, and bounds under them are those
        of another function than the one that the model computes when it is used.
        """
        if self._warned:
            return
        self._warned = True
        named = [
            f"'{p or '<model>'}' ({type(m).__name__})"
            for p, m in self.live.module.named_modules()
            if fixable(m)
        ]
        listed = ", ".join(named[:_LISTED]) + (f" and {len(named) - _LISTED} more" if named[_LISTED:] else "")
        warnings.warn(
            f"in training mode: {listed}. The bounds are those of the model with the statistics and masks that this batch "
            "of clean inputs gives, and may be very wide. Call model.eval() for bounds of the model in use; where "
            "training mode is meant, pass batch_state (see BoundedModule.clean_pass), and nothing is said.",
            TrainingModeWarning,
            stacklevel=outside(),
        )

    def flatten(self, x: Any, kwargs: Mapping[str, Any] | None) -> list[Any]:
        """Inputs as a flat list.

        Raises:
            InputError: They are nested in another way than the example.
        """
        if x is None and not kwargs:
            raise InputError(
                "compute_bounds needs its inputs: compute_bounds(x=(my_input,), ...), or a call model(my_input) before "
                "it, whose inputs are then bounded."
            )
        args = () if x is None else tuple(x) if isinstance(x, (tuple, list)) else (x,)
        inputs, spec = pytree.tree_flatten((args, dict(kwargs or {})))
        refuse_mapped(inputs)
        if spec != self._spec:
            raise InputError(
                f"the inputs have the structure {spec}; the model was captured with {self._spec}."
            )
        return [x.plain() if isinstance(x, BoundedTensor) and not x.has_set else x for x in inputs]

    def unflatten(self, inputs: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """A flat list as positional and keyword inputs."""
        nested: tuple[tuple[Any, ...], dict[str, Any]] = pytree.tree_unflatten(list(inputs), self._spec)
        return nested

    def __getstate__(self) -> dict[str, Any]:
        # Graphs are captured anew when first needed: they refer to operators of this process.
        found = {**self.__dict__, "_graphs": {}, "_binders": {}, "_with_state": {}}
        del found["_leaves"], found["_spec"]
        return found

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()


def _shapes(inputs: Sequence[Any]) -> tuple[tuple[int, ...] | None, ...]:
    return tuple([tuple(x.shape) if isinstance(x, Tensor) else None for x in inputs])


def outside() -> int:
    """The level of the first caller outside of this package, for warnings."""
    frame, level = inspect.currentframe(), 0
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "lirpa_core":
        frame, level = frame.f_back, level + 1
    return max(1, level - 1)


def _reader_of(source: object, registry: Registry) -> Reader:
    for entry in registry.readers:
        if entry.reader.accepts(source):
            return entry.reader
    listed = "; ".join(f"{e.reader.name}: {e.reader.summary}" for e in registry.readers)
    given = (
        f"{source!r}"
        if isinstance(source, str | PurePath)
        else f"a {type(source).__module__}.{type(source).__qualname__}"
    )
    raise CaptureError(f"no reader reads {given}.{_advice(source)} The readers are: {listed}.")


def _advice(source: object) -> str:
    """What to give in the place of something that is no model, where that can be told."""
    if isinstance(source, type):
        return f" Give an instance: {source.__name__}(...)."
    if isinstance(source, Mapping) and any(isinstance(value, Tensor) for value in source.values()):
        return " A state dict has weights and no forward(): make the module, call load_state_dict(...), and give that."
    if isinstance(source, Sequence) and any(callable(part) for part in source):
        return " Join modules to one with torch.nn.Sequential(*modules)."
    return ""


def _describe_missing(registry: Registry, node: Any, shapes: Sequence[Any]) -> str:
    return unsupported_message(node, registry, shapes=shapes)


def without_set(x: Tensor, device: torch.device | str | None = None) -> Tensor:
    """A tensor without its perturbation, on a device."""
    plain = x if type(x) is Tensor else x.as_subclass(Tensor)  # a sparse tensor is nothing else
    return plain if device is None else plain.to(device)
