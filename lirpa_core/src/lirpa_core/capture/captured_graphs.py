"""The graphs of one model: captured when first needed, and again when its structure, dtype or device changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree  # the public torch.utils.pytree is not in all supported versions

from lirpa_core.capture.capture import capture, refuse_containers
from lirpa_core.capture.export import has_fixed_batch
from lirpa_core.capture.fingerprint import structure_of
from lirpa_core.errors import InputError
from lirpa_core.graph import Graph
from lirpa_core.plugins import Registry


@dataclass(eq=False)
class Captures:
    """The captured graphs of a model, and the form of inputs that they were captured with.

    Attributes:
        model: The model.
        example: Positional and keyword inputs, plain tensors.
        batch_dims: See `BoundedModule`.
        fixed_batch: Whether the model runs on the example's number of examples only.
        exported: Whether the model is an exported program.
    """

    model: nn.Module
    example: tuple[tuple[Any, ...], dict[str, Any]]
    batch_dims: Sequence[int | None] | str | None
    fixed_batch: bool
    exported: bool
    _graphs: dict[object, Graph] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        model: nn.Module | ExportedProgram,
        example: Any,
        kwargs: Mapping[str, Any] | None,
        batch_dims: Sequence[int | None] | str | None,
        device: torch.device | str | None,
    ) -> Captures:
        """What `BoundedModule` is given, on the device that it is to be on; nothing is captured yet.

        Raises:
            InputError: The example holds containers that fall apart into several tensors.
        """
        exported = isinstance(model, ExportedProgram)
        plain = model.module() if isinstance(model, ExportedProgram) else model
        if device is not None:
            plain = plain.to(device)
        refuse_containers((example, *(kwargs or {}).values()))
        args = tuple(example) if isinstance(example, (tuple, list)) else (example,)
        refuse_containers(args)
        given = pytree.tree_map_only(Tensor, lambda t: without_set(t, device), (args, dict(kwargs or {})))
        fixed = isinstance(model, ExportedProgram) and has_fixed_batch(model)
        return cls(plain, given, batch_dims, fixed, exported)

    @property
    def structure(self) -> Any:
        """How inputs are nested."""
        return pytree.tree_structure(self.example)

    def graph(self, registry: Registry, inputs: Sequence[Any] | None = None) -> Graph:
        """The graph for the model's structure as it is now and for the inputs' dtypes and device.

        Args:
            registry: What the model is captured for.
            inputs: Flat inputs; None: the example.

        Raises:
            CaptureError: If the model cannot be captured as one graph.
        """
        inputs = pytree.tree_leaves(self.example) if inputs is None else inputs
        tensors = [x for x in inputs if isinstance(x, Tensor)]
        floats = [x for x in tensors if x.is_floating_point()]
        dtype = floats[0].dtype if floats else None
        device = tensors[0].device if tensors else None
        key = (structure_of(self.model), dtype, device)
        if key not in self._graphs:
            args, kwargs = pytree.tree_map_only(
                Tensor,
                lambda t: t.to(device=device, dtype=dtype if t.is_floating_point() else t.dtype),
                self.example,
            )
            self._graphs[key] = capture(
                self.model,
                args,
                kwargs,
                registry=registry,
                batch_dims=self.batch_dims,
                fixed_batch=self.fixed_batch,
            )
        return self._graphs[key]

    def flatten(self, x: Any, kwargs: Mapping[str, Any] | None) -> list[Any]:
        """Inputs as a flat list.

        Raises:
            InputError: They are nested in another way than the example.
        """
        if x is None and not kwargs:
            raise InputError("compute_bounds needs its inputs: compute_bounds(x=(my_input,), ...).")
        args = () if x is None else tuple(x) if isinstance(x, (tuple, list)) else (x,)
        inputs, spec = pytree.tree_flatten((args, dict(kwargs or {})))
        if spec != self.structure:
            raise InputError(
                f"the inputs have the structure {spec}; the model was captured with {self.structure}."
            )
        return inputs

    def unflatten(self, inputs: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """A flat list as positional and keyword inputs."""
        nested: tuple[tuple[Any, ...], dict[str, Any]] = pytree.tree_unflatten(list(inputs), self.structure)
        return nested

    def __getstate__(self) -> dict[str, Any]:
        # Graphs are captured anew when first needed: they refer to operators of this process.
        return {**self.__dict__, "_graphs": {}}


def without_set(x: Tensor, device: torch.device | str | None = None) -> Tensor:
    """A tensor without its perturbation, on a device."""
    plain = x.as_subclass(Tensor)
    return plain if device is None else plain.to(device)
