"""Operators without a rule are broken down, each where it stands, until all that is left has a rule.

`ExportedProgram.run_decompositions` does the same for a whole program, and more: it takes writes out. It also changes how every
operator of PyTorch is dispatched and traces the program twice, which takes half a second however small the program is. Here only
what has no rule is traced, from the shapes that the export noted. Where anything is met that needs more, the program is left as
it was, for PyTorch to break down.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg
from torch.utils import _pytree as pytree  # the public torch.utils.pytree is not in all supported versions

from lirpa_core.capture.clean_up import does_nothing
from lirpa_core.capture.leaf_modules import LEAF_MODULE
from lirpa_core.capture.recording import Recorded, recorded_call
from lirpa_core.errors import LirpaError
from lirpa_core.plugins.reader import CaptureRules

if TYPE_CHECKING:
    from torch.export import ExportedProgram

aten = torch.ops.aten

#: The node of the exported program that a node is a part of; the model executes this one's operator.
PART_OF = "lirpa_part_of"

#: Operators that fall apart into a computation and a check that raises, which a graph of values has no place for.
_WITH_ERROR_CHECKS = (
    aten.linalg_inv.default,
    aten.linalg_solve.default,
    aten.linalg_cholesky.default,
    aten.linalg_lu_factor.default,
    aten.linalg_ldl_factor.default,
)


#: Look at shapes and types only, which a graph of one shape and type has settled, and return nothing.
SETTLED = frozenset({aten._assert_tensor_metadata.default})


class _CannotError(Exception):
    """The program needs more than to be broken down operator by operator."""


def decompositions(registry: CaptureRules) -> dict[Any, Callable[..., Any]]:
    """How operators fall apart: PyTorch's table without the operators that have a rule, and the registry's own."""
    table = dict(_of_torch())
    for op in _WITH_ERROR_CHECKS:
        table.pop(op, None)
    table.update(registry.decomposition_table())
    for op in registry.operators:
        table.pop(op, None)
    return table


@cache
def _of_torch() -> Mapping[Any, Callable[..., Any]]:
    return dict(torch.export.default_decompositions())


def broken_down(program: ExportedProgram | Recorded, registry: CaptureRules) -> bool:
    """Break down, in place, every operator that has no rule.

    Args:
        program: The program as exported.
        registry: Which operators have rules, and how others fall apart.

    Returns:
        Whether it could be done; if not, the program is as it was.
    """
    old: GraphModule = program.graph_module
    parts = _Parts(registry, without_values(old.graph), isinstance(program, Recorded))
    made: dict[Node, Any] = {}
    try:
        for node in old.graph.nodes:
            if node.target not in SETTLED:
                made[node] = parts.copied(node, made)
    except _CannotError:
        return False
    parts.graph.eliminate_dead_code()  # results of parts that the whole does not return
    if not parts.have_rules():
        return False
    names = {node.name: new.name for node, new in made.items() if isinstance(new, Node)}
    signature = program.graph_signature
    for spec in (*signature.input_specs, *signature.output_specs):
        name = getattr(spec.arg, "name", None)
        if name in names:
            spec.arg.name = names[name]
    old.graph = parts.graph
    return True


@dataclass(eq=False)
class _Parts:
    """Makes the new graph.

    Attributes:
        registry: Which operators have rules.
        mode: In which tensors have no values, as those have that the export noted.
        run: Whether functions are run, and not traced, because the program was recorded in a run.
        graph: The new graph.
        traced: What operators become, by operator, arguments, shapes and types.
    """

    registry: CaptureRules
    mode: AbstractContextManager[object]
    run: bool = False
    own: Mapping[Any, Callable[..., Any]] = field(init=False)
    graph: Graph = field(default_factory=Graph)
    traced: dict[Hashable, Graph] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.own = self.registry.decomposition_table()

    @cached_property
    def table(self) -> Mapping[Any, Callable[..., Any]]:
        """How others fall apart; reading PyTorch's own table takes a while, and most networks from files need none of it."""
        return decompositions(self.registry)

    def have_rules(self) -> bool:
        """Whether every operator has a rule but for those that make constants out of nothing."""
        known: set[Node] = set()
        for node in self.graph.nodes:
            if node.op != "call_function" or node.target in (operator.getitem, LEAF_MODULE):
                continue
            if does_nothing(node.target, node.args, node.kwargs):
                continue
            if known.issuperset(node.all_input_nodes):
                known.add(node)
            elif node.target not in self.registry.operators:
                return False
        return True

    def copied(self, node: Node, made: Mapping[Node, Any]) -> Any:
        """What takes a node's place in the new graph: a node, or several for an operator of several results."""
        if node.op != "call_function":
            copy = self.graph.node_copy(node, lambda n: _one(made[n]))
            copy.name = node.name  # which users know; `node_copy` renames inputs that are called as a builtin
            return copy
        args, kwargs = map_arg((node.args, node.kwargs), lambda n: made[n])
        return self.call(node.target, args, kwargs, node, node.name)

    def call(self, target: Any, args: Any, kwargs: Any, part_of: Node, name: str | None = None) -> Any:
        """A call of an operator, or of what it falls apart into."""
        if target is operator.getitem and isinstance(args[0], (list, tuple)):
            return args[0][args[1]]
        if target is aten.view.default:
            target = aten.reshape.default
        if target is aten.sym_size.int and type(size := args[0].meta["val"].shape[args[1]]) is int:
            return size
        stays = target is operator.getitem or does_nothing(target, args, kwargs)
        function = None if stays else self._parts_of(target)
        if function is None:
            return self._node(target, args, kwargs, part_of, name)
        graph = self._traced(target, function, args, kwargs)
        given = iter([value for value in pytree.tree_leaves((args, kwargs)) if isinstance(value, Node)])
        inner: dict[Node, Any] = {}
        for part in graph.nodes:
            if part.op == "placeholder":
                inner[part] = next(given)
            elif part.op == "call_function" and part.target not in SETTLED:
                arguments, named = map_arg((part.args, part.kwargs), lambda n: inner[n])
                inner[part] = self.call(part.target, arguments, named, part_of)
        (last,) = (part for part in graph.nodes if part.op == "output")
        return map_arg(last.args[0], lambda n: inner[n])

    def _parts_of(self, target: Any) -> Callable[..., Any] | None:
        """How an operator falls apart; None: it stays, because it has a rule or because nothing is known."""
        if not isinstance(target, torch._ops.OpOverload) or target._schema.is_mutable:  # no public names
            raise _CannotError
        if target is LEAF_MODULE or target in self.registry.operators:
            return None
        if target in self.own:
            return self.own[target]
        if target in self.table:
            return self.table[target]
        composed = torch._C._dispatch_has_kernel_for_dispatch_key(target.name(), "CompositeImplicitAutograd")
        return target.decompose if composed else None

    def _node(self, target: Any, args: Any, kwargs: Any, part_of: Node, name: str | None) -> Node:
        node = self.graph.create_node("call_function", target, args, kwargs, name=name)
        node.meta = {key: value for key, value in part_of.meta.items() if key != "val"}
        node.meta[PART_OF] = part_of.target
        node.meta["val"] = part_of.meta["val"] if name is not None else None
        if name is None:
            with torch.no_grad(), self.mode:
                node.meta["val"] = target(*_values(args), **_values(kwargs))
        return node

    def _traced(self, target: Any, function: Callable[..., Any], args: Any, kwargs: Any) -> Graph:
        """What an operator falls apart into; its inputs are the tensors among the arguments, in order.

        Raises:
            LirpaError: A function of the registry refuses the operator.
        """
        leaves, spec = pytree.tree_flatten((args, kwargs))
        where = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Node)]
        values = [leaves[i].meta["val"] for i in where]
        if not all(isinstance(value, Tensor) and _is_static(value) for value in values):
            raise _CannotError
        nodes = [leaves[i] for i in where]
        kinds = [(tuple(v.shape), v.stride(), v.dtype, v.device) for v in values]
        constants = [(i, type(leaf), leaf) for i, leaf in enumerate(leaves) if not isinstance(leaf, Node)]
        # One tensor that is given twice is traced as one.
        key = (target, spec, tuple(kinds), tuple(constants), tuple([nodes.index(node) for node in nodes]))
        if key not in self.traced:

            def written(*tensors: Tensor) -> Any:
                given = list(leaves)
                for i, tensor in zip(where, tensors, strict=True):
                    given[i] = tensor
                positional, named = pytree.tree_unflatten(given, spec)
                result = function(*positional, **named)
                if result is NotImplemented:
                    raise _CannotError
                return result

            # Functions of the registry keep operators whole that PyTorch's dispatcher would take apart.
            whole = target in self.own
            self.traced[key] = (
                _ran(written, values) if self.run else _trace(written, values, self.mode, whole=whole)
            )
        return self.traced[key]


