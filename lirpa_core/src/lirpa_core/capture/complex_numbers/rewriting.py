"""The program with pairs of real tensors in the places of its complex ones."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.fx.node import map_arg
from torch.utils import _pytree as pytree  # the public torch.utils.pytree is not in all supported versions

from lirpa_core.capture.breaking_down import SETTLED, without_values
from lirpa_core.capture.complex_numbers.arithmetic import ARITHMETIC, Function
from lirpa_core.capture.complex_numbers.pair import Pair
from lirpa_core.capture.complex_numbers.transforms import TRANSFORMS
from lirpa_core.capture.inlining import inlined, put_in_place
from lirpa_core.capture.reached import reached_by_anything
from lirpa_core.capture.source import source_of
from lirpa_core.errors import CaptureError, LirpaError, UnsupportedOperatorError

if TYPE_CHECKING:
    from torch.export import ExportedProgram

aten = torch.ops.aten

_TABLE: Mapping[Any, Function] = {**ARITHMETIC, **TRANSFORMS}


def as_pairs(program: ExportedProgram) -> bool:
    """Replace, in place, every operator on complex tensors by operators on their real and imaginary parts.

    Args:
        program: The program, in operators that write into none of their operands.

    Returns:
        Whether there were any.

    Raises:
        UnsupportedOperatorError: For an operator that is not known of complex numbers.
        CaptureError: The model returns a complex tensor.
    """
    if not any(_is_complex(value) for node in program.graph.nodes for value in _tensors(node)):
        return False
    _Pairs(program).replace()
    return True


@torch.library.custom_op("lirpa::both_parts", mutates_args=())
def both_parts(z: Tensor) -> Tensor:
    """As `view_as_real`, also of what was conjugated, which PyTorch does when it is read: real `[*S, 2]`."""
    return torch.view_as_real(z.resolve_conj()).clone()


@both_parts.register_fake
def _(z: Tensor) -> Tensor:
    return torch.empty((*z.shape, 2), dtype=z.dtype.to_real(), device=z.device)


class _Pairs:
    """Goes through a program from its inputs to its outputs.

    Args:
        program: The program.
    """

    def __init__(self, program: ExportedProgram) -> None:
        self.program = program
        self.graph = program.graph
        #: What is known of complex nodes, and of nodes that were replaced: pairs of nodes, nodes, or lists of these.
        self.found: dict[Node, Any] = {}
        self.mode = without_values(self.graph)
        self.reached = reached_by_anything(program)

    def replace(self) -> None:
        """Replace everything complex, and the names of outputs."""
        nodes = list(self.graph.nodes)
        for node in nodes:
            if node.op == "output":
                self._refuse_complex_outputs(node)
                continue
            given = pytree.tree_leaves(map_arg((node.args, node.kwargs), lambda n: self.found.get(n, n)))
            takes = any(isinstance(x, Pair) for x in given)
            gives = any(_is_complex(value) for value in _tensors(node))
            if not takes and not gives:
                continue
            if node.op == "call_function" and node not in self.reached:
                # A constant is what PyTorch makes of it, in whatever type its complex numbers are; lists are, by what is read of them.
                if _is_complex(node.meta.get("val")) and any(
                    u in self.reached or u.op == "output" for u in node.users
                ):
                    self.found[node] = self._parts_of(node, node)
            elif node.target in SETTLED:
                self.found[node] = None
            else:
                self.found[node] = self._pair_of(node)
        for node, value in self.found.items():
            if isinstance(value, Node):
                put_in_place(self.program, node, value)
        for node in reversed(nodes):
            if node in self.found and node.op == "call_function" and not node.users:
                self.graph.erase_node(node)

    def _pair_of(self, node: Node) -> Any:
        """What a node is in real numbers."""
        if node.op != "call_function":
            last = [n for n in self.graph.nodes if n.op == "placeholder"][-1]
            return self._parts_of(node, last)
        given: Any = map_arg((node.args, node.kwargs), lambda n: self.found.get(n, n))
        args, kwargs = given
        if node.target is operator.getitem:
            return args[0][args[1]]
        function = _TABLE.get(node.target)
        if function is None:
            raise _unknown(node)
        return self._inlined(function, args, kwargs, node)

    def _parts_of(self, node: Node, after: Node) -> Any:
        """The parts of a constant complex tensor, which are evaluated."""
        constant = node.op == "call_function"
        with self.graph.inserting_after(after):
            both = self._call(
                torch.ops.lirpa.both_parts.default if constant else aten.view_as_real.default,
                (node,),
                node,
                both_parts,
            )
        made: list[Any] = []
        for i in (0, 1):
            with self.graph.inserting_after(both if not made else made[-1]):
                made.append(self._call(aten.select.int, (both, -1, i), node, torch.select))
        return Pair(*made)

    def _call(self, target: Any, args: tuple[Any, ...], of: Node, function: Callable[..., Any]) -> Node:
        made = self.graph.call_function(target, args)
        made.meta = {name: value for name, value in of.meta.items() if name != "val"}
        with torch.no_grad(), self.mode:
            made.meta["val"] = function(*map_arg(args, lambda n: n.meta["val"]))
        result: Node = made
        return result

    def _inlined(self, function: Function, args: Any, kwargs: Any, node: Node) -> Any:
        """A function's operators before a node."""
        leaves: list[Any]
        leaves, spec = pytree.tree_flatten((args, kwargs), is_leaf=lambda x: isinstance(x, Pair))
        given: list[Any] = []  # nodes, which stand for tensors in a pair too
        for leaf in leaves:
            given += (
                [leaf.real, leaf.imag] if isinstance(leaf, Pair) else [leaf] if isinstance(leaf, Node) else []
            )
        shape: list[Any] = []

        def written(*tensors: Tensor) -> list[Tensor]:
            values = iter(tensors)
            filled: list[Any] = []
            for leaf in leaves:
                if isinstance(leaf, Pair):
                    filled.append(Pair(next(values), next(values)))
                else:
                    filled.append(next(values) if isinstance(leaf, Node) else leaf)
            positional, named = pytree.tree_unflatten(filled, spec)
            result = function(*positional, **named)
            if result is NotImplemented:
                raise _unknown(node)
            found, layout = pytree.tree_flatten(result, is_leaf=lambda x: isinstance(x, Pair))
            shape[:] = [layout, [isinstance(x, Pair) for x in found]]
            return [t for x in found for t in ((x.real, x.imag) if isinstance(x, Pair) else (x,))]

        try:
            results = iter(inlined(written, given, node))
        except LirpaError:
            raise
        except Exception as error:  # torch raises whatever its tracers raise
            raise _unknown(node) from error
        layout, pairs = shape
        return pytree.tree_unflatten(
            [Pair(next(results), next(results)) if is_pair else next(results) for is_pair in pairs],  # type: ignore[arg-type]
            layout,
        )

    def _refuse_complex_outputs(self, node: Node) -> None:
        for value in pytree.tree_leaves(node.args):
            if isinstance(self.found.get(value), Pair):
                raise CaptureError(
                    f"the model returns the complex tensor '{value.name}', whose bounds would have no order. Return its "
                    "parts, torch.view_as_real(y), or what you want to know of it, such as y.abs()."
                )


def _unknown(node: Node) -> UnsupportedOperatorError:
    return UnsupportedOperatorError(
        f"no rule for operator {node.target} on complex numbers at {source_of(node.meta)}: write it with sums, products, quotients, "
        "absolute values, angles and exponentials, or with real and imaginary parts (torch.view_as_real)."
    )


def _is_complex(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_complex()


def _tensors(node: Node) -> Iterator[Any]:
    yield from pytree.tree_leaves(node.meta.get("val"))


__all__ = ["as_pairs"]
