"""A function's operators in the place of a node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx import Node

from lirpa_core.capture.breaking_down import PART_OF, without_values

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from lirpa_core.capture.recording import Recorded


def inlined(function: Callable[..., Sequence[Tensor]], given: Sequence[Node], node: Node) -> list[Node]:
    """Write what a function computes before a node.

    Args:
        function: The function, which keeps operators whole that have a rule.
        given: What it is called with.
        node: The node that the new ones are parts of.

    Returns:
        A node for each tensor that the function returns.
    """
    from torch.fx.experimental.proxy_tensor import make_fx  # takes as long to import as half of torch

    with torch.no_grad(), without_values(node.graph):
        traced = make_fx(function, pre_dispatch=True)(*[n.meta["val"] for n in given]).graph
    inner: dict[Node, Any] = dict(zip((n for n in traced.nodes if n.op == "placeholder"), given, strict=True))
    with node.graph.inserting_before(node):
        for part in traced.nodes:
            if part.op == "call_function":
                copy = node.graph.node_copy(part, lambda n: inner[n])
                copy.meta = {**node.meta, PART_OF: node.target, "val": part.meta["val"]}
                inner[part] = copy
    (last,) = (part for part in traced.nodes if part.op == "output")
    return [inner[n] for n in last.args[0]]


def put_in_place(program: ExportedProgram | Recorded, node: Node, by: Node) -> None:
    """Let a node be read wherever another one is, as an output of the program too."""
    node.replace_all_uses_with(by)
    for spec in program.graph_signature.output_specs:
        if getattr(spec.arg, "name", None) == node.name:
            spec.arg.name = by.name