def _ran(written: Callable[..., Any], values: list[Tensor]) -> Graph:
    graph = recorded_call(written, values)
    if graph is None:
        raise _CannotError
    return graph


def _trace(
    written: Callable[..., Any], values: list[Tensor], mode: AbstractContextManager[object], *, whole: bool
) -> Graph:
    from torch._dispatch.python import enable_python_dispatcher
    from torch.fx.experimental.proxy_tensor import make_fx  # takes as long to import as half of torch

    try:
        with torch.no_grad(), mode, enable_python_dispatcher():
            graph = make_fx(written, pre_dispatch=whole)(*values).graph
    except (LirpaError, _CannotError):
        raise
    except Exception as error:  # torch raises whatever its tracers raise
        raise _CannotError from error
    if any(node.op not in ("placeholder", "call_function", "output") for node in graph.nodes):
        raise _CannotError  # constants of its own
    return graph


def without_values(graph: Graph) -> AbstractContextManager[object]:
    """The mode in which tensors have no values, as those have that the export noted."""
    modes = (getattr(node.meta.get("val"), "fake_mode", None) for node in graph.nodes)
    return next((mode for mode in modes if mode is not None), nullcontext())


def _one(value: Any) -> Any:
    if not isinstance(value, Node):
        raise _CannotError  # several results as one output
    return value


def _is_static(value: Tensor) -> bool:
    return value.layout == torch.strided and all(isinstance(size, int) for size in value.shape)


def _values(arguments: Any) -> Any:
    return map_arg(arguments, lambda n: n.meta["val"])
