"""From the nodes of a traced function to terms: `TermReader`."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from lirpa_core.capture.terms.algebra import OpenNumberError
from lirpa_core.capture.terms.term import Dims, Symbol, Term, Terms
from lirpa_core.linear.shapes import broadcast_shapes

#: The names of Python's operators, where torch's is another one.
_PYTHON = {
    "truediv": "div",
    "inv": "bitwise_not",
    "invert": "bitwise_not",
    "and_": "bitwise_and",
    "or_": "bitwise_or",
}

#: Other names for an operator.
_ALIASES = {
    "true_divide": "div", "divide": "div", "multiply": "mul", "subtract": "sub", "negative": "neg", "absolute": "abs",
    "greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le", "special_erf": "erf", "special_erfc": "erfc",
    "special_expit": "sigmoid", "special_log1p": "log1p", "special_expm1": "expm1", "special_logsumexp": "logsumexp",
    "special_softmax": "softmax", "special_log_softmax": "log_softmax", "_softmax": "softmax", "_safe_softmax": "softmax",
    "_log_softmax": "log_softmax", "logsigmoid": "log_sigmoid",
}  # fmt: skip


#: Terms that stay numbers wherever they are used element by element, and those that say which shape they have.
_WITH_SHAPES = ("number", "expand", "reshape")


def name_of(node: Node) -> str:
    """The name of what a node calls, without overload, and without namespace if that is ATen."""
    target: Any = node.target
    if isinstance(target, str):
        name = target
    elif isinstance(target, torch._ops.OpOverload):  # no public name for the type exists
        space, _, name = target._schema.name.partition("::")
        name = name if space == "aten" else f"{space}::{name}"
    elif isinstance(target, torch._ops.OpOverloadPacket):
        space, _, name = target._qualified_op_name.partition("::")
        name = name if space == "aten" else f"{space}::{name}"
    else:
        name = getattr(target, "__name__", str(target))
        name = _PYTHON.get(name, name) if getattr(target, "__module__", "") == "_operator" else name
    return _ALIASES.get(name, name)


@dataclass(frozen=True, eq=False)
class Call:
    """One node, as those who read it see it.

    Attributes:
        reader: Who reads it.
        node: The node.
    """

    reader: TermReader
    node: Node

    @property
    def real(self) -> bool:
        """Whether the result is of numbers: the sum of true and true is true."""
        value = self.node.meta.get("val")
        return not isinstance(value, Tensor) or value.is_floating_point()

    def get(self, position: int, name: str, default: Any = None) -> Any:
        """An argument, given by position or by name."""
        if position < len(self.node.args):
            return self.node.args[position]
        return self.node.kwargs.get(name, default)

    def term(self, position: int, name: str) -> Term:
        """An operand."""
        return self.reader.term(self.get(position, name))

    def elementwise(self, names: Sequence[str], build: Callable[..., Term | None]) -> Term | None:
        """What an operator computes element by element; None where more than broadcasting changes shapes."""
        return self.reader.elementwise(self.node, [self.get(i, name) for i, name in enumerate(names)], build)

    def dims(self, given: Any, operand: Any) -> Dims | None:
        """The dimensions of a reduction; None where they cannot be told."""
        rank = self.reader.rank(operand)
        if isinstance(given, Node):
            return Dims(self.reader.term(given).attributes.name)
        listed = [given] if isinstance(given, int) else list(given or ())
        if any([not isinstance(d, int) for d in listed]):
            return None
        if not listed:
            return Dims(None if rank is None else tuple(range(-rank, 0)), every=True)
        if rank is None:
            return None if any([d >= 0 for d in listed]) else Dims(tuple(sorted(listed)))
        found = tuple(sorted({(d % rank) - rank for d in listed}))
        return Dims(found, every=len(found) == rank)


@dataclass(eq=False, repr=False)
class TermReader:
    """Reads the nodes of one graph.

    Args:
        operators: How operators are read, by name.
        numbers: Values of nodes that are constants of one element.
        variables: Tensors that a pattern leaves open, by name.
        symbols: Numbers and dimensions that it leaves open.
        written: Nodes whose values are other ones at another time.
        through_detach: Whether `detach` is the identity: in a graph that does not differentiate.

    Attributes:
        terms: All terms that were made.
    """

    operators: Mapping[str, Callable[[Call], Term | None]]
    numbers: Mapping[Node, float] = field(default_factory=dict)
    variables: Mapping[Node, str] = field(default_factory=dict)
    symbols: Mapping[Node, str] = field(default_factory=dict)
    written: Collection[Node] = ()
    through_detach: bool = True
    terms: Terms = field(default_factory=Terms)
    _read: dict[Node, Term] = field(default_factory=dict)
    _constant: dict[Term, bool] = field(default_factory=dict)

    def term(self, value: Any) -> Term:
        """What a node computes, or a number in its place."""
        if isinstance(value, int | float):
            return self.terms.number(value)
        assert isinstance(value, Node)
        found = self._read.get(value)
        if found is None:
            found = self._read[value] = self._new(value)
        return found

    def forget(self) -> None:
        """Read every node anew, some of which have become others."""
        self._read.clear()

    def known(self, node: Node) -> bool:
        """Whether a node has been read."""
        return node in self._read

    def _new(self, node: Node) -> Term:
        if node in self.variables:
            return self.terms.make("variable", (), self.variables[node])
        if node in self.symbols:
            return self.terms.number(Symbol(self.symbols[node]))
        if node in self.numbers:
            return self.terms.number(self.numbers[node])
        if node.op not in ("call_function", "call_method") or is_random(node):
            return self.opaque(node)
        if self.written and not {node, *node.all_input_nodes}.isdisjoint(self.written):
            return self.opaque(node)
        name = name_of(node)
        call = Call(self, node)
        if name in ("detach", "detach_") and not self.through_detach:
            return self.opaque(node)
        read = self.operators.get(name)
        found = read(call) if read is not None else None
        if found is None:
            return self._whole(node)
        if found.op not in _WITH_SHAPES and self.shape(node) and self._is_constant(found):
            return self.opaque(node)  # nothing in such a term says which shape it has
        return found

    def _is_constant(self, term: Term) -> bool:
        """Whether a term is made of numbers alone."""
        found = self._constant.get(term)
        if found is None:
            inner = bool(term.operands) and all([self._is_constant(t) for t in term.operands])
            found = self._constant[term] = term.op == "number" or inner
        return found

    def opaque(self, node: Node) -> Term:
        """A term of which no more is said than which node it is."""
        return self.terms.make("node", (), node)

    def _whole(self, node: Node) -> Term:
        """An operator of which nothing is known but its arguments."""
        operands: list[Term] = []

        def freeze(value: Any) -> Any:
            if isinstance(value, Node):
                operands.append(self.term(value))
                # A constant of any shape is a number, and here the shape may matter.
                shape = self.shape(value) if operands[-1].op == "number" else None
                return len(operands), shape
            if isinstance(value, (list, tuple)):
                return tuple([freeze(v) for v in value])
            if isinstance(value, dict):
                return tuple([(key, freeze(v)) for key, v in sorted(value.items())])
            return (type(value), repr(value) if isinstance(value, float) else value)  # 0.0 equals -0.0

        if self.variables and not isinstance(node.target, torch._ops.OpOverload):
            return self.opaque(node)
        attributes = (freeze(node.args), freeze(node.kwargs))
        if any([isinstance(t.attributes, Symbol) for t in operands]):
            raise OpenNumberError(
                f"it gives an open number to {node.target}, of whose arguments nothing is known"
            )
        try:
            return self.terms.make(str(node.target), tuple(operands), attributes)
        except TypeError:  # an argument that cannot be hashed
            return self.opaque(node)

    # ------------------------------------------------------------------ shapes, which a pattern does not know

    def shape(self, value: Any) -> tuple[int, ...] | None:
        """The shape of a node; None in a pattern. A number has none."""
        if not isinstance(value, Node):
            return ()
        given = value.meta.get("val")
        return tuple(given.shape) if isinstance(given, Tensor) else None

    def rank(self, value: Any) -> int | None:
        """The number of dimensions of a node; None in a pattern."""
        found = self.shape(value)
        return None if found is None else len(found)

    def reshaped(self, base: Term, of: tuple[int, ...] | None, to: tuple[int, ...] | None) -> Term:
        """The same numbers in another shape."""
        if base.op == "reshape":
            of, (base,) = base.attributes[0], base.operands
        if of is None or to is None or of == to:
            return base
        return self.terms.make("reshape", (base,), (of, to))

    def elementwise(
        self, node: Node, values: Sequence[Any], build: Callable[..., Term | None]
    ) -> Term | None:
        """See `Call.elementwise`."""
        wanted = self.shape(node)
        found = [self.term(value) for value in values]
        if wanted is None:
            return build(*found)
        forms = {t.attributes if t.op == "reshape" else None for t in found if t.op != "number"}
        if len(forms) == 1 and (form := forms.pop()) is not None and form[1] == wanted:
            inner = build(*[t if t.op == "number" else t.operands[0] for t in found])
            return None if inner is None else self.reshaped(inner, *form)
        shapes = []
        for i, value in enumerate(values):
            shape, term = self.shape(value), found[i]
            if shape is None:  # a number that is computed
                return None
            if term.op == "expand":
                shape, (term,) = term.attributes[0], term.operands
            if term.op == "reshape" and math.prod(shape) == 1 and len(term.attributes[0]) <= len(wanted):
                shape, (term,) = term.attributes[0], term.operands
            found[i] = term
            shapes.append(() if term.op == "number" else shape)
        try:
            broadcast = tuple(broadcast_shapes(*shapes))
        except RuntimeError:
            return None
        numbers = all([term.op == "number" for term in found])  # which have any shape
        return build(*found) if broadcast == wanted or numbers else None


def is_random(node: Node) -> bool:
    """Whether two such nodes with the same arguments may differ, or one writes to its arguments."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return not (isinstance(target, str) or target is operator.getitem or callable(target))
    in_evaluation = target is torch.ops.aten.dropout.default and not node.args[2]
    if in_evaluation or target is torch.ops.aten.detach_.default:
        return False
    return torch.Tag.nondeterministic_seeded in target.tags or target._schema.is_mutable
