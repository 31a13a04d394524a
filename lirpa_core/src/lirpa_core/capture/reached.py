"""Which nodes of a program its inputs reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch.fx import Node

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from lirpa_core.capture.recording import Recorded


def reached_by_inputs(program: ExportedProgram | Recorded) -> set[Node]:
    """The nodes whose values depend on what a user gives; all others are evaluated, whatever they are."""
    return _reached(program, ("USER_INPUT",))


def reached_by_anything(program: ExportedProgram | Recorded) -> set[Node]:
    """The nodes whose values depend on what may be perturbed: inputs, parameters and buffers, but no constants of the code."""
    return _reached(program, ("USER_INPUT", "PARAMETER", "BUFFER"))


def _reached(program: ExportedProgram | Recorded, kinds: Sequence[str]) -> set[Node]:
    inputs = {spec.arg.name for spec in program.graph_signature.input_specs if spec.kind.name in kinds}
    reached: set[Node] = set()
    for node in program.graph.nodes:
        if (node.op == "placeholder" and node.name in inputs) or reached.intersection(node.all_input_nodes):
            reached.add(node)
    return reached
