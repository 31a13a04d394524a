"""How ATen's operators are read as terms: a table by name.

Several operators become one term where they are one function of real numbers: `rsqrt(x)` is `x ** -0.5`, `log1p(x)` is `log(1 + x)`,
`x.max(-1).values` is `x.amax(-1)`, a standard deviation is the root of a mean of squares.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from lirpa_core.capture.terms.algebra import as_product, product, scaled, total
from lirpa_core.capture.terms.reader import Call, name_of
from lirpa_core.capture.terms.term import Dims, Symbol, Term

#: What is known of one name.
Read = Callable[[Call], Term | None]

# ---------------------------------------------------------------------- arithmetic


def _add(call: Call, sign: float = 1.0) -> Term | None:
    alpha = sign * float(call.get(2, "alpha", 1))
    return call.elementwise(("self", "other"), lambda x, y: _sum(call, x, 1.0, y, alpha))


def _sum(call: Call, x: Term, a: float, y: Term, b: float) -> Term:
    return total(call.reader.terms, {x: a + b} if x is y else {x: a, y: b})


def _rsub(call: Call) -> Term | None:
    alpha = call.get(2, "alpha", 1)
    return call.elementwise(("self", "other"), lambda x, y: _sum(call, x, -float(alpha), y, 1.0))


def _product(call: Call, power: float = 1.0) -> Term | None:
    if call.node.kwargs.get("rounding_mode") is not None or len(call.node.args) > 2:
        return None

    def build(x: Term, y: Term) -> Term:
        return _mean_of_sum(call, product(call.reader.terms, {x: 1 + power} if x is y else {x: 1, y: power}))

    return call.elementwise(("self", "other"), build)


def _mean_of_sum(call: Call, term: Term) -> Term:
    """A sum divided by the number of its terms is their mean."""
    factors, number = as_product(call.reader.terms, term)
    if isinstance(number, Symbol) or list(factors.values()) != [1.0]:
        return term
    (base,) = factors
    if base.op != "add_up" or not isinstance(base.attributes, Counted):
        return term
    n = base.attributes.count
    if n is None or abs(number * n - 1) > 4e-16 * n:
        return term
    return call.reader.terms.make("mean", base.operands, base.attributes.dims)


def _power(call: Call) -> Term | None:
    exponent = call.get(1, "exponent")
    base = call.get(0, "self")
    if isinstance(base, int | float) and not isinstance(exponent, int | float):
        if not base > 0:
            return None
        rate = 1.0 if abs(math.log(base) - 1) < 4e-16 else math.log(base)
        return call.elementwise(
            ("self", "exponent"),
            lambda _, x: call.reader.terms.make("exp", (scaled(call.reader.terms, x, rate),)),
        )
    return _fixed_power(call, float(exponent)) if isinstance(exponent, int | float) else None


def _fixed_power(call: Call, exponent: float) -> Term | None:
    return call.elementwise(("self",), lambda x: product(call.reader.terms, {x: exponent}))


def _negative(call: Call) -> Term | None:
    return call.elementwise(("self",), lambda x: scaled(call.reader.terms, x, -1.0))


# ---------------------------------------------------------------------- functions of one variable


def _function(call: Call) -> Term | None:
    if len(call.node.args) != 1 or any(call.node.kwargs.values()):  # no `inplace`, no parameters
        return None
    name = name_of(call.node)
    return call.elementwise(("self",), lambda x: call.reader.terms.make(name, (x,)))


def _of(
    call: Call, name: str, inner: tuple[float, float] = (1, 0), outer: tuple[float, float] = (1, 0)
) -> Term | None:
    """`a·f(b·x + c) + d`."""
    terms = call.reader.terms

    def build(x: Term) -> Term:
        argument = total(terms, {x: inner[0]}, inner[1])
        return total(terms, {terms.make(name, (argument,)): outer[0]}, outer[1])

    return call.elementwise(("self",), build)


def _gelu(call: Call) -> Term | None:
    kind = call.get(1, "approximate", "none")
    return call.elementwise(("self",), lambda x: call.reader.terms.make("gelu", (x,), kind))


def _maximum(call: Call, name: str) -> Term | None:
    """The maximum of two; with zero, ReLU."""
    terms = call.reader.terms

    def build(x: Term, y: Term) -> Term:
        if name == "maximum" and y.op == "number" and y.attributes == 0:
            return terms.make("relu", (x,))
        if name == "maximum" and x.op == "number" and x.attributes == 0:
            return terms.make("relu", (y,))
        return terms.make(name, (x, y))

    return call.elementwise(("self", "other"), build)


def _clamp(call: Call) -> Term | None:
    low, high = call.get(1, "min"), call.get(2, "max")
    if low is None or high is not None or not isinstance(low, int | float | torch.fx.Node):
        return None
    return _maximum(call, "maximum")


# ---------------------------------------------------------------------- reductions


class Counted:
    """The dimensions of a sum, and how many terms it has."""

    def __init__(self, dims: Dims, count: int | None) -> None:
        self.dims, self.count = dims, count

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counted) and self.dims == other.dims

    def __hash__(self) -> int:
        return hash(self.dims)


def _reduction(call: Call, name: str, keepdim: int = 2, first: int = 1) -> Term | None:
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
    if term.op == "expand":
        return None
    return reader.reshaped(build(term, dims, count), kept, reader.shape(call.node))


def _variance(call: Call, power: float) -> Term | None:
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


def _norm(call: Call, order: int, dim: int, keepdim: int) -> Term | None:
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


def _extreme(call: Call, name: str) -> Term | None:
    """`max(x)`, `max(x, y)`, and `max(x, dim)` with its positions, of which `getitem` takes one."""
    second = call.get(1, "dim", call.node.kwargs.get("other"))
    if isinstance(second, torch.fx.Node) and call.reader.shape(second) is not None:
        return _maximum(call, name)
    if second is None:
        return _reduction(call, "amax" if name == "maximum" else "amin")
    return None


def _getitem(call: Call) -> Term | None:
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


def _along(call: Call, name: str) -> Term | None:
    """Softmax and its logarithm."""
    given, dtype = call.get(1, "dim"), call.get(2, "dtype", call.node.kwargs.get("half_to_float"))
    if dtype not in (None, False):
        return None
    dims = call.dims(given, call.get(0, "self"))
    return None if dims is None else call.reader.terms.make(name, (call.term(0, "self"),), dims)


def _masked_softmax(call: Call) -> Term | None:
    dims = call.dims(call.get(2, "dim"), call.get(0, "self"))
    operands = (call.term(0, "self"), call.term(1, "masked"))
    return None if dims is None else call.reader.terms.make("lirpa::masked_softmax", operands, dims)


# ---------------------------------------------------------------------- choices


def _compare(call: Call, name: str, sign: float) -> Term | None:
    """`x > y` as a difference that is positive."""
    terms = call.reader.terms
    return call.elementwise(
        ("self", "other"), lambda x, y: terms.make(name, (_sum(call, x, sign, y, -sign),))
    )


def _where(call: Call) -> Term | None:
    if len(call.node.args) != 3:
        return None

    def build(condition: Term, x: Term, y: Term) -> Term:
        if condition.op == "logical_not":
            condition, x, y = condition.operands[0], y, x
        return call.reader.terms.make("where", (condition, x, y))

    return call.elementwise(("condition", "self", "other"), build)


def _masked_fill(call: Call) -> Term | None:
    terms = call.reader.terms
    return call.elementwise(("self", "mask", "value"), lambda x, mask, y: terms.make("where", (mask, y, x)))


def _not(call: Call) -> Term | None:
    value = call.get(0, "self")
    given = value.meta.get("val") if isinstance(value, torch.fx.Node) else None
    if isinstance(given, torch.Tensor) and given.dtype != torch.bool:
        return None
    return call.elementwise(("self",), lambda x: call.reader.terms.make("logical_not", (x,)))


# ---------------------------------------------------------------------- shapes and types


def _same(call: Call) -> Term:
    return call.term(0, "self")


def _view(call: Call) -> Term | None:
    operand = call.get(0, "self")
    of, to = call.reader.shape(operand), call.reader.shape(call.node)
    if of is None or to is None:
        return None
    return call.reader.reshaped(call.reader.term(operand), of, to)


def _expand(call: Call) -> Term | None:
    operand = call.get(0, "self")
    of, to = call.reader.shape(operand), call.reader.shape(call.node)
    if of is None or to is None:
        return None
    term = call.reader.term(operand)
    if of == to:
        return term
    if term.op == "expand":
        of, (term,) = term.attributes[0], term.operands
    return call.reader.terms.make("expand", (term,), (of, to))


def _convert(call: Call) -> Term | None:
    """A conversion that keeps the type, or makes numbers of true and false."""
    operand = call.get(0, "self")
    if not isinstance(operand, torch.fx.Node) or call.reader.shape(operand) is None:
        return None
    of, to = operand.meta["val"].dtype, call.node.meta["val"].dtype
    return call.reader.term(operand) if of in (to, torch.bool) else None


def _filled(call: Call, value: float) -> Term:
    return call.reader.terms.number(value)


def _full(call: Call) -> Term | None:
    value = call.get(1, "fill_value")
    return call.reader.terms.number(value) if isinstance(value, int | float) else None


_FUNCTIONS = "exp log sin cos tanh sigmoid erf abs relu silu softplus elu log_sigmoid cosh sinh atan asinh mish hardswish hardsigmoid"
_VIEWS = "view reshape _unsafe_view unsqueeze squeeze flatten unflatten view_as reshape_as"
_IDENTITIES = "clone contiguous alias detach detach_ lift_fresh_copy lift_fresh dropout"  # dropout in evaluation: see `is_random`

#: How an operator is read, by its name; None from a function: it is taken as it stands.
OPERATORS: Mapping[str, Read] = {
    "add": _add,
    "sub": partial(_add, sign=-1.0),
    "rsub": _rsub,
    "mul": _product,
    "div": partial(_product, power=-1.0),
    "neg": _negative,
    "pow": _power,
    "square": partial(_fixed_power, exponent=2.0),
    "sqrt": partial(_fixed_power, exponent=0.5),
    "rsqrt": partial(_fixed_power, exponent=-0.5),
    "reciprocal": partial(_fixed_power, exponent=-1.0),
    **dict.fromkeys(_FUNCTIONS.split(), _function),
    "gelu": _gelu,
    "log1p": partial(_of, name="log", inner=(1, 1)),
    "expm1": partial(_of, name="exp", outer=(1, -1)),
    "erfc": partial(_of, name="erf", outer=(-1, 1)),
    "special_ndtr": partial(_of, name="erf", inner=(math.sqrt(0.5), 0), outer=(0.5, 0.5)),
    "maximum": partial(_maximum, name="maximum"),
    "minimum": partial(_maximum, name="minimum"),
    "clamp": _clamp,
    "clamp_min": partial(_maximum, name="maximum"),
    "clamp_max": partial(_maximum, name="minimum"),
    "max": partial(_extreme, name="maximum"),
    "min": partial(_extreme, name="minimum"),
    "getitem": _getitem,
    "getattr": _getitem,
    "sum": partial(_reduction, name="add_up"),
    "mean": partial(_reduction, name="mean"),
    "amax": partial(_reduction, name="amax"),
    "amin": partial(_reduction, name="amin"),
    "logsumexp": partial(_reduction, name="logsumexp"),
    "var": partial(_variance, power=1.0),
    "std": partial(_variance, power=0.5),
    "norm": partial(_norm, order=1, dim=2, keepdim=3),
    "linalg_vector_norm": partial(_norm, order=1, dim=2, keepdim=3),
    "softmax": partial(_along, name="softmax"),
    "log_softmax": partial(_along, name="log_softmax"),
    "lirpa::masked_softmax": _masked_softmax,
    "gt": partial(_compare, name="positive", sign=1.0),
    "lt": partial(_compare, name="positive", sign=-1.0),
    "ge": partial(_compare, name="not_negative", sign=1.0),
    "le": partial(_compare, name="not_negative", sign=-1.0),
    "where": _where,
    "masked_fill": _masked_fill,
    "logical_not": _not,
    "bitwise_not": _not,
    **dict.fromkeys(_IDENTITIES.split(), _same),
    **dict.fromkeys(_VIEWS.split(), _view),
    "expand": _expand,
    "expand_as": _expand,
    "broadcast_to": _expand,
    "to": _convert,
    "_to_copy": _convert,
    "type_as": _convert,
    "float": _convert,
    "double": _convert,
    "zeros_like": partial(_filled, value=0.0),
    "zeros": partial(_filled, value=0.0),
    "new_zeros": partial(_filled, value=0.0),
    "ones_like": partial(_filled, value=1.0),
    "ones": partial(_filled, value=1.0),
    "new_ones": partial(_filled, value=1.0),
    "full": _full,
    "full_like": _full,
    "new_full": partial(_full),
}
