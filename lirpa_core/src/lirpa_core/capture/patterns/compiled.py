"""A pattern as a term."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.fx.proxy import GraphAppendingTracer

from lirpa_core.capture.terms import Term, TermReader, Terms
from lirpa_core.capture.terms.algebra import OpenNumberError
from lirpa_core.capture.terms.operators import OPERATORS
from lirpa_core.errors import PluginError
from lirpa_core.plugins import Pattern


@dataclass(frozen=True, eq=False, repr=False)
class Compiled:
    """What is looked for.

    Attributes:
        pattern: The pattern.
        term: What it computes, with variables for its tensors and symbols for its numbers.
        terms: All terms of the pattern.
        kinds: What each parameter stands for.
        open: Terms that can be matched only when others have said what their variables stand for.
        size: How many different terms there are; larger patterns are tried first.
    """

    pattern: Pattern
    term: Term
    terms: Terms
    kinds: dict[str, Any]
    open: frozenset[Term]
    size: int


@cache
def compiled(pattern: Pattern) -> Compiled:
    """Trace what a pattern looks for.

    Raises:
        PluginError: If it does what no pattern can.
    """
    kinds = dict(pattern.parameters())
    try:
        graph = _traced(pattern.written, kinds)
    except Exception as error:
        raise _refused(
            pattern, f"it cannot be traced ({type(error).__name__}: {error}); it may not branch"
        ) from error
    inputs = {n: str(n.target) for n in graph.nodes if n.op == "placeholder"}
    reader = TermReader(
        OPERATORS,
        variables={n: name for n, name in inputs.items() if kinds[name] is Tensor},
        symbols={n: name for n, name in inputs.items() if kinds[name] is not Tensor},
    )
    (result,) = next(n for n in graph.nodes if n.op == "output").args
    if not isinstance(result, Node):
        raise _refused(pattern, f"it returns {result!r} instead of one tensor")
    try:
        term = reader.term(result)
    except OpenNumberError as error:
        raise _refused(pattern, str(error)) from None
    parts = _parts(pattern, term)
    unsettled = frozenset([t for t in parts if any([_is_open(inner) for inner in _below(t)])])
    return Compiled(pattern, term, reader.terms, kinds, unsettled, len(parts))


def _traced(written: Callable[..., Tensor], parameters: Iterable[str]) -> torch.fx.Graph:
    """What a function does to its arguments.

    `torch.fx.Tracer` wraps functions of other modules around every trace, which takes ten times as long as running the
    pattern. Few patterns need that, such as those that call `math.sqrt` of a number.
    """
    graph = torch.fx.Graph()
    tracer = GraphAppendingTracer(graph)
    try:
        found = written(*[torch.fx.Proxy(graph.placeholder(name), tracer) for name in parameters])
        graph.output(tracer.create_arg(found))
    except Exception:  # noqa: BLE001 - whatever it is, PyTorch's tracer gets along, or says what is wrong
        return torch.fx.Tracer().trace(written)
    return graph


def by_size(patterns: Sequence[Pattern]) -> list[Compiled]:
    """Patterns in the order in which they are tried."""
    return sorted([compiled(p) for p in patterns], key=lambda c: (-c.size, c.pattern.name))


def _parts(pattern: Pattern, root: Term) -> list[Term]:
    """The terms that a pattern is made of, all of which have to be of a kind that is found in programs."""
    found = _below(root)
    for term in found:
        if term.op == "node":
            raise _refused(
                pattern,
                f"it calls {term.attributes.target}, of which no pattern knows; use arithmetic, functions of torch that work "
                "element by element, reductions that keep their dimensions, or operators as torch.ops.aten.name.overload",
            )
    if root.op in ("variable", "number"):
        raise _refused(pattern, "it computes nothing")
    return found


def _below(root: Term) -> list[Term]:
    found: dict[Term, None] = {}
    todo = [root]
    while todo:
        term = todo.pop()
        if term not in found:
            found[term] = None
            todo.extend(term.operands)
    return list(found)


def _is_open(term: Term) -> bool:
    """Whether several variables are what a sum or a product is made of, so that it does not say which is which."""
    return term.op in ("sum", "product") and sum([t.op == "variable" for t in term.operands]) > 1


def _refused(pattern: Pattern, why: str) -> PluginError:
    return PluginError(f"pattern {pattern.name!r} ({pattern.written.__qualname__}): {why}")
