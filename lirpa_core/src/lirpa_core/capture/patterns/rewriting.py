"""What patterns describe, found in an exported program and replaced."""

from __future__ import annotations

import operator
from collections.abc import Hashable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx import Node

from lirpa_core.capture.patterns.compiled import Compiled, by_size
from lirpa_core.capture.patterns.matching import Match, Matcher
from lirpa_core.capture.patterns.replacement import Builder, CannotBuildError, constant
from lirpa_core.capture.patterns.verification import agree, region
from lirpa_core.capture.terms import Term, TermReader, as_product, product
from lirpa_core.capture.terms.operators import OPERATORS, VIEWS, Read
from lirpa_core.capture.terms.reader import name_of
from lirpa_core.capture.terms.shapes import is_of_a_mask
from lirpa_core.plugins import Pattern
from lirpa_core.rules.precision import KEPT

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from lirpa_core.capture.recording import Recorded

aten = torch.ops.aten

#: Reductions of which patterns are made.
_OF_LINES = frozenset(
    {"sum", "mean", "amax", "amin", "max", "min", "logsumexp", "var", "std", "norm", "linalg_vector_norm"}
)

#: Sweeps over a program, each of which may make room for others.
_MOST_SWEEPS = 16


def rewrite(
    program: ExportedProgram | Recorded, patterns: Sequence[Pattern], written: Set[Node] = frozenset()
) -> list[Tensor]:
    """Replace, in place, what patterns describe.

    Each replacement is tried on random numbers first, and left out if it does not compute the same.

    Args:
        program: The program.
        patterns: The patterns.
        written: Nodes that are left alone, with what reads them: their values are other ones at another time.

    Returns:
        Constants whose values were read as numbers of the code: with other values the program is not the model's.
    """
    if not patterns or _transforms(program.graph):
        return []
    if any(_has_open_size(node.meta.get("val")) for node in program.graph.nodes):
        return []
    rewriting = _Rewriting.of(program, by_size(patterns), written, OPERATORS)
    found = rewriting.run()
    if any(name_of(n) in VIEWS for n in program.graph.nodes) and any(
        name_of(n) in _OF_LINES for n in program.graph.nodes
    ):
        # A function of a view is read as a view of the function, which a sum over dimensions of the view is not of.
        as_they_stand = {name: read for name, read in OPERATORS.items() if name not in VIEWS}
        found |= _Rewriting.of(program, by_size(patterns), written, as_they_stand).run()
    lifted = program.graph_signature.inputs_to_lifted_tensor_constants
    return [program.constants[lifted[node.name]] for node in rewriting.reader.numbers] if found else []


def _transforms(graph: torch.fx.Graph) -> bool:
    """Whether a part of the program is differentiated, or mapped over a dimension, by `torch.func`.

    What is in such a part has another level than what is outside, and derivatives are taken of operators as they are
    written: those of what a pattern becomes may have no rule.
    """
    return any(
        node.op == "call_function"
        and not isinstance(node.target, torch._ops.OpOverload)  # no public name for the type exists
        and node.target is not operator.getitem
        for node in graph.nodes
    )


def _has_open_size(value: Any) -> bool:
    return isinstance(value, Tensor) and any(isinstance(n, torch.SymInt) for n in value.shape)


