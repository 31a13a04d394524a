"""Which nodes of a program its inputs reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.fx import Node

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from lirpa_core.capture.recording import Recorded


def reached_by_inputs(program: ExportedProgram | Recorded) -> set[Node]:
    """The nodes whose values depend on what a user gives; all others are evaluated, whatever they are."""
    inputs = {spec.arg.name for spec in program.graph_signature.input_specs if spec.kind.name == "USER_INPUT"}
    reached: set[Node] = set()
    for node in program.graph.nodes:
        if (node.op == "placeholder" and node.name in inputs) or reached.intersection(node.all_input_nodes):
            reached.add(node)
    return reached
