"""`x.sum(dtype=torch.float64)`, found before operators are decomposed: a conversion of its own, then the operator.

PyTorch converts the operand of such an operator before it computes anything. As two operators they need no rule of their own.
Only conversions to a wider type are taken out, which change no number: those to a narrower one are refused where they are met,
because kernels differ in when they round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx import Node

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from lirpa_core.capture.recording import Recorded

aten = torch.ops.aten

#: Operators that convert their operand to the type that they are given.
_CONVERTING = frozenset(
    {
        aten.sum.default,
        aten.sum.dim_IntList,
        aten.nansum.default,
        aten.mean.default,
        aten.mean.dim,
        aten.prod.default,
        aten.prod.dim_int,
        aten.cumsum.default,
        aten.cumprod.default,
        aten.softmax.int,
        aten.log_softmax.int,
        aten.linalg_vector_norm.default,
        aten.norm.ScalarOpt_dtype,
        aten.norm.ScalarOpt_dim_dtype,
    }
)


def convert_first(program: ExportedProgram | Recorded) -> None:
    """Let, in place, a conversion stand before every operator that states a wider type than its operand has."""
    graph = program.graph
    for node in list(graph.nodes):
        if node.target not in _CONVERTING:
            continue
        found = _stated(node)
        if found is None:
            continue
        operand, dtype = found
        with graph.inserting_before(node):
            converted = graph.call_function(aten.to.dtype, (operand, dtype))
        converted.meta = {name: value for name, value in node.meta.items() if name != "val"}
        with torch.no_grad():
            converted.meta["val"] = operand.meta["val"].to(dtype)
        node.update_arg(0, converted)


def _stated(node: Node) -> tuple[Node, torch.dtype] | None:
    """The operand and the type of an operator that converts."""
    names = [a.name for a in node.target._schema.arguments]  # type: ignore[union-attr]
    values: dict[str, Any] = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
    operand, dtype = node.args[0], values.get("dtype")
    if not isinstance(operand, Node) or not isinstance(dtype, torch.dtype):
        return None
    value = operand.meta.get("val")
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.dtype == dtype:
        return None
    return (operand, dtype) if torch.promote_types(value.dtype, dtype) == dtype else None
