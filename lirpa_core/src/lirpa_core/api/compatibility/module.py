"""Members of `BoundedModule` that programs for auto_LiRPA use."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lirpa_core.api.compatibility.calls import without_init_keywords
from lirpa_core.api.compatibility.nodes import NodeView
from lirpa_core.api.results import BoundsResult, NodeBounds
from lirpa_core.errors import OptionError
from lirpa_core.graph import Graph

_VERIFY = "lirpa_verify splits and proves"

#: Members that are not there, and what does their work.
_MISSING: Mapping[str, str] = {
    "get_split_nodes": _VERIFY,
    "get_enabled_opt_act": "lirpa_core.functional binds a problem, whose calls are its operators",
    "get_splittable_activations": _VERIFY,
    "add_nodes": "the graph is captured and does not change; bound a module that has the nodes",
    "add_input_node": "the graph is captured and does not change; give the model another input",
    "rename_nodes": "the graph is captured and does not change",
    "delete_node": "the graph is captured and does not change",
    "replace_node": "the graph is captured and does not change",
    "augment_gradient_graph": "lirpa_core.jacobian bounds derivatives, and so does a module that differentiates in forward",
    "get_property": "graph and nodes() describe the captured model",
    "backward_general": "lirpa_core.functional.backward takes rows over any node",
    "forward_general": "lirpa_core.functional.forward carries affine functions forward",
    "IBP_general": "lirpa_core.functional.intervals propagates intervals",
    "concretize": "lirpa_core.functional.concretize minimises affine forms over the sets",
    "get_degrees": "graph.nodes are in topological order",
    "ibp_intermediate": "compute_bounds(method='IBP').intermediate has them",
    "init_forward": "a call depends on nothing that was called before",
    "dynamic_forward": "method='forward' carries all inputs",
}


class ReferenceMembers(nn.Module):
    """Names of auto_LiRPA's `BoundedModule`, in terms of the captured graph and the last result."""

    @property
    @abstractmethod
    def graph(self) -> Graph:
        """The captured graph of the model in its current mode."""

    @abstractmethod
    def _last_bounds(self) -> NodeBounds | None:
        """Bounds of the inner nodes of the last computation."""

    @abstractmethod
    def compute_bounds(self, x: Any = None, **asked: Any) -> BoundsResult:
        """Guaranteed bounds of the output over the perturbation sets of the inputs."""

    @abstractmethod
    def save_intermediate(self, save_path: str | Path | None = None) -> dict[str, tuple[Tensor, Tensor]]:
        """Bounds of all inner nodes of the last `compute_bounds`, by node name."""

    def init_alpha(
        self,
        x: Any = None,
        *,
        method: str = "backward",
        c: Tensor | None = None,
        bound_lower: bool = True,
        bound_upper: bool = True,
        interm_bounds: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> tuple[Any, Any, dict[str, tuple[Tensor, Tensor]]]:
        """Bounds with the slopes from which CROWN-Optimized starts, and the bounds of the inner nodes.

        CROWN-Optimized needs no such call: it finds its first slopes by itself. The inner bounds can be
        given to `compute_bounds(..., interm_bounds=...)`, which then does not compute them again.

        Args:
            x: As for `compute_bounds`.
            method: As for `compute_bounds`.
            c: The specification matrix `[B, K, out]`.
            bound_lower: Whether lower bounds are wanted.
            bound_upper: Whether upper bounds are wanted.
            interm_bounds: As for `compute_bounds`.
            others: Further keywords of auto_LiRPA, as for `compute_bounds`.

        Returns:
            Lower bounds, upper bounds, and `{node name: (lower, upper)}`.
        """
        found = self.compute_bounds(
            x,
            C=c,
            method=method,
            bound_lower=bound_lower,
            bound_upper=bound_upper,
            interm_bounds=interm_bounds,
            **without_init_keywords(others),
        )
        return found.lower, found.upper, self.save_intermediate()

    @property
    def final_name(self) -> str:
        """Name of the last output."""
        return [name for name in self.graph.outputs if name is not None][-1]

    @property
    def root_names(self) -> list[str]:
        """Names of inputs, parameters, buffers and constants."""
        return [view.name for view in self.nodes() if view.is_input]

    def nodes(self) -> list[NodeView]:
        """All nodes of the captured graph, each after those that it reads."""
        return list(self._views())

    def roots(self) -> list[NodeView]:
        """Inputs, parameters, buffers and constants."""
        return [view for view in self._views() if view.is_input]

    def final_node(self) -> NodeView:
        """The last output."""
        return self[self.final_name]

    def _views(self) -> Iterator[NodeView]:
        graph = self.graph
        return (NodeView(graph, node, self._last_bounds) for node in graph.nodes)

    def __getitem__(self, name: str) -> NodeView:
        """A node by its name, or by the path of the module that ends in it.

        Raises:
            OptionError: Listing what there is.
        """
        graph = self.graph
        node = graph.find(name)
        if node is None:
            raise OptionError(
                f"the model has no node or module {name!r}; there are nodes {list(graph.by_name)} and modules "
                f"{list(graph.by_module)}. Names are those of this graph, and not those of an ONNX trace."
            )
        return NodeView(graph, node, self._last_bounds)

    def __iter__(self) -> Iterator[NodeView]:
        raise TypeError("a BoundedModule is not iterable; nodes() lists its nodes.")

    def __getattr__(self, name: str) -> Any:
        if name in _MISSING:
            raise AttributeError(f"BoundedModule has no {name!r}: {_MISSING[name]}.")
        return super().__getattr__(name)
