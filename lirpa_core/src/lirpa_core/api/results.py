"""What `compute_bounds` returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lirpa_core.api.explanation import Explanation, explain, missing_problem
from lirpa_core.api.rounding import Moved, Rounding
from lirpa_core.errors import InputError
from lirpa_core.graph import Graph, Shape
from lirpa_core.linear.interval import Interval
from lirpa_core.problem.problem import Problem


class NodeBounds(Mapping[str, Interval]):
    """Bounds of inner nodes, by node name or by the path of the module that ends in the node.

    They are `[B, *S]` with `S` the shape for one example, a leading batch dimension of one left out.
    Elements that no relaxation could profit from keep the bounds of interval propagation.
    """

    def __init__(self, graph: Graph | _Names, intervals: Mapping[str, Interval]) -> None:
        self._graph = graph
        self._intervals = dict(intervals)

    def __getitem__(self, name: str) -> Interval:
        node = self._graph.by_module.get(name, name)
        if node not in self._intervals:
            modules = [path for path, end in self._graph.by_module.items() if end in self._intervals]
            raise KeyError(
                f"no bounds for {name!r}; there are nodes {list(self._intervals)} and modules {modules}"
            )
        interval = self._intervals[node]
        if self._graph.by_name[node].shape[:1] != (1,):
            return interval
        return Interval(interval.lower.squeeze(1), interval.upper.squeeze(1))

    def __iter__(self) -> Iterator[str]:
        return iter(self._intervals)

    def __len__(self) -> int:
        return len(self._intervals)

    @property
    def by_node(self) -> Mapping[str, Interval]:
        """Bounds `[B, *S]` by node name, with the leading dimension of every shape."""
        return self._intervals

    def __repr__(self) -> str:
        return f"<bounds of {len(self)} nodes: {', '.join(self)}>"

    def __getstate__(self) -> dict[str, Any]:
        # A graph refers to operators of this process; its names and shapes are what is read here.
        shapes = {name: _Shape(self._graph.by_name[name].shape) for name in self._intervals}
        return {"_graph": _Names(shapes, dict(self._graph.by_module)), "_intervals": self._intervals}


@dataclass(frozen=True)
class _Shape:
    shape: Shape


@dataclass(frozen=True)
class _Names:
    """What is left of a graph in a pickled result."""

    by_name: Mapping[str, _Shape]
    by_module: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class BoundsResult:
    """Bounds of a model's output; unpacks as `lb, ub`, or `lb, ub, A` where `A` was asked for.

    Attributes:
        lower: `[B, K]` with a specification matrix, else in the shape of the output; None where not
            asked for. Of a model with several outputs: the same structure as its output.
        upper: Likewise.
        A: `{output: {input: {"lA", "uA", "lbias", "ubias"}}}` with `lA` and `uA` `[B, K, *input]`
            and biases `[B, K]`; None where not asked for. `lower` may be tighter than what these
            linear bounds give, since it is intersected with interval bounds.
        intermediate: Bounds of the inner nodes, by name or by module path.
        method: Name of the method; with `"auto"`, of the one that was chosen.
        reason: Why that one was chosen; empty where nothing was to choose.
        assumed: Checks in the model that raise, as `if torch.isnan(x).any(): raise`, by file and line: the bounds are of what the
            model returns for inputs that pass them.
        problem: What was bounded, for `explain`; a pickled result has none.
    """

    lower: Any
    upper: Any
    A: Mapping[str, Mapping[str, Mapping[str, Any]]] | None
    intermediate: NodeBounds
    method: str = ""
    reason: str = ""
    assumed: tuple[str, ...] = ()
    problem: Problem | None = None
    _moved: Moved | None = None

    def __repr__(self) -> str:
        reason = f", reason={self.reason!r}" if self.reason else ""
        return f"BoundsResult(lower={self.lower}, upper={self.upper}, method={self.method!r}{reason})"

    def explain(self, output: int | str | None = None) -> Explanation:
        """Where the bounds are lost: a table by layer, and advice; `print` shows it.

        Args:
            output: Number of an output, or name of a node or path of a module; default: the first output that a
                perturbation reaches.

        Raises:
            InputError: If there is no such output, or the result was pickled and has lost its model.
        """
        if self.problem is None:
            raise missing_problem()
        graph, intervals = self.problem.graph, self.intermediate.by_node
        names = [name for name in graph.outputs if name is not None and name in self.problem.calls]
        if isinstance(output, str):
            node = graph.find(output)
            names = [node.name] if node is not None and node.name in self.problem.calls else []
        elif output is not None:
            numbered = graph.outputs[output] if 0 <= output < len(graph.outputs) else None
            names = [name for name in names if name == numbered]
        if not names or names[0] not in intervals:
            raise InputError(
                f"explain(output={output!r}): no perturbation reaches such a node, or it has no bounds; there are "
                f"{[name for name in self.problem.calls if name in intervals]}."
            )
        name = names[0]
        bounds = intervals[name]
        own = self.lower, self.upper
        if list(graph.outputs) == [name] and all(
            isinstance(x, Tensor) and x.numel() == bounds.lower.numel() for x in own
        ):
            bounds = Interval(*own)
        return explain(self.problem, intervals, name, self.method, float(bounds.width.detach().mean()))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "problem": None, "_moved": None}

    @cached_property
    def rounding(self) -> Rounding:
        """By how much rounding moved each bound, as `lower` and `upper` in the layout of the bounds.

        With `rounding="outward"`, how much looser the bounds are than what is computed without an account of rounding;
        with `"nearest"`, how wrong they may be. It is computed when it is first read, which takes as long as the bounds
        did, and before the model or the inputs change in place. A bound that moved by more than its width is said in
        a `RoundingWarning`.

        Raises:
            InputError: The model or the inputs have changed since, the result was pickled, or it comes from compiled code.
        """
        if self._moved is None:
            raise InputError(
                "by how much rounding moved the bounds is not known of a result that was pickled, or computed by compiled code."
            )
        self._moved.warn()
        return self._moved.rounding()

    def __iter__(self) -> Iterator[Any]:
        parts = (self.lower, self.upper) if self.A is None else (self.lower, self.upper, self.A)
        return iter(parts)

    def __getitem__(self, index: int) -> Any:
        return tuple(self)[index]

    def __len__(self) -> int:
        return 2 if self.A is None else 3


# What `torch.load` may make of a file, as of the tensors that are bounded: these classes hold tensors, numbers and names.
torch.serialization.add_safe_globals([BoundsResult, NodeBounds, Interval, _Names, _Shape])
