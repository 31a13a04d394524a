"""Sums and products of terms: in any order, with numbers collected, so that there is one way only to write them.

A sum is a number plus terms times numbers; no term in it is a sum, a number, or a number times something. A product is a number
times powers; no base in it is a product or a number, and of a sum in it the largest factor is one. Powers of powers are combined
where that holds for all real numbers for which the inner one is defined.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from lirpa_core.capture.terms.term import Scalar, Symbol, Term, Terms

#: Terms, and the number that each is multiplied with.
Summands: TypeAlias = dict[Term, Scalar]

#: Bases, and the power that each is raised to.
Factors: TypeAlias = dict[Term, float]


class OpenNumberError(Exception):
    """A pattern does with a number that it leaves open what cannot be undone when it is matched."""


def times(a: Scalar, b: Scalar) -> Scalar:
    """The product of two numbers, one of them open at most."""
    if isinstance(b, Symbol):
        a, b = b, a
    if isinstance(b, Symbol):
        raise OpenNumberError(f"it multiplies the open numbers '{b.name}' and '{a}'")
    return Symbol(a.name, a.factor * b) if isinstance(a, Symbol) else a * b


def plus(a: Scalar, b: Scalar) -> Scalar:
    """The sum of two numbers; an open one only with zero."""
    if isinstance(a, Symbol) or isinstance(b, Symbol):
        if 0 in (a, b):
            return b if a == 0 else a
        raise OpenNumberError(f"it adds the open numbers {a} and {b}")
    return a + b


def as_sum(terms: Terms, term: Term) -> tuple[Summands, Scalar]:
    """The terms of a sum, and its number; any term is a sum, if of one term."""
    if term.op == "number":
        return {}, term.attributes
    if term.op == "sum":
        factors, number = term.attributes
        return dict(zip(term.operands, factors, strict=True)), number
    if term.op == "product" and term.attributes[1] != 1:
        exponents, number = term.attributes
        return {_product(terms, dict(zip(term.operands, exponents, strict=True)), 1.0): number}, 0.0
    return {term: 1.0}, 0.0


def as_product(terms: Terms, term: Term) -> tuple[Factors, Scalar]:
    """The bases of a product with their powers, and its number; any term is a product, if of one factor."""
    if term.op == "number":
        return {}, term.attributes
    if term.op == "product":
        exponents, number = term.attributes
        return dict(zip(term.operands, exponents, strict=True)), number
    if term.op == "sum":
        content = _content(term)
        return ({term: 1.0}, 1.0) if content == 1 else ({scaled(terms, term, 1 / content): 1.0}, content)
    return {term: 1.0}, 1.0


def total(terms: Terms, summands: Mapping[Term, Scalar], number: Scalar = 0.0) -> Term:
    """The sum of terms times numbers, and a number."""
    found: Summands = {}
    for term, factor in summands.items():
        inner, constant = as_sum(terms, term)
        number = plus(number, 0.0 if constant == 0 else times(factor, constant))
        for part, own in inner.items():
            found[part] = plus(found.get(part, 0.0), times(factor, own))
    found = {part: factor for part, factor in found.items() if factor != 0}
    if not found:
        return terms.number(number)
    if len(found) == 1 and number == 0:
        ((only, factor),) = found.items()
        return only if factor == 1 else _product(terms, as_product(terms, only)[0], factor)
    ordered = sorted(found.items(), key=lambda item: id(item[0]))
    return terms.make("sum", tuple([t for t, _ in ordered]), (tuple([f for _, f in ordered]), number))


def scaled(terms: Terms, term: Term, factor: Scalar) -> Term:
    """A term times a number."""
    return term if factor == 1 else total(terms, {term: factor})


def product(terms: Terms, factors: Mapping[Term, float], number: Scalar = 1.0) -> Term:
    """The product of powers, and a number."""
    found: Factors = {}
    for term, exponent in factors.items():
        inner, constant = _power(terms, term, exponent)
        number = times(number, constant) if constant != 1 else number
        for base, own in inner.items():
            found[base] = found.get(base, 0.0) + own
    for base, exponent in list(found.items()):
        if base.op == "exp" and exponent not in (0, 1):  # a power of an exponential is an exponential
            del found[base]
            one = terms.make("exp", (scaled(terms, base.operands[0], exponent),))
            found[one] = found.get(one, 0.0) + 1
    found = {base: exponent for base, exponent in found.items() if exponent != 0}
    if number == 0 or not found:
        return terms.number(number)
    return _product(terms, found, number)


def _product(terms: Terms, factors: Factors, number: Scalar) -> Term:
    if len(factors) == 1:
        ((only, exponent),) = factors.items()
        if exponent == 1 and only.op == "sum":
            return scaled(terms, only, number)
        if exponent == 1 and number == 1:
            return only
    ordered = sorted(factors.items(), key=lambda item: id(item[0]))
    return terms.make("product", tuple([t for t, _ in ordered]), (tuple([e for _, e in ordered]), number))


def _power(terms: Terms, term: Term, exponent: float) -> tuple[Factors, Scalar]:
    """A term raised to a power, as a product."""
    inner, number = as_product(terms, term)
    if exponent == 1:
        return inner, number
    whole = exponent == int(exponent)
    if isinstance(number, Symbol):
        raise OpenNumberError(f"it raises {number} to a power")
    if not inner:
        return (
            ({}, number**exponent)
            if number > 0 or (whole and number != 0)
            else ({terms.number(number): exponent}, 1.0)
        )
    if whole or (number > 0 and _signs(inner) and len(inner) == 1):
        return {base: own * exponent for base, own in inner.items()}, number**exponent
    if number > 0:
        return {_product(terms, inner, 1.0): exponent}, number**exponent
    return {term: exponent}, 1.0


def _signs(factors: Factors) -> bool:
    """Whether a power of these says whether its base is negative, or has none that is: x² does not."""
    return all([exponent % 2 != 0 for exponent in factors.values()])


def _content(term: Term) -> float:
    """What can be taken out of a sum: its largest factor, with the sign that all have."""
    factors, _ = term.attributes
    if any([isinstance(f, Symbol) for f in factors]):
        return 1.0
    largest: float = max(map(abs, factors))
    return -largest if all([f < 0 for f in factors]) else largest
