"""A module that shares a model's parameters and lives as the model does, with the graph that is captured of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils import _pytree as pytree  # the public torch.utils.pytree is not in all supported versions

from lirpa_core.api.bound_call import Occasions
from lirpa_core.api.compatibility.calls import constructor_keywords
from lirpa_core.api.compatibility.module import ReferenceMembers
from lirpa_core.api.options import BoundOptions
from lirpa_core.api.results import BoundsResult, NodeBounds
from lirpa_core.api.rule_variants import with_options
from lirpa_core.capture.batch_state import BatchState, clean_pass, holding
from lirpa_core.capture.captured_model import CapturedModel, without_set
from lirpa_core.capture.inputs import AUTO
from lirpa_core.errors import InputError, OptionError
from lirpa_core.graph import Graph
from lirpa_core.plugins import Registry, default_registry
from lirpa_core.problem.batching import batch_size


class WrappedModule(ReferenceMembers):
    """What `BoundedModule` is besides its bounds: the model's parameters, mode and calls, its graph, and options.

    It takes the arguments of `BoundedModule`, which describes them.
    """

    def __init__(
        self,
        model: object,
        example: Any = None,
        bound_opts: Mapping[str, Any] | None = None,
        device: torch.device | str | None = None,
        registry: Registry | None = None,
        *,
        kwargs: Mapping[str, Any] | None = None,
        batch_dims: Sequence[int | None] | str | None = AUTO,
        **others: Any,
    ) -> None:
        super().__init__()
        if others:
            example = constructor_keywords(others, example)
        if example is None:
            if not kwargs:
                raise InputError("BoundedModule needs an example input: BoundedModule(model, example).")
            example = ()
        self._lirpa_options = BoundOptions().updated(bound_opts)
        self._lirpa_plain_registry = registry or default_registry()
        self._lirpa_registry = with_options(self._lirpa_plain_registry, self._lirpa_options)
        self._lirpa_captured = CapturedModel.of(
            model, example, kwargs, batch_dims, device, self._lirpa_registry
        )
        original = self._lirpa_captured.live.module
        # The dictionaries themselves are shared, so that names in state_dict() stay the original's.
        self._parameters, self._buffers = original._parameters, original._buffers
        self._modules = original._modules
        self._non_persistent_buffers_set = original._non_persistent_buffers_set
        self.training = original.training
        self._lirpa_last: BoundsResult | None = None
        self._lirpa_called: tuple[Any, Mapping[str, Any] | None] | None = None  # inputs of the last call
        self._lirpa_watching = Occasions()  # computations of methods that cost little more than the model
        self._lirpa_rounding = Occasions()  # computations that may have been looked at for rounding
        self._lirpa_captured.graph(
            self._lirpa_registry,
            executed=self._lirpa_options.covers == "float",
            report=self._lirpa_options.progress,
        )

    # ------------------------------------------------------------------ the module's ordinary life

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the original model; `BoundedTensor`s act as the tensors they are.

        The inputs are kept until the next call, so that `compute_bounds()` without inputs bounds what was called last.

        Args:
            *args: Positional inputs.
            **kwargs: Keyword inputs. `method_opt="compute_bounds"` calls `compute_bounds` with all others, as wrappers
                that can only call a module need it.
        """
        option = kwargs.pop("method_opt", "forward")
        if option != "forward":
            return self._called_by(option, args, kwargs)
        if not torch.compiler.is_compiling():
            self.__dict__["_lirpa_called"] = args, kwargs
        args, kwargs = pytree.tree_map_only(Tensor, without_set, (args, kwargs))
        return self._lirpa_captured.live.module(*args, **kwargs)

    def _called_by(self, option: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if option != "compute_bounds":
            raise OptionError(f"method_opt={option!r}: expected 'forward' or 'compute_bounds'.")
        return self.compute_bounds(*args, **kwargs)

    def train(self, mode: bool = True) -> Self:
        """Set the original model's mode; bounds then are those of the model in that mode."""
        if (
            self._lirpa_captured.live.fixed_mode
        ):  # torch leaves an exported program in the mode it was exported in
            if mode:
                raise OptionError(
                    "an exported program cannot be put in training mode; give the nn.Module instead."
                )
            return self
        self._lirpa_captured.live.module.train(mode)
        self.training = self._lirpa_captured.live.module.training
        return self

    def set_bound_opts(self, new_opts: Mapping[str, Any]) -> None:
        """Change options by name; all others stay as they are.

        Args:
            new_opts: Names and values, see `BoundOptions`. None is the value of an option that is off or open:
                `set_bound_opts({"progress": None})` tells nobody any more.

        Raises:
            OptionError: For an unknown name or a wrong value.
        """
        self._lirpa_options = self._lirpa_options.updated(new_opts)
        self._lirpa_registry = with_options(self._lirpa_plain_registry, self._lirpa_options)

    # ------------------------------------------------------------------ the graph

    @property
    def graph(self) -> Graph:
        """The captured graph of the model in its current mode."""
        executed = self._lirpa_options.covers == "float"
        return self._lirpa_captured.graph(self._lirpa_registry, executed=executed)

    @property
    def input_name(self) -> list[str]:
        """Names of the inputs, as `needed_A_dict` takes them."""
        return list(self.graph.inputs)

    @property
    def output_name(self) -> list[str]:
        """Names of the outputs, as `needed_A_dict` takes them."""
        return [name for name in self.graph.outputs if name is not None]

    # ------------------------------------------------------------------ training mode

    def clean_pass(self, *args: Any, update: bool = True, **kwargs: Any) -> tuple[Any, BatchState]:
        """Run the model, and note the batch's statistics and masks that it used in training mode.

        Args:
            *args: Positional inputs.
            update: Whether running statistics are updated, as in any pass in training mode.
            **kwargs: Keyword inputs.

        Returns:
            The output, and what to give to `compute_bounds` and `holding` so that they are about the same
            function. In evaluation mode the state is empty.
        """
        args, kwargs = pytree.tree_map_only(Tensor, without_set, (args, kwargs))
        inputs = pytree.tree_leaves((args, kwargs))
        graph = self._lirpa_captured.graph(self._lirpa_registry, inputs)
        batch = batch_size(inputs, graph.input_batch_dims, graph.inputs)
        return clean_pass(self._lirpa_captured.live.module, args, kwargs, batch, update=update)

    def holding(self, state: BatchState) -> AbstractContextManager[None]:
        """A context in which the model uses the statistics and masks of `state`, for attacks on it."""
        return holding(self._lirpa_captured.live.module, state)

    def _last_bounds(self) -> NodeBounds | None:
        return None if self._lirpa_last is None else self._lirpa_last.intermediate

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.__dict__.items() if name != "_lirpa_jacobian"}
        told = dataclasses.replace(self._lirpa_options, progress=None)  # a function of this process
        return {
            **kept,
            "_lirpa_last": None, "_lirpa_called": None, "_lirpa_registry": None, "_lirpa_options": told,
        }  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._lirpa_registry = with_options(self._lirpa_plain_registry, self._lirpa_options)