@dataclass(eq=False, repr=False)
class _Rewriting:
    """One run over a program.

    Attributes:
        graph: The graph of the program, which changes.
        reader: Reads its nodes as terms.
        patterns: What is looked for.
        written: Nodes that nothing is known of.
        nodes: The first node that computes a term.
        multiples: The first node that computes a number times a term, and the number.
        reshaped: The first node that has the numbers of a term in another shape, and the term's own shape.
        exported: See `Builder`.
        replaced: Nodes that something else was put in the place of.
    """

    graph: torch.fx.Graph
    reader: TermReader
    patterns: Sequence[Compiled]
    written: Set[Node]
    nodes: dict[Term, Node] = field(default_factory=dict)
    multiples: dict[Term, tuple[Node, float]] = field(default_factory=dict)
    reshaped: dict[Term, tuple[Node, tuple[int, ...]]] = field(default_factory=dict)
    replaced: dict[Node, None] = field(default_factory=dict)
    exported: dict[Hashable, ExportedProgram] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        program: ExportedProgram | Recorded,
        patterns: Sequence[Compiled],
        written: Set[Node],
        operators: Mapping[str, Read],
    ) -> _Rewriting:
        lifted = program.graph_signature.inputs_to_lifted_tensor_constants
        numbers: dict[Node, float] = {}
        for node in program.graph.nodes:
            value = program.constants.get(lifted[node.name]) if node.name in lifted else None
            if isinstance(value, Tensor) and value.dim() == 0 and value.is_floating_point():
                numbers[node] = value.item()
        reader = TermReader(operators, numbers, written=written)
        return cls(program.graph, reader, patterns, written)

    def run(self) -> bool:
        """Sweep over the program until nothing more is found. Whether anything was."""
        found = False
        for _ in range(_MOST_SWEEPS):
            self._read()
            if not self._sweep():
                break
            found = True
            self._remove_unused()
        return found

    def _read(self) -> None:
        """Find the first node of each term."""
        self.reader.forget()
        for known in (self.nodes, self.multiples, self.reshaped, self.replaced):
            known.clear()
        for node in self.graph.nodes:
            if node.op == "output" or node in self.written:
                continue
            term = self.reader.term(node)
            if term.op == "reshape":
                self.reshaped.setdefault(term.operands[0], (node, term.attributes[0]))
            if term.op != "number":
                self.nodes.setdefault(term, node)
                unit, number = self._unit(term)
                self.multiples.setdefault(unit, (node, number))

    def _sweep(self) -> bool:
        """Look at every node, the last first: what it is made of may be part of something larger. Whether any was replaced."""
        found = False
        unused: set[Node] = set()
        for node in reversed(list(self.graph.nodes)):
            if node in self.replaced and unused.issuperset(node.users):
                unused.add(node)
            elif self.reader.known(node):
                found |= self._replaced(node)
        return found

    def _unit(self, term: Term) -> tuple[Term, float]:
        factors, number = as_product(self.reader.terms, term)
        assert isinstance(number, float | int)
        return product(self.reader.terms, factors), number

    def _replaced(self, node: Node) -> bool:
        """Whether a pattern was found in a node, and replaced."""
        value = node.meta.get("val")
        if node.op != "call_function" or not isinstance(value, Tensor) or value.dtype not in KEPT:
            return False
        term, shape = self.reader.term(node), None
        if term.op == "reshape":
            shape, (term,) = term.attributes[1], term.operands
        for pattern in self.patterns:
            for match in Matcher(pattern.terms, self.reader.terms, pattern.open).matches(pattern.term, term):
                if self._apply(node, pattern, match, shape):
                    return True
        return False

    def _apply(self, node: Node, pattern: Compiled, match: Match, shape: tuple[int, ...] | None) -> bool:
        """Replace a node, if everything that is read exists, and if what it becomes computes the same.

        A condition and its conversion to numbers are one term: a mask is read as it is, an operand of arithmetic as numbers.
        """
        read = [self.nodes.get(match.binding[name]) for name, kind in pattern.kinds.items() if kind is Tensor]
        conditions = any(found is not None and found.meta["val"].dtype == torch.bool for found in read)
        for numbers in (False, True) if conditions else (False,):
            builder = Builder(self.graph, node, self.exported)
            with suppress(CannotBuildError):
                made = self._built(builder, pattern, match, shape, numbers)
                if self._holds(node, made, builder):
                    builder.take(made)
                    return True
            builder.undo()
        return False

    def _built(
        self, builder: Builder, pattern: Compiled, match: Match, shape: tuple[int, ...] | None, numbers: bool
    ) -> Node:
        """What takes the place of a node; from the numbers of conditions, if asked for."""
        arguments: dict[str, Any] = {}
        for name, kind in pattern.kinds.items():
            value = match.binding[name]
            arguments[name] = self._find(builder, value) if kind is Tensor else constant(kind, value)
            if numbers and kind is Tensor and arguments[name].meta["val"].dtype == torch.bool:
                dtype = builder.node.meta["val"].dtype
                arguments[name] = builder.call(aten.to.dtype, arguments[name], dtype)
        when = pattern.pattern.when
        if when is not None:
            seen = {name: v.meta["val"] if isinstance(v, Node) else v for name, v in arguments.items()}
            if not when(**seen):
                raise CannotBuildError
        made = builder.scaled(builder.inline(pattern.pattern, arguments), match.factor)
        for term, part in match.others.items():
            if pattern.term.op == "sum":
                made = builder.call(aten.add.Tensor, made, builder.scaled(self._find(builder, term), part))
            else:
                made = self._times(builder, made, term, part)
        if match.number != 0:
            made = builder.call(aten.add.Tensor, made, match.number)
        return made if shape is None else builder.call(aten.reshape.default, made, list(shape))

    def _times(self, builder: Builder, made: Node, term: Term, exponent: float) -> Node:
        power = product(self.reader.terms, {term: exponent})
        if power in self.nodes:
            return builder.call(aten.mul.Tensor, made, self.nodes[power])
        base = self._find(builder, term)
        if exponent == -1:
            return builder.call(aten.div.Tensor, made, base)
        return builder.call(aten.mul.Tensor, made, builder.call(aten.pow.Tensor_Scalar, base, exponent))

    def _find(self, builder: Builder, term: Term) -> Node:
        """A node that computes a term, made from a multiple of it if need be."""
        if term in self.nodes:
            return self.nodes[term]
        unit, number = self._unit(term)
        if unit in self.multiples:
            node, own = self.multiples[unit]
            return builder.scaled(node, number / own)
        if term in self.reshaped:
            node, shape = self.reshaped[term]
            return builder.call(aten.reshape.default, node, list(shape))
        raise CannotBuildError

    def _holds(self, node: Node, made: Node, builder: Builder) -> bool:
        """Whether the types are those in which rules are about real numbers, and random numbers give the same."""
        inputs = builder.inputs()
        units = {}
        for read in inputs:
            unit, own = self._unit(self.reader.term(read))
            units[unit, read.meta["val"].shape] = read, own
        same: dict[Node, tuple[Node, float]] = {}
        for other in node.graph.nodes:
            if other is node:
                break
            if self.reader.known(other) and isinstance(other.meta.get("val"), Tensor):
                unit, number = self._unit(self.reader.term(other))
                if (unit, other.meta["val"].shape) in units:
                    source, own = units[unit, other.meta["val"].shape]
                    if other.meta["val"].dtype == source.meta["val"].dtype:  # no condition for numbers
                        same[other] = source, number / own
        inner = region(node, {*inputs, *same, *self.reader.numbers})
        if any(n.op != "call_function" or n in self.written for n in inner) or not self.written.isdisjoint(
            inputs
        ):
            return False
        dtype = node.meta["val"].dtype
        values = [
            n.meta.get("val") for n in (*inner, *inputs) if not is_of_a_mask(n)
        ]  # these are 0 and 1 in any type
        if any(isinstance(v, Tensor) and v.is_floating_point() and v.dtype != dtype for v in values):
            return False
        if not agree(node, made, inputs, same, self.reader.numbers):
            return False
        self.replaced.update(dict.fromkeys([n for n in inner if n is not node]))
        return True

    def _remove_unused(self) -> None:
        """Remove what was replaced: the masked scores of a softmax have −∞ in them, of which no bound could be computed.

        Not all that has no users: what enters and leaves torch.func's transforms has none, and is what they consist of.
        """
        for node in reversed(self.graph.nodes):
            if node in self.replaced and not node.users:
                self.graph.erase_node(node)
