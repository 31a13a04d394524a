"""Reductions, read as terms whose dimensions are kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from lirpa_core.capture.terms.algebra import product, total
from lirpa_core.capture.terms.arithmetic import maximum
from lirpa_core.capture.terms.reader import Call, name_of
from lirpa_core.capture.terms.term import Counted, Dims, Term


def reduction(call: Call, name: str, keepdim: int = 2, first: int = 1) -> Term | None:
    """A reduction with its dimensions kept, in another shape where they are not."""
    if call.node.kwargs.get("dtype") is not None:
        return None
    operand = call.get(0, "self")
    return _reduced(
        call,
        operand,
        call.get(first, "dim"),
        call.get(keepdim, "keepdim", False),
        partial(_plain, call, name),
    )


def _plain(call: Call, name: str, x: Term, dims: Dims, count: int | None) -> Term:
    return call.reader.terms.make(name, (x,), Counted(dims, count) if name == "add_up" else dims)


def _reduced(
    call: Call, operand: Any, given: Any, keepdim: Any, build: Callable[[Term, Dims, int | None], Term]
) -> Term | None:
    reader = call.reader
    if not isinstance(keepdim, bool):
        return None
    if isinstance(operand, (list, tuple)):
        return None
    dims = call.dims(given, operand)
    shape = reader.shape(operand)
    if dims is None or (shape is None and not (keepdim or dims.every)):
        return None
    count = None
    kept = shape
    if shape is not None:
        assert isinstance(dims.of, tuple)
        count = math.prod([shape[d] for d in dims.of])
        kept = tuple([1 if d - len(shape) in dims.of else n for d, n in enumerate(shape)])
    term = reader.term(operand)
    if term.op == "expand" or (
        term.op == "number" and shape
    ):  # how many there are does not follow from the term
        return None
    return reader.reshaped(build(term, dims, count), kept, reader.shape(call.node))


def variance(call: Call, power: float) -> Term | None:
    """The mean of squares of what is left without the mean, with the correction of the count."""
    node, operand = call.node, call.get(0, "self")
    overload = getattr(node.target, "_overloadname", None)
    given = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    stated: Any
    if isinstance(given, bool):  # var(x, unbiased)
        given, stated = None, given
    elif "correction" in node.kwargs or overload in ("correction", None):
        stated = node.kwargs.get("correction", node.kwargs.get("unbiased"))
    else:
        stated = call.get(2, "unbiased")
    correction = 1.0 if stated is None else float(stated)
    keepdim = node.kwargs.get("keepdim", node.args[3] if len(node.args) > 3 else False)
    terms = call.reader.terms

    def build(x: Term, dims: Dims, count: int | None) -> Term:
        centred = total(terms, {x: 1.0, terms.make("mean", (x,), dims): -1.0})
        found = terms.make("mean", (product(terms, {centred: 2}),), dims)
        factor = 1.0 if correction == 0 or count is None else count / (count - correction)
        return product(terms, {found: power}, factor**power)

    shape = call.reader.shape(operand)
    if correction != 0:
        dims = call.dims(given, operand)
        if shape is None or dims is None or not isinstance(dims.of, tuple):
            return None
        if math.prod([shape[d] for d in dims.of]) <= correction:
            return None
    return _reduced(call, operand, given, keepdim, build)


def norm(call: Call, order: int, dim: int, keepdim: int) -> Term | None:
    """The root of a sum of squares."""
    given = call.get(order, "ord", call.node.kwargs.get("p", 2))
    if given not in (None, 2, "fro") or call.node.kwargs.get("dtype") is not None:
        return None
    terms = call.reader.terms

    def build(x: Term, dims: Dims, count: int | None) -> Term:
        squares = terms.make("add_up", (product(terms, {x: 2}),), Counted(dims, count))
        return product(terms, {squares: 0.5})

    return _reduced(
        call, call.get(0, "self"), call.get(dim, "dim"), call.get(keepdim, "keepdim", False), build
    )


def extreme(call: Call, name: str) -> Term | None:
    """`max(x)`, `max(x, y)`, and `max(x, dim)` with its positions, of which `getitem` takes one."""
    second = call.get(1, "dim", call.node.kwargs.get("other"))
    if isinstance(second, torch.fx.Node) and call.reader.shape(second) is not None:
        return maximum(call, name)
    if second is None:
        return reduction(call, "amax" if name == "maximum" else "amin")
    return None


def getitem(call: Call) -> Term | None:
    """The values of a maximum along a dimension."""
    source, index = call.node.args
    if not isinstance(source, torch.fx.Node) or index not in (0, "values") or source.op == "placeholder":
        return None
    name = name_of(source)
    if name not in ("max", "min"):
        return None
    own = Call(call.reader, source)
    dim = own.get(1, "dim")
    if dim is None or (isinstance(dim, torch.fx.Node) and call.reader.shape(dim) is not None):
        return None
    found = partial(_plain, call, "amax" if name == "max" else "amin")
    return _reduced(call, own.get(0, "self"), dim, own.get(2, "keepdim", False), found)


def softmax(call: Call, name: str) -> Term | None:
    """Softmax and its logarithm."""
    given, dtype = call.get(1, "dim"), call.get(2, "dtype", call.node.kwargs.get("half_to_float"))
    if dtype not in (None, False):
        return None
    dims = call.dims(given, call.get(0, "self"))
    if dims is None or (call.term(0, "self").op == "number" and call.reader.shape(call.get(0, "self"))):
        return None
    return call.reader.terms.make(name, (call.term(0, "self"),), dims)


def masked_softmax(call: Call) -> Term | None:
    """Softmax without what a mask leaves out."""
    dims = call.dims(call.get(2, "dim"), call.get(0, "self"))
    operands = (call.term(0, "self"), call.term(1, "masked"))
    if "number" in [term.op for term in operands] and call.reader.shape(call.get(0, "self")):
        return None
    return None if dims is None else call.reader.terms.make("lirpa::masked_softmax", operands, dims)
