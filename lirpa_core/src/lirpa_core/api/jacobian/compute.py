"""From a wrapped model and a set to bounds of the derivative over the set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from torch import Tensor

from lirpa_core.api.jacobian.bounds import JacobianBounds
from lirpa_core.api.jacobian.module import JacobianOf
from lirpa_core.api.options import BoundOptions
from lirpa_core.api.results import BoundsResult
from lirpa_core.capture.captured_model import CapturedModel, without_set
from lirpa_core.capture.registry_of_values import RegistryOfValues
from lirpa_core.errors import InputError, TrainingModeError
from lirpa_core.graph import Graph
from lirpa_core.methods.base import Method
from lirpa_core.plugins import Registry

#: Derivatives kept for a model.
_KEPT = 8


class Differentiable(Protocol):
    """What is asked of a `BoundedModule` here, whose method calls this module."""

    _lirpa_captured: CapturedModel
    _lirpa_options: BoundOptions
    _lirpa_plain_registry: Registry
    _lirpa_registry: Registry

    def compute_bounds(
        self, x: Any = None, *, method: str | Method | None = "backward", **asked: Any
    ) -> BoundsResult:
        """Guaranteed bounds of the output over the perturbation sets of the inputs."""


#: Makes a `BoundedModule` of a module, an example and keywords.
Wrap: TypeAlias = Callable[..., Differentiable]


@dataclass(eq=False)
class Derivatives:
    """The derivatives of one model that were captured so far.

    Attributes:
        model: The model.
        values: The model as a graph of operators that PyTorch can differentiate.
        wrap: Makes a `BoundedModule`.
    """

    model: Differentiable
    values: CapturedModel
    wrap: Wrap
    _known: dict[tuple[int, int, int], tuple[Graph, Differentiable]] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Differentiable, wrap: Wrap) -> Derivatives:
        """Those of a model, kept with it."""
        known = model.__dict__.get("_lirpa_jacobian")
        if known is None:
            captured = model._lirpa_captured
            values = CapturedModel(captured.reader, captured.live, captured.example, captured.batch_dims)
            known = model.__dict__["_lirpa_jacobian"] = cls(model, values, wrap)
        found: Derivatives = known
        return found

    def graph(self, inputs: Sequence[Any]) -> Graph:
        """The model's graph for these inputs."""
        rules: Any = RegistryOfValues(self.model._lirpa_registry)
        return self.values.graph(rules, inputs)

    def derivative(self, graph: Graph, inputs: Sequence[Any], wrt: int, output: int) -> Differentiable:
        """The derivative of an output with respect to an input, with the options that the model has now."""
        key = id(graph), wrt, output
        if key not in self._known:
            plain = tuple([without_set(v) if isinstance(v, Tensor) else v for v in inputs])
            module = JacobianOf(self.values.live.module, graph, wrt, output)
            bounded = self.wrap(
                module, plain, registry=self.model._lirpa_plain_registry, batch_dims=graph.input_batch_dims
            )
            if len(self._known) >= _KEPT:
                self._known.pop(next(iter(self._known)))
            self._known[key] = graph, bounded
        found = self._known[key][1]
        found._lirpa_options, found._lirpa_registry = self.model._lirpa_options, self.model._lirpa_registry
        return found


def derivative_bounds(
    wrap: Wrap,
    model: Differentiable,
    x: Any,
    *,
    method: str | Method,
    kwargs: Mapping[str, Any] | None = None,
    wrt: int = 0,
    output: int = 0,
    **bounding: Any,
) -> JacobianBounds:
    """Bounds of the derivative of a model that is wrapped already.

    Args:
        wrap: The class `BoundedModule`, which this module cannot import, because a method of it ends here.
        model: The model.
        x: As for `lirpa_core.jacobian`, and so are all others.
        method: Likewise.
        kwargs: Likewise.
        wrt: Likewise.
        output: Likewise.
        bounding: Likewise.
    """
    derivatives = Derivatives.of(model, wrap)
    values = derivatives.values
    inputs = values.flatten(x, kwargs)
    graph = derivatives.graph(inputs)
    _check(graph, values, inputs, wrt, output)
    bounded = derivatives.derivative(graph, inputs, wrt, output)
    found = bounded.compute_bounds(x=tuple(inputs), method=method, **bounding)
    name = graph.outputs[output]
    assert name is not None
    problem = values.bind(graph, model._lirpa_registry, inputs, frozenset([name]))
    return JacobianBounds(found.lower, found.upper, found, problem)


def _check(graph: Graph, values: CapturedModel, inputs: Sequence[Any], wrt: int, output: int) -> None:
    count = len(graph.outputs)
    if not 0 <= output < count or graph.outputs[output] is None:
        raise InputError(
            f"output={output}: the model has {count} outputs, of which tensors have derivatives."
        )
    x = inputs[wrt] if 0 <= wrt < len(inputs) else None
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise InputError(
            f"wrt={wrt}: the model has {len(inputs)} inputs, of which those of numbers that are not whole have derivatives."
        )
    if graph.input_batch_dims[wrt] is None or graph.output_batch_dims[output] is None:
        raise InputError(
            "the derivative is taken example by example, and this input or output has no batch dimension. Give the model "
            "an input [1, ...] and let it return an output [1, ...]."
        )
    if values.takes_state(graph):
        raise TrainingModeError(
            "the derivative of a model that takes statistics or masks from its batch is not bounded. Call model.eval() first."
        )
