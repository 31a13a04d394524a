"""`model.nodes()`, `model["name"]` and bounds that stay on the nodes, as programs for auto_LiRPA read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from lirpa_core.api.results import NodeBounds
from lirpa_core.errors import InputError
from lirpa_core.graph import Graph, Node, NodeKind
from lirpa_core.linear.interval import Interval

#: The bounds of the last computation, or None.
LastBounds = Callable[[], NodeBounds | None]


@dataclass(frozen=True, eq=False)
class NodeView:
    """A node of the captured graph, with the bounds that the last `compute_bounds` found for it.

    Attributes:
        graph: The graph.
        node: The node.
        last: Looks up the bounds of the last computation.
    """

    graph: Graph
    node: Node
    last: LastBounds

    @property
    def name(self) -> str:
        """Its name in the graph."""
        return self.node.name

    @property
    def inputs(self) -> list[NodeView]:
        """The nodes that it reads."""
        return [NodeView(self.graph, self.graph[name], self.last) for name in self.node.inputs]

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of its value for one example."""
        return self.node.shape

    @property
    def is_input(self) -> bool:
        """Whether it is an input, a parameter, a buffer or a constant."""
        return self.node.kind is not NodeKind.OPERATOR

    @property
    def interval(self) -> tuple[Tensor, Tensor]:
        """Lower and upper bounds.

        Raises:
            InputError: If nothing has been computed yet, or no perturbation reached the node.
        """
        found = self._interval()
        return found.lower, found.upper

    @property
    def lower(self) -> Tensor:
        """Lower bounds `[B, *S]`; raises as `interval` does."""
        return self._interval().lower

    @property
    def upper(self) -> Tensor:
        """Upper bounds `[B, *S]`; raises as `interval` does."""
        return self._interval().upper

    def is_lower_bound_current(self) -> bool:
        """Whether the last computation bounded the node."""
        return self.name in (self.last() or {})

    is_upper_bound_current = is_lower_bound_current

    def _interval(self) -> Interval:
        bounds: Mapping[str, Interval] | None = self.last()
        if bounds is None:
            raise InputError(f"node {self.name!r} has no bounds yet: call compute_bounds first.")
        if self.name not in bounds:
            raise InputError(
                f"node {self.name!r} has no bounds: no perturbation reaches it, or its bounds were not "
                "needed; is_lower_bound_current() says so."
            )
        return bounds[self.name]

    def __repr__(self) -> str:
        what = self.node.target or self.node.kind.value
        return f"NodeView({self.name!r}, {what}, shape {list(self.node.shape)})"
