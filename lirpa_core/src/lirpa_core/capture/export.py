"""From an `nn.Module` (or `ExportedProgram`) to a `Graph`, through `torch.export`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lirpa_core.capture.breaking_down import PART_OF, broken_down, decompositions
from lirpa_core.capture.clean_up import clean
from lirpa_core.capture.complex_numbers import as_pairs
from lirpa_core.capture.exporter import load_exporter
from lirpa_core.capture.in_place import make_new
from lirpa_core.capture.leaf_modules import LEAF_MODULE, Site, fill
from lirpa_core.capture.masked_assignment import choose_by_masks
from lirpa_core.capture.moving_grids import write_out_moving_grids
from lirpa_core.capture.numbers import as_taken
from lirpa_core.capture.order_masks import write_out_order
from lirpa_core.capture.quantised import write_out_quantised
from lirpa_core.capture.quiet import quiet
from lirpa_core.capture.recording import Recorded
from lirpa_core.capture.refusals import number_error, refusal
from lirpa_core.capture.small_matrices import write_out_matrices
from lirpa_core.capture.source import source_of
from lirpa_core.capture.sparse import make_dense
from lirpa_core.capture.stated_types import convert_first
from lirpa_core.capture.written_sparsemax import write_sparsemax
from lirpa_core.devices import agreeing_switches
from lirpa_core.errors import (
    CaptureError,
    DataDependentShapeError,
    LirpaError,
    UnsupportedOperatorError,
)
from lirpa_core.graph import Argument, Node, NodeKind, Ref, SourceLocation
from lirpa_core.plugins.reader import CaptureRules
from lirpa_core.rules.evaluated import operator_name

# torch.export and its symbolic shapes are imported where they are used: they take as long as half of torch.
if TYPE_CHECKING:
    from torch.export import ExportedProgram

#: Kinds of nodes by the names of torch's kinds of inputs.
_LEAF_KINDS = {
    "PARAMETER": NodeKind.PARAMETER,
    "BUFFER": NodeKind.BUFFER,
    "CONSTANT_TENSOR": NodeKind.CONSTANT,
    "USER_INPUT": NodeKind.INPUT,
}


def export(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    registry: CaptureRules,
    exported: Callable[[], None] = lambda: None,
) -> tuple[ExportedProgram, list[Tensor]]:
    """Export one example and decompose everything that has no rule of its own.

    torch's own error is not shown with the one raised here.

    Args:
        model: The model.
        args: Positional inputs of one example.
        kwargs: Keyword inputs.
        registry: Which operators have rules.
        exported: Is called between the two.

    Returns:
        The program, and the constants whose values decided what it is.

    Raises:
        DataDependentBranchError: If the model branches on the value of a tensor.
        CaptureError: If `torch.export` refuses the model for another reason.
    """
    with warnings.catch_warnings():
        # Recurrent modules re-assign their flat weights during export; the modules stay intact.
        warnings.filterwarnings("ignore", message="The tensor attributes? .* assigned during export")
        warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")
        # The exporter asks for NumPy as it is imported, and does without.
        warnings.filterwarnings("ignore", message="Failed to initialize NumPy")
        try:
            load_exporter()
            with quiet(), agreeing_switches():
                program = torch.export.export(model, args, dict(kwargs), strict=False)
        except CaptureError:
            raise
        except Exception as error:  # noqa: BLE001  torch raises whatever its tracers raise
            raise refusal(error) from None
        exported()
        return decompose(program, registry)


def decompose(program: ExportedProgram, registry: CaptureRules) -> tuple[ExportedProgram, list[Tensor]]:
    """Break composite operators down, except those that have a rule.

    Returns:
        The program, and the constants whose values decided what it is.

    Raises:
        DataDependentShapeError: For a tensor whose size depends on values.
        CaptureError: If torch cannot do it.
    """
    done, used = rewritten(program, registry)
    if done:
        return program, used
    _free_of_strides(program)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")
        try:
            with quiet(), agreeing_switches():
                decomposed: ExportedProgram = program.run_decompositions(decompositions(registry))
                if registry.real and as_pairs(decomposed) and not broken_down(decomposed, registry):
                    decomposed = decomposed.run_decompositions(decompositions(registry))
            return decomposed, used
        except LirpaError:
            raise
        except Exception as error:  # noqa: BLE001  torch raises whatever its tracers raise
            failure = error
    for fx_node in program.graph.nodes:
        if fx_node.op == "call_function":
            _refuse_unknown_size(fx_node, fx_node.meta.get("val"))
    raise refusal(failure)


def rewritten(program: ExportedProgram | Recorded, registry: CaptureRules) -> tuple[bool, list[Tensor]]:
    """Replace, in place, what patterns describe, and break down operators one by one as far as that goes.

    Returns:
        Whether everything has a rule now, and the constants whose values decided what the program is.
    """
    from lirpa_core.capture.patterns import rewrite  # only a capture needs them

    make_dense(program)
    if registry.real:  # what is executed rounds in another way than what these become
        write_out_quantised(program)
        write_out_matrices(program)
        write_out_moving_grids(program)
        write_out_order(program)
        write_sparsemax(program)
    choose_by_masks(program)
    convert_first(program)
    patterns = [entry.pattern for entry in registry.patterns.values()]
    used = rewrite(program, patterns, make_new(program))
    with quiet(), agreeing_switches():
        return broken_down(program, registry), used


def _free_of_strides(program: ExportedProgram) -> None:
    """Let every `view` be a `reshape`: what an operator is broken down to may lay its value out in another way.

    Attention does on a CPU, whose fused kernel returns transposed memory; only some versions of PyTorch export a
    `reshape` behind it.
    """
    for fx_node in program.graph.nodes:
        if fx_node.target is torch.ops.aten.view.default:
            fx_node.target = torch.ops.aten.reshape.default


def has_fixed_batch(program: ExportedProgram) -> bool:
    """Whether a program was exported for one example, without a dynamic batch dimension.

    Raises:
        CaptureError: If it was exported for a fixed batch of several examples.
    """
    inputs = [
        n.meta["val"] for n in program.graph.nodes
        if n.op == "placeholder" and n.name in program.graph_signature.user_inputs
    ]  # fmt: skip
    sizes = [x.shape[0] for x in inputs if isinstance(x, Tensor) and x.is_floating_point() and x.dim()]
    if not sizes or not isinstance(sizes[0], int):
        return False
    if sizes[0] != 1:
        raise CaptureError(
            f"the program was exported for a fixed batch of {sizes[0]}. Export it with one example, or with a "
            "dynamic batch dimension (dynamic_shapes={...: {0: torch.export.Dim('batch')}})."
        )
    return True


def operators_of(program: ExportedProgram, registry: CaptureRules) -> Mapping[Any, list[SourceLocation]]:
    """Every operator that an input reaches, as capture would see it, with the places it comes from."""
    nodes, _, _ = read_nodes(decompose(program, registry)[0], registry)
    found: dict[Any, list[SourceLocation]] = {}
    reached = {node.name for node in nodes if node.kind is NodeKind.INPUT}
    for node in nodes:
        if reached.intersection(node.inputs):
            reached.add(node.name)
            found.setdefault(node.target, []).append(node.source)
    return found


def read_nodes(
    program: ExportedProgram | Recorded, registry: CaptureRules, sites: Sequence[Site] = ()
) -> tuple[tuple[Node, ...], tuple[str | None, ...], dict[str, str]]:
    """The cleaned nodes of an exported program, the names of its user outputs, and the node that each module ends in.

    Args:
        program: The program.
        registry: Which operators fuse with what they read.
        sites: The calls that were kept whole while it was exported.

    Raises:
        UnsupportedOperatorError: For higher-order operators such as `torch.cond`.
        DataDependentShapeError: For a tensor whose size depends on values.
    """
    from torch.export.graph_signature import OutputKind, TensorArgument

    leaves = {
        spec.arg.name: (_LEAF_KINDS[spec.kind.name], spec.target or spec.arg.name)
        for spec in program.graph_signature.input_specs
        if spec.kind.name in _LEAF_KINDS
    }
    nodes: list[Node] = []
    for fx_node in program.graph.nodes:
        value = fx_node.meta.get("val")
        if fx_node.op == "placeholder" and fx_node.name in leaves and isinstance(value, Tensor):
            kind, path = leaves[fx_node.name]
            nodes.append(Node(fx_node.name, kind, tuple(value.shape), value.dtype, path=path))
        elif fx_node.op == "call_function":
            _refuse_unknown_size(fx_node, value)
            nodes.append(_operator_node(fx_node, value, sites))
    outputs = tuple(
        spec.arg.name if isinstance(spec.arg, TensorArgument) else None
        for spec in program.graph_signature.output_specs
        if spec.kind is OutputKind.USER_OUTPUT
    )
    lifted = {path: value for path, value in program.constants.items() if isinstance(value, Tensor)}
    fusions = {op: entry.function for op, entry in registry.fusions.items()}
    return clean(nodes, outputs, fusions, merge=registry.real, constants=lifted)


def _refuse_unknown_size(fx_node: torch.fx.Node, value: Any) -> None:
    sample = value if isinstance(value, Tensor) else _first_tensor(value)
    if sample is None or all(type(size) is int for size in sample.shape):
        return
    from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols

    if free_unbacked_symbols(sample):
        raise DataDependentShapeError(
            f"the size of what {fx_node.target} returns at {source_of(fx_node.meta)} depends on the values of a "
            "tensor, so nothing of a fixed shape could be bounded. In place of x[mask] write "
            "torch.where(mask, x, 0) or x * mask; take fixed positions with x[:, [0, 3]] or a buffer of indices."
        )


def _operator_node(fx_node: torch.fx.Node, value: Any, sites: Sequence[Site]) -> Node:
    source = source_of(fx_node.meta)
    if fx_node.target in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.item.default):
        raise number_error(f" at {source}")
    sample = value if isinstance(value, Tensor) else _first_tensor(value)
    shape = tuple(value.shape) if isinstance(value, Tensor) else ()
    dtype = torch.bool if sample is None else sample.dtype
    if fx_node.target is LEAF_MODULE:
        tensors, index = fx_node.args
        assert isinstance(tensors, (list, tuple)) and isinstance(index, int)
        site = sites[index]
        target: Any = site.whole
        refs = [_freeze(tensor) for tensor in tensors]
        arguments = tuple(Argument(name, fill(v, refs), True) for name, v in site.arguments.items())
    else:
        target, arguments = fx_node.target, _arguments(fx_node, source)
    return Node(
        fx_node.name, NodeKind.OPERATOR, shape, dtype, target=target, arguments=arguments, source=source,
        origin=_origin(fx_node),
    )  # fmt: skip


def _origin(fx_node: torch.fx.Node) -> str:
    """Name of the operator in the model as it was exported, before it was broken down; empty where torch does not say."""
    if PART_OF in fx_node.meta:
        whole = fx_node.meta[PART_OF]
        return operator_name(whole) if isinstance(whole, torch._ops.OpOverload) else ""
    found = fx_node.meta.get("from_node") or ()
    parts = str(found[-1].target).split(".") if found else []  # "aten.layer_norm.default"
    if len(parts) < 3:
        return ""
    return parts[1] if parts[0] in {"aten", "lirpa"} else f"{parts[0]}::{parts[1]}"


def _arguments(fx_node: torch.fx.Node, source: SourceLocation) -> tuple[Argument, ...]:
    target = fx_node.target
    if isinstance(target, torch._ops.OpOverload):  # no public name for the type exists
        declared = target._schema.arguments  # nor for its schema
        given = dict(zip((a.name for a in declared), fx_node.args, strict=False)) | dict(fx_node.kwargs)
        values = {a.name: _freeze(given.get(a.name, a.default_value)) for a in declared}
        return tuple(
            Argument(a.name, as_taken(fx_node, a.name, values[a.name]), a.kwarg_only) for a in declared
        )
    if getattr(target, "__name__", "") == "getitem":
        return tuple(Argument(n, _freeze(v)) for n, v in zip(("self", "index"), fx_node.args, strict=True))
    raise UnsupportedOperatorError(
        f"{target} at {source} is control flow or a higher-order operator, which lirpa cannot bound. Write a branch "
        "as torch.where(condition, a, b) and a loop as a Python loop of fixed length."
    )


def _freeze(value: Any) -> Any:
    if isinstance(value, torch.fx.Node):
        return Ref(value.name)
    if isinstance(value, (list, tuple)):
        return tuple(_freeze(v) for v in value)
    return value


def _first_tensor(value: Any) -> Tensor | None:
    items: Sequence[Any] = value if isinstance(value, (list, tuple)) else ()
    return next((v for v in items if isinstance(v, Tensor)), None)
