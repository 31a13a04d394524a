"""Products with sparse matrices, found before operators are decomposed: a constant matrix is made dense, and the product is a plain one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lirpa_core.capture.reached import reached_by_inputs
from lirpa_core.capture.source import source_of
from lirpa_core.errors import UnsupportedOperatorError

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from lirpa_core.capture.recording import Recorded

aten = torch.ops.aten

#: Operators that take sparse matrices, and those of the same arguments that take dense ones.
_DENSE = {
    aten._sparse_mm.default: aten.mm.default,
    aten._sparse_addmm.default: aten.addmm.default,
    aten.sspaddmm.default: aten.addmm.default,
    aten.mm.default: aten.mm.default,
    aten.mv.default: aten.mv.default,
    aten.addmm.default: aten.addmm.default,
    aten.addmv.default: aten.addmv.default,
    aten.bmm.default: aten.bmm.default,
    aten.matmul.default: aten.matmul.default,
    aten.linear.default: aten.linear.default,
}


@torch.library.custom_op("lirpa::to_dense", mutates_args=())
def to_dense(matrix: Tensor) -> Tensor:
    """A sparse matrix as a dense one. PyTorch's own operator falls apart where it is traced, which some layouts do not allow."""
    return matrix.to_dense().clone()


@to_dense.register_fake
def _(matrix: Tensor) -> Tensor:
    return torch.empty(matrix.shape, dtype=matrix.dtype, device=matrix.device)


def make_dense(program: ExportedProgram | Recorded) -> None:
    """Let, in place, every product with a sparse matrix be one with the dense matrix.

    Raises:
        UnsupportedOperatorError: The elements of a sparse tensor depend on an input.
    """
    graph = program.graph
    for node in list(graph.nodes):
        if node.target not in _DENSE:
            continue
        sparse = [n for n in node.all_input_nodes if _is_sparse(n.meta.get("val"))]
        for matrix in sparse:
            value = matrix.meta["val"]
            with graph.inserting_before(node):
                dense = graph.call_function(torch.ops.lirpa.to_dense.default, (matrix,))
            dense.meta = {name: kept for name, kept in node.meta.items() if name != "val"}
            others = [n.meta["val"] for n in node.all_input_nodes if n not in sparse]
            like = others[0] if others else torch.empty(0, dtype=value.dtype)
            dense.meta["val"] = like.new_zeros(value.shape, dtype=value.dtype)
            node.replace_input_with(matrix, dense)
        node.target = _DENSE[node.target]
    if any(_is_sparse(node.meta.get("val")) for node in graph.nodes):
        for node in graph.nodes:
            if _is_sparse(node.meta.get("val")) and node in reached_by_inputs(program):
                raise UnsupportedOperatorError(
                    f"{node.target} at {source_of(node.meta)} makes a sparse tensor of what an input reaches, and bounds are those of "
                    "dense tensors. Write into a dense one, torch.zeros(...).index_put((rows, columns), values), or multiply by a "
                    "mask of zeros and ones."
                )


def _is_sparse(value: object) -> bool:
    return isinstance(value, Tensor) and value.layout != torch.strided
