"""Numbers and dimensions of a pattern and of a program: whether they agree, and what open ones stand for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from lirpa_core.capture.terms import Dims, Scalar, Symbol, Term
from lirpa_core.capture.terms.term import Counted

#: What stands for each variable and symbol of a pattern.
Binding: TypeAlias = Mapping[str, Any]

#: Summands of the program, and their numbers.
Known: TypeAlias = Mapping[Term, float]

#: How far numbers may be apart, relatively: `1 / 1.4142135623730951` is not `0.7071067811865476`.
_ROUNDING = 2**-50


def close(a: float, b: float) -> bool:
    """Whether two numbers differ by rounding at most; infinity is like no number."""
    return a == b or (math.isfinite(a) and math.isfinite(b) and abs(a - b) <= _ROUNDING * max(abs(a), abs(b)))


def difference(a: float, b: float) -> float:
    """`a − b`; zero where they differ by rounding."""
    return 0.0 if close(a, b) else a - b


def value(factor: Scalar, binding: Binding) -> float:
    """A number, open ones as they are bound."""
    return factor.factor * binding[factor.name] if isinstance(factor, Symbol) else factor


def share(inner: Known, left: Known) -> float | None:
    """The number by which all of a sum's terms are found among others."""
    shares = [left[t] / f if t in left else math.nan for t, f in inner.items()]
    return shares[0] if shares and all([close(s, shares[0]) for s in shares]) else None


def number(wanted: Scalar, given: float, known: Binding) -> Iterator[Binding]:
    """Whether a number is that of a pattern."""
    yield from scaled_number(wanted, given, 1.0, known)


def scaled_number(wanted: Scalar, given: float, scale: float, known: Binding) -> Iterator[Binding]:
    """Whether a number is a pattern's number times another one."""
    if not isinstance(wanted, Symbol):
        if close(given, wanted * scale):
            yield known
        return
    value = given / (wanted.factor * scale)
    if wanted.name not in known:
        yield {**known, wanted.name: value}
    elif close(known[wanted.name], value):
        yield known


def attributes(wanted: Any, given: Any, known: Binding) -> Iterator[Binding]:
    """Whether attributes of operators are those of a pattern."""
    if isinstance(wanted, Counted):
        wanted, given = wanted.dims, given.dims
    if not isinstance(wanted, Dims):
        if wanted == given:
            yield known
    elif wanted.of is None:
        if given.every:
            yield known
    elif not isinstance(wanted.of, str):
        if wanted.of == given.of:
            yield known
    elif wanted.of not in known:
        yield {**known, wanted.of: given.of}
    elif known[wanted.of] == given.of:
        yield known
