"""Which nodes a call bounds, and how their bounds are laid out for the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor
from torch.utils import _pytree as pytree  # the public torch.utils.pytree is not in all supported versions

from lirpa_core.errors import OptionError
from lirpa_core.graph import Graph
from lirpa_core.linear.coefficients import Coefficients
from lirpa_core.methods.base import RowBounds
from lirpa_core.problem.batching import from_batch_first
from lirpa_core.problem.problem import Problem

#: What a user may name: the number of an output, or a node or module path; None: every output.
OutputKey: TypeAlias = int | str | None


@dataclass(frozen=True)
class OutputNode:
    """A node to be bounded.

    Attributes:
        name: Node name.
        batch_dim: The dimension of its value that runs over examples; None: shared by all.
    """

    name: str
    batch_dim: int | None

    def lay_out(
        self, problem: Problem, bounds: RowBounds, *, specified: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """Bounds `[R, B]` as `[B, K]` where a specification matrix was given, else as the model's value."""
        sides: list[Tensor | None] = []
        for side in (bounds.lower, bounds.upper):
            if side is None or specified:
                sides.append(None if side is None else side.T)
            else:
                sides.append(self.as_value(side.T.reshape(side.shape[1], *problem.shape(self.name))))
        return sides[0], sides[1]

    def constant(self, problem: Problem, rows: Coefficients | None) -> Tensor:
        """The value of a node that no perturbation reaches, in the layout of its bounds."""
        const = problem.constants[self.name]
        value = const.value if const.batched else const.value.unsqueeze(0)
        if rows is not None:
            return rows.dot(value).expand(-1, problem.batch).T
        return self.as_value(value.expand(problem.batch, *value.shape[1:]))

    def as_value(self, value: Tensor) -> Tensor:
        """A value `[B, *S]` in the layout of the model's."""
        number = self.batch_dim is not None and value.dim() == 1  # an inner number has nowhere to fold B
        return value if number else from_batch_first(value, self.batch_dim)


def output_nodes(graph: Graph, output: OutputKey, C: Tensor | None) -> dict[int, OutputNode]:
    """The nodes to bound, by number of the output; an inner node has number 0.

    Raises:
        OptionError: If there is no such output, or `C` is given for several.
    """
    tensors = {
        i: OutputNode(name, dim)
        for i, (name, dim) in enumerate(zip(graph.outputs, graph.output_batch_dims, strict=True))
        if name is not None
    }
    if isinstance(output, str):
        return {0: _by_name(graph, output, tensors)}
    if output is not None:
        if output not in tensors:
            raise OptionError(f"output={output}: the model's tensor outputs are numbered {list(tensors)}.")
        return {output: tensors[output]}
    if C is not None and len(tensors) > 1:
        raise OptionError(f"C with a model of {len(tensors)} outputs: say which one with output=...")
    return tensors


def _by_name(graph: Graph, name: str, outputs: Mapping[int, OutputNode]) -> OutputNode:
    node = graph.find(name)
    if node is None:
        raise OptionError(
            f"output={name!r}: the model has no such node or module; there are nodes "
            f"{[n.name for n in graph.nodes]} and modules {list(graph.by_module)}."
        )
    return next((t for t in outputs.values() if t.name == node.name), OutputNode(node.name, batch_dim=0))


def structured(values: Mapping[int, Any], graph: Graph, output: OutputKey) -> Any:
    """One value alone, or the values in the structure of the model's output."""
    if output is not None or len(graph.outputs) == 1:
        (value,) = values.values()
        return value
    return pytree.tree_unflatten([values.get(i) for i in range(len(graph.outputs))], graph.output_spec)
