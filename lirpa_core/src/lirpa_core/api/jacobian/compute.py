"""`jacobian`: from a model and a set to bounds of the derivative over the set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree  # the public torch.utils.pytree is not in all supported versions

from lirpa_core.api.bounded_module import BoundedModule
from lirpa_core.api.jacobian.bounds import JacobianBounds
from lirpa_core.api.jacobian.module import JacobianOf
from lirpa_core.capture.captured_model import CapturedModel, without_set
from lirpa_core.capture.registry_of_values import RegistryOfValues
from lirpa_core.errors import InputError, TrainingModeError
from lirpa_core.graph import Graph
from lirpa_core.methods.base import Method

#: Derivatives kept for a model.
_KEPT = 8


@dataclass(eq=False)
class Derivatives:
    """The derivatives of one model that were captured so far.

    Attributes:
        model: The model.
        values: The model as a graph of operators that PyTorch can differentiate.
    """

    model: BoundedModule
    values: CapturedModel
    _known: dict[tuple[int, int, int], tuple[Graph, BoundedModule]] = field(default_factory=dict)

    @classmethod
    def of(cls, model: BoundedModule) -> Derivatives:
        """Those of a model, kept with it."""
        known = model.__dict__.get("_lirpa_jacobian")
        if known is None:
            captured = model._lirpa_captured
            values = CapturedModel(captured.reader, captured.live, captured.example, captured.batch_dims)
            known = model.__dict__["_lirpa_jacobian"] = cls(model, values)
        found: Derivatives = known
        return found

    def graph(self, inputs: Sequence[Any]) -> Graph:
        """The model's graph for these inputs."""
        rules: Any = RegistryOfValues(self.model._lirpa_registry)
        return self.values.graph(rules, inputs)

    def derivative(self, graph: Graph, inputs: Sequence[Any], wrt: int, output: int) -> BoundedModule:
        """The derivative of an output with respect to an input, with the options that the model has now."""
        key = id(graph), wrt, output
        if key not in self._known:
            plain = tuple([without_set(v) if isinstance(v, Tensor) else v for v in inputs])
            module = JacobianOf(self.values.live.module, graph, wrt, output)
            bounded = BoundedModule(
                module, plain, registry=self.model._lirpa_plain_registry, batch_dims=graph.input_batch_dims
            )
            if len(self._known) >= _KEPT:
                self._known.pop(next(iter(self._known)))
            self._known[key] = graph, bounded
        found = self._known[key][1]
        found._lirpa_options, found._lirpa_registry = self.model._lirpa_options, self.model._lirpa_registry
        return found


def jacobian(
    model: object,
    x: Any,
    *,
    method: str | Method = "CROWN",
    kwargs: Mapping[str, Any] | None = None,
    wrt: int = 0,
    output: int = 0,
    bound_opts: Mapping[str, Any] | None = None,
    **bounding: Any,
) -> JacobianBounds:
    """Bounds `[B, O, I]` of the derivative of a model's output with respect to an input, over the sets of the inputs.

    The derivative is that of the value that `forward` computes: what it hides from autograd, by `detach()`, `no_grad()` or a
    `torch.autograd.Function` with a gradient of its own, is differentiated too.

    Args:
        model: A `BoundedModule`, which keeps the derivative for the next call, or whatever it can be made of.
        x: The inputs, the perturbed ones as `BoundedTensor`; one input need not be a tuple.
        method: As for `compute_bounds`.
        kwargs: Keyword inputs.
        wrt: With respect to which input, counting positional ones and then keyword ones.
        output: Of which output.
        bound_opts: Options of a model that is not a `BoundedModule` yet.
        bounding: More keywords of `compute_bounds`.

    Raises:
        InputError: If there is no such input or output, or the model has no batch dimension.
        TrainingModeError: If the model takes statistics or masks from its batch.
        LirpaError: As `BoundedModule` and `compute_bounds`.

    Example:
        >>> import torch
        >>> from lirpa_core import BoundedTensor, PerturbationLpNorm
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
        >>> x = BoundedTensor(torch.zeros(4, 2), PerturbationLpNorm(eps=0.1))
        >>> found = jacobian(model, x)
        >>> found.lower.shape, found.lipschitz(2).shape
        (torch.Size([4, 3, 2]), torch.Size([4]))
    """
    if not isinstance(model, BoundedModule):
        example = x if isinstance(x, (tuple, list)) else (x,)
        plain, plain_kwargs = pytree.tree_map_only(Tensor, without_set, (tuple(example), dict(kwargs or {})))
        model = BoundedModule(model, plain, bound_opts, kwargs=plain_kwargs)
    derivatives = Derivatives.of(model)
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


__all__ = ["Derivatives", "jacobian"]
