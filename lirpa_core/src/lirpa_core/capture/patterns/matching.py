"""Where the term of a pattern is found in the terms of a program."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any, cast

from lirpa_core.capture.patterns import numbers
from lirpa_core.capture.patterns.numbers import Binding, Known
from lirpa_core.capture.terms import Scalar, Symbol, Term, Terms, as_product, as_sum, product, total
from lirpa_core.capture.terms.algebra import Factors

#: Operators whose two operands may change places.
_COMMUTATIVE = frozenset({"maximum", "minimum"})


@dataclass(frozen=True, eq=False)
class Match:
    """`factor · pattern · others` or `factor · pattern + others`, which is what a term computes.

    Attributes:
        binding: What stands for each parameter: a term, a number, or dimensions.
        factor: The number.
        others: The other factors with their powers, or the other summands with their numbers.
        number: The number among the other summands.
    """

    binding: Binding
    factor: float = 1.0
    others: Mapping[Term, Any] = field(default_factory=dict)
    number: float = 0.0


@dataclass(frozen=True, eq=False)
class Matcher:
    """Compares terms of a pattern with terms of a program.

    Attributes:
        own: Terms of the pattern.
        given: Terms of the program.
        open: Terms of the pattern that are matched after others.
    """

    own: Terms
    given: Terms
    open: Collection[Term] = ()

    def _known_sum(self, term: Term) -> tuple[dict[Term, float], float]:
        """A sum of the program, in which no number is open."""
        return cast(tuple[dict[Term, float], float], as_sum(self.given, term))

    def _known_product(self, term: Term) -> tuple[Factors, float]:
        """A product of the program, in which no number is open."""
        return cast(tuple[Factors, float], as_product(self.given, term))

    def _composed(self, parts: Mapping[Term, Any]) -> list[tuple[Term, Any]]:
        """What is no variable, in an order in which variables become known."""
        return sorted(
            [item for item in parts.items() if not _bare(item[0])], key=lambda item: item[0] in self.open
        )

    def matches(self, pattern: Term, term: Term) -> Iterator[Match]:
        """Every way in which a pattern is a term, or a part of a sum or of a product."""
        if pattern.op == "sum":
            if term.op == "sum":
                yield from self._part_of_sum(pattern, term)
        elif term.op in ("product", "sum") or pattern.op == "product":
            yield from self._part_of_product(pattern, term)
        else:
            for binding in self.match(pattern, term, {}):
                yield Match(binding)

    def match(self, pattern: Term, term: Term, known: Binding) -> Iterator[Binding]:
        """Every way in which a pattern is a whole term, given what some variables stand for."""
        if pattern.op == "variable":
            yield from self._variable(pattern.attributes, term, known)
        elif pattern.op == "number":
            if term.op == "number":
                yield from numbers.number(pattern.attributes, term.attributes, known)
        elif pattern.op == "sum":
            yield from self._sum(pattern, term, known)
        elif pattern.op == "product":
            yield from self._product(pattern, term, known)
        elif pattern.op == term.op and len(pattern.operands) == len(term.operands):
            for binding in numbers.attributes(pattern.attributes, term.attributes, known):
                for operands in self._orders(term):
                    yield from self._all(pattern.operands, operands, binding)

    def _orders(self, term: Term) -> Iterator[Sequence[Term]]:
        yield from permutations(term.operands) if term.op in _COMMUTATIVE else (term.operands,)
        if term.op == "where":  # the choice the other way round
            condition, x, y = term.operands
            opposite = {"positive": "not_negative", "not_negative": "positive"}.get(condition.op)
            if opposite is not None:
                difference = total(self.given, {condition.operands[0]: -1.0})
                yield self.given.make(opposite, (difference,)), y, x

    def _all(self, patterns: Sequence[Term], terms: Sequence[Term], known: Binding) -> Iterator[Binding]:
        if not patterns:
            yield known
            return
        for binding in self.match(patterns[0], terms[0], known):
            yield from self._all(patterns[1:], terms[1:], binding)

    def _variable(self, name: str, term: Term, known: Binding) -> Iterator[Binding]:
        if name in known:
            if known[name] is term:
                yield known
        elif term.op != "number":
            yield {**known, name: term}

    # ------------------------------------------------------------------ sums

    def _sum(self, pattern: Term, term: Term, known: Binding) -> Iterator[Binding]:
        """A whole sum."""
        summands, number = self._known_sum(term)
        for match in self._summands(pattern, summands, number, known, 1.0, whole=True):
            yield match.binding

    def _part_of_sum(self, pattern: Term, term: Term) -> Iterator[Match]:
        """A part of a sum, times a number."""
        summands, number = self._known_sum(term)
        own, _ = as_sum(self.own, pattern)
        first, factor = next((item for item in own.items() if not _bare(item[0])), (None, 1.0))
        if first is None or isinstance(factor, Symbol):
            scales: set[float] = {1.0}
        else:
            scales = {
                gf / factor for t, gf in summands.items() if t.op == first.op and not isinstance(gf, Symbol)
            }
        for scale in sorted(scales, key=lambda s: (s != 1, s)):
            yield from self._summands(pattern, summands, number, {}, scale, whole=False)

    def _summands(
        self, pattern: Term, summands: Known, number: float, known: Binding, scale: float, *, whole: bool
    ) -> Iterator[Match]:
        own, constant = as_sum(self.own, pattern)
        composed = self._composed(own)
        bare = [item for item in own.items() if _bare(item[0])]

        def composed_ones(i: int, left: Known, binding: Binding) -> Iterator[tuple[Known, Binding]]:
            if i == len(composed):
                yield left, binding
                return
            wanted, factor = composed[i]
            for term, given in left.items():
                for bound in numbers.scaled_number(factor, given, scale, binding):
                    for found in self.match(wanted, term, bound):
                        yield from composed_ones(
                            i + 1, {t: f for t, f in left.items() if t is not term}, found
                        )

        for left, binding in composed_ones(0, summands, known):
            yield from self._bare_summands(bare, constant, left, number, binding, scale, whole=whole)

    def _bare_summands(
        self,
        bare: list[tuple[Term, Scalar]],
        constant: Scalar,
        left: Known,
        number: float,
        binding: Binding,
        scale: float,
        *,
        whole: bool,
    ) -> Iterator[Match]:
        open_ones = []
        for variable, factor in bare:
            value = binding.get(variable.attributes)
            if value is None:
                open_ones.append((variable, factor))
                continue
            inner, inner_number = self._known_sum(value)
            share = numbers.share(inner, left)
            if isinstance(factor, Symbol) and factor.name not in binding:
                if share is None:
                    return
                binding = {**binding, factor.name: share / factor.factor / scale}
            wanted = scale * numbers.value(factor, binding)
            if share is None or not numbers.close(share, wanted):
                return
            left = {t: f for t, f in left.items() if t not in inner}
            number = numbers.difference(number, wanted * inner_number)
        if len(open_ones) > 1:
            return
        if isinstance(constant, Symbol):
            if open_ones or number == 0:
                return
            for bound in numbers.scaled_number(constant, number, scale, binding):
                binding, number = bound, 0.0
        else:
            number = numbers.difference(number, scale * constant)
        if open_ones:
            ((variable, factor),) = open_ones
            if isinstance(factor, Symbol) or not left:
                return
            rest = total(
                self.given, {t: f / (factor * scale) for t, f in left.items()}, number / (factor * scale)
            )
            yield Match({**binding, variable.attributes: rest}, scale)
        elif not whole:
            yield Match(binding, scale, left, number)
        elif not left and number == 0:
            yield Match(binding, scale)

    # ------------------------------------------------------------------ products

    def _product(self, pattern: Term, term: Term, known: Binding) -> Iterator[Binding]:
        """A whole product."""
        own, number = as_product(self.own, pattern)
        factors, given = self._known_product(term)
        for left, binding, rest in self._factors(own, factors, known):
            if left:
                continue
            yield from numbers.number(number, given / rest, binding)
        if len(own) == 1 and not isinstance(number, Symbol):
            yield from self._open_product(own, number, factors, given, known)

    def _open_product(
        self, own: Factors, number: float, factors: Factors, given: float, known: Binding
    ) -> Iterator[Binding]:
        """A variable that stands for all that there is: a number times a power."""
        ((variable, exponent),) = own.items()
        if not _bare(variable) or variable.attributes in known:
            return
        ratio = given / number
        if exponent != 1 and not (ratio > 0 and all([f % exponent == 0 for f in factors.values()])):
            return
        root = product(self.given, {t: f / exponent for t, f in factors.items()}, ratio ** (1 / exponent))
        if root.op != "number":
            yield {**known, variable.attributes: root}

    def _part_of_product(self, pattern: Term, term: Term) -> Iterator[Match]:
        """A part of a product."""
        own, number = as_product(self.own, pattern)
        factors, given = self._known_product(term)
        if isinstance(number, Symbol):
            return
        for left, binding, rest in self._factors(own, factors, {}):
            yield Match(binding, given / number / rest, left)

    def _factors(
        self, own: Factors, factors: Factors, known: Binding
    ) -> Iterator[tuple[Factors, Binding, float]]:
        """What is left of factors, the binding, and the number that variables brought."""
        composed = self._composed(own)
        bare = [item for item in own.items() if _bare(item[0])]

        def composed_ones(i: int, left: Factors, binding: Binding) -> Iterator[tuple[Factors, Binding]]:
            if i == len(composed):
                yield left, binding
                return
            wanted, exponent = composed[i]
            for term, power in left.items():
                if power == exponent:
                    for found in self.match(wanted, term, binding):
                        yield from composed_ones(
                            i + 1, {t: p for t, p in left.items() if t is not term}, found
                        )

        for left, binding in composed_ones(0, factors, known):
            rest = 1.0
            remaining = dict(left)
            for variable, exponent in bare:
                value = binding.get(variable.attributes)
                if value is None:
                    break
                inner, number = self._known_product(value)
                if any([remaining.get(t) != p * exponent for t, p in inner.items()]):
                    break
                if not number > 0 and exponent != int(exponent):
                    break
                for t in inner:
                    del remaining[t]
                rest *= number**exponent
            else:
                yield remaining, binding, rest


def _bare(term: Term) -> bool:
    return term.op == "variable"
