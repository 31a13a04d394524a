"""The tripwire: the model's own value at a point of the set must lie inside of the bounds.

It proves nothing, but it is independent of everything that the bounds are made of: it notices a wrong rule, and a graph
that is no longer the model. What rounding alone may do is told from that by a second look, which only a suspicion costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor
from torch.utils import _pytree as pytree  # the public torch.utils.pytree is not in all supported versions

from lirpa_core.api.outputs import OutputKey, OutputNode
from lirpa_core.capture.captured_model import CapturedModel
from lirpa_core.capture.derivatives import run
from lirpa_core.devices import is_traced
from lirpa_core.errors import SoundnessError
from lirpa_core.graph import Graph, NodeKind
from lirpa_core.linear.interval import Interval
from lirpa_core.problem.batching import to_batch_first
from lirpa_core.problem.evaluation import evaluate
from lirpa_core.problem.postconditions import escapes, first_escape, has_jumps
from lirpa_core.problem.problem import Problem
from lirpa_core.rules.call import Const

#: When the model is asked: never, at the nominal point, or at extreme points of the set as well.
Tripwire: TypeAlias = bool | Literal["corners"]

#: Points of the set that `"corners"` tries, besides the nominal one.
_CORNERS = 8

#: Units of rounding beyond which a value is looked at again.
_SUSPICIOUS = 2**7

#: Where large numbers cancel on the way, a model may be so many times as far from exact arithmetic as its graph.
_NOISE = 16

#: Agreement of the model and its graph, relative to the output's size, as the replay after capture asks.
_AGREEMENT = {torch.float64: 1e-9, torch.float32: 1e-4}


@dataclass(frozen=True, eq=False)
class Watch:
    """What the tripwire compares.

    Attributes:
        captured: The model.
        graph: Its graph.
        problem: The problem that was bounded.
        inputs: The call's inputs, flattened, without their sets.
        intervals: Bounds of the inner nodes.
        nodes: What was bounded, by number of the output.
        found: The bounds, in the layout of the model's outputs, or `[B, K]` with `C`.
        C: The specification matrix.
    """

    captured: CapturedModel
    graph: Graph
    problem: Problem
    inputs: Sequence[Any]
    intervals: Mapping[str, Interval]
    nodes: Mapping[int, OutputNode]
    found: Mapping[int, tuple[Tensor | None, Tensor | None]]
    C: Tensor | None

    def check(self, points: Tripwire, output: OutputKey = None) -> None:
        """Run the model, and compare.

        Args:
            points: Where.
            output: What was bounded; an inner node is not looked at.

        Raises:
            SoundnessError: Naming the first node whose value leaves its interval, or saying that the model is no longer
                what was captured.
        """
        if isinstance(output, str) or is_traced():
            return
        if (
            self.captured.live.fixed_batch and self.problem.batch != 1
        ):  # a program that runs on one example alone
            return
        with torch.no_grad():
            for inputs in self._points(_CORNERS if points == "corners" else 0):
                self._at(inputs)

    def _points(self, corners: int) -> list[Sequence[Any]]:
        """Flat inputs: the nominal ones moved into their sets, and others; none where weights are outside of theirs."""
        nominal, others = list(self.inputs), [list(self.inputs) for _ in range(corners)]
        for name, member in self.problem.inputs.items():
            ball, x = member.perturbation, member.x
            known = ball.surrounds_nominal or ball.joint_key is not None
            inside = known or bool(ball.contains(x, x.unsqueeze(0)).all())
            if (
                name not in self.graph.inputs or ball.joint_key is not None
            ):  # a weight stays, and so does a joint set
                if not inside:
                    return []
                continue
            place, dim = self.graph.inputs.index(name), member.batch_dim

            def lay_out(z: Tensor, dim: int | None = dim) -> Tensor:
                return z.squeeze(0) if dim is None else z.movedim(0, dim)

            if not inside:
                nominal[place] = lay_out(ball.project(x, x.unsqueeze(0))[0])
            for other, z in zip(others, ball.sample(x, corners) if corners else (), strict=True):
                other[place] = lay_out(z)
        return [nominal, *others]

    def _at(self, inputs: Sequence[Any]) -> None:
        args, kwargs = self.captured.unflatten(list(inputs))
        outputs = pytree.tree_leaves(run(self.captured.live.module, args, kwargs))
        if len(outputs) != len(self.graph.outputs):
            return
        for i, node in self.nodes.items():
            lower, upper = self.found[i]
            value = self._as_bounded(node, outputs[i])
            shape = (lower if lower is not None else upper).shape  # type: ignore[union-attr]
            if value is None or value.shape != shape:
                continue
            if escapes(value, lower, upper, _SUSPICIOUS):
                self._look_again(i, node, inputs, value)
            elif not self.captured.is_certain(self.graph):
                self._compare(i, node, self._values(inputs, None), value)

    def _as_bounded(self, node: OutputNode, value: Tensor) -> Tensor | None:
        if self.C is None:
            return value
        if node.batch_dim is None or value.shape[node.batch_dim] != self.problem.batch:
            return None
        vector = value.movedim(node.batch_dim, 0).flatten(1).to(self.C.dtype)
        return torch.einsum("bko,bo->bk", self.C.expand(len(vector), *self.C.shape[1:]), vector)

    def _look_again(self, i: int, node: OutputNode, inputs: Sequence[Any], value: Tensor) -> None:
        """Tell a wrong bound from the rounding of the model's evaluation, with the graph in the widest type it takes."""
        lower, upper = self.found[i]
        own = self._values(inputs, None)
        exact = own
        with suppress(RuntimeError):  # a graph that converts to a type of its own
            exact = self._values(inputs, torch.float64)
        again = self._as_bounded(node, self._laid_out(node, exact))
        if again is not None and escapes(again, lower, upper):
            name = first_escape(self.problem, self.intervals, exact) or node.name
            raise SoundnessError(
                f"the value at a point of the set lies outside of its bounds; the first node that leaves its interval "
                f"is {self.graph[name]}. This is a defect of a rule or of a method; please report it with the model."
            )
        self._compare(i, node, own, value, again)

    def _compare(
        self,
        i: int,
        node: OutputNode,
        own: Mapping[str, Const],
        value: Tensor,
        exact: Tensor | None = None,
    ) -> None:
        """Whether the model still gives what its graph gives, but for what rounding makes of the graph's own value."""
        same = self._as_bounded(node, self._laid_out(node, own))
        if same is None or has_jumps(self.problem):
            return
        room = _AGREEMENT.get(value.dtype, 1.0) * float(same.abs().max())
        if exact is not None:
            room = max(room, _NOISE * float((same.to(exact.dtype) - exact).abs().max()))
        off = float((same.to(value.dtype) - value).abs().max())
        if off > room:
            raise SoundnessError(
                f"the model's own output {i} differs from that of its captured graph by {off:.3g}: forward() reads "
                "something that has changed since, and that lirpa did not notice. Make a new BoundedModule, or keep what "
                "changes as an attribute, a parameter or a buffer of a module."
            )

    def _values(self, inputs: Sequence[Any], dtype: torch.dtype | None) -> Mapping[str, Const]:
        """Values of all nodes at a point, in their own type or in another one."""

        def convert(x: Tensor) -> Tensor:
            return x.to(dtype) if dtype is not None and x.is_floating_point() else x

        leaves: dict[str, Const] = {}
        for name, const in self.problem.constants.items():
            if self.graph[name].kind is not NodeKind.OPERATOR:
                leaves[name] = Const(convert(const.value), const.batched)
        for name, member in self.problem.inputs.items():
            if member.batch_dim is None:
                leaves[name] = Const(convert(member.x.squeeze(0)))
        for name, x, dim in zip(self.graph.inputs, inputs, self.graph.input_batch_dims, strict=True):
            if isinstance(x, Tensor) and name in self.graph.by_name:
                laid_out = x if dim is None else to_batch_first(x, dim)
                leaves[name] = Const(convert(laid_out), dim is not None)
        return evaluate(self.graph.nodes, leaves)

    def _laid_out(self, node: OutputNode, values: Mapping[str, Const]) -> Tensor:
        const = values[node.name]
        value = const.value if const.batched else const.value.unsqueeze(0)
        return node.as_value(value.expand(self.problem.batch, *value.shape[1:]))
