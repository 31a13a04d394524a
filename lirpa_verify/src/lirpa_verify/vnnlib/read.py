"""VNN-LIB files as input boxes with properties.

Demarchi et al., "Supporting standardization of neural networks verification with VNN-LIB and CoCoNet"
(2023) describes version 1.0; version 2.0 is at https://www.vnnlib.org.
"""

from __future__ import annotations

import gzip
import itertools
import json
import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import vnnlib as parser

from lirpa_verify.errors import PropertyError
from lirpa_verify.properties.box import Box
from lirpa_verify.properties.linear import Inequality
from lirpa_verify.properties.property import Property
from lirpa_verify.vnnlib.terms import Offsets, alternatives
from lirpa_verify.vnnlib.upgrade import as_version_2

#: So many combinations of alternatives of different assertions are written out.
_MOST_DISJUNCTS = 1_000_000


@dataclass(frozen=True)
class Case:
    """Violations that are to be excluded over one box of inputs."""

    box: Box
    property: Property


@dataclass(frozen=True)
class Query:
    """What a VNN-LIB file asks: whether any of its cases has a violation.

    Attributes:
        cases: The boxes, each with its violations.
        inputs: Number of inputs, all tensors together.
        outputs: Number of outputs, all tensors together.
    """

    cases: tuple[Case, ...]
    inputs: int
    outputs: int


def read_vnnlib(path: str | Path) -> Query:
    """Read a property file, gzipped or not.

    Raises:
        PropertyError: If it cannot be read or asks for something that is not supported; says where.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise PropertyError(f"cannot read the property file {path}: {error}") from error
    try:
        return parse_vnnlib(text)
    except PropertyError as error:
        raise PropertyError(f"{path}: {error}") from error


def parse_vnnlib(text: str) -> Query:
    """The query that a VNN-LIB text asks.

    Raises:
        PropertyError: If it is ill-formed, leaves an input without limits, or is not supported.
    """
    try:
        parsed = parser.parse_query_string(as_version_2(text))
    except parser.VNNLibException as error:
        raise PropertyError(f"not a VNN-LIB property: {_described(str(error))}") from error
    except IndexError as error:  # `stod` of the parser, which also reads numbers as doubles
        raise PropertyError(
            "VNN-LIB: a number is too large for a double, or too small for a normal one; write 0 for one of these, and leave out "
            "a limit that nothing reaches"
        ) from error
    inputs, outputs, offsets = _variables(parsed)
    common: list[Inequality] = []
    choices: list[list[list[Inequality]]] = []
    for assertion in parsed.assertions:
        disjuncts = _disjuncts(assertion.expr, offsets)
        if len(disjuncts) == 1:
            common += disjuncts[0]
        else:
            choices.append(disjuncts)
    if math.prod(map(len, choices)) > _MOST_DISJUNCTS:
        raise PropertyError(f"the assertions have more than {_MOST_DISJUNCTS} combinations of alternatives")
    return Query(_cases(common, choices, inputs), inputs, outputs)


def _described(message: str) -> str:
    """What the parser says: plain text for syntax, JSON for everything else."""
    try:
        found = json.loads(message)["errors"]
    except (ValueError, KeyError, TypeError):
        return message
    return "; ".join(f"line {e['line']}: {e['message']} {e['offendingSymbol']!r}: {e['hint']}" for e in found)


def _variables(parsed: Any) -> tuple[int, int, Offsets]:
    """Numbers of inputs and outputs, and where the elements of each variable begin."""
    if len(parsed.networks) != 1:
        raise PropertyError(f"properties of {len(parsed.networks)} networks are not supported, only of one")
    network = parsed.networks[0]
    if network.hidden:
        raise PropertyError(f"conditions on hidden nodes ({network.hidden[0].name}) are not supported")
    offsets: dict[str, int] = {}
    sizes = []
    for definitions in (network.inputs, network.outputs):
        size = 0
        for definition in definitions:
            offsets[definition.name] = size
            size += math.prod(definition.shape)
        sizes.append(size)
    return sizes[0], sizes[1], offsets


def _disjuncts(expression: Any, offsets: Offsets) -> list[list[Inequality]]:
    """A Boolean expression as a disjunction of conjunctions."""
    return [
        [i for part in choice for i in part]
        for comparisons in expression.to_dnf()
        for choice in itertools.product(*(alternatives(c, offsets) for c in comparisons))
    ]


def _cases(
    common: Sequence[Inequality], choices: Sequence[list[list[Inequality]]], inputs: int
) -> tuple[Case, ...]:
    limits = _Limits.unlimited(inputs)
    shared = tuple(i for i in common if not limits.add(i))
    violations: dict[Box, list[tuple[Inequality, ...]]] = {}
    if all(not _is_limit(i) for c in choices for d in c for i in d):  # one box, which takes long to be a key
        combined = [shared + tuple(itertools.chain(*choice)) for choice in itertools.product(*choices)]
        violations[limits.box()] = combined
    else:
        for choice in itertools.product(*choices):
            own = limits.copy()
            rest = tuple(i for part in choice for i in part if not own.add(i))
            violations.setdefault(own.box(), []).append(shared + rest)
    empty = [box for box in violations if box.is_empty]
    if len(empty) == len(violations):
        raise PropertyError(_describe_empty(empty[0]))
    return tuple(Case(box, Property(tuple(v))) for box, v in violations.items() if not box.is_empty)


def _describe_empty(box: Box) -> str:
    i = next(i for i, (low, high) in enumerate(zip(box.lower, box.upper, strict=True)) if low > high)
    return (
        f"the set of inputs is empty: input {i} must be at least {float(box.lower[i])} and at most "
        f"{float(box.upper[i])}"
    )


def _is_limit(inequality: Inequality) -> bool:
    """Whether it limits one input and says nothing else."""
    return not inequality.outputs and len(inequality.inputs) == 1


@dataclass
class _Limits:
    """Limits of inputs, while they are being collected."""

    lower: list[Fraction | None]
    upper: list[Fraction | None]

    @classmethod
    def unlimited(cls, inputs: int) -> _Limits:
        return cls([None] * inputs, [None] * inputs)

    def copy(self) -> _Limits:
        return _Limits(self.lower.copy(), self.upper.copy())

    def add(self, inequality: Inequality) -> bool:
        """Take a limit in; whether the box says all of it (a strict limit must be kept as well)."""
        if not _is_limit(inequality):
            return False
        ((i, a),) = inequality.inputs
        limit = (
            -inequality.constant if a == 1 else inequality.constant if a == -1 else -inequality.constant / a
        )
        old = (self.lower if a > 0 else self.upper)[i]
        if a > 0:
            self.lower[i] = limit if old is None else max(old, limit)
        else:
            self.upper[i] = limit if old is None else min(old, limit)
        return not inequality.strict

    def box(self) -> Box:
        return Box(_complete(self.lower, "lower"), _complete(self.upper, "upper"))


def _complete(limits: Iterable[Fraction | None], side: str) -> tuple[Fraction, ...]:
    found = []
    for i, limit in enumerate(limits):
        if limit is None:
            raise PropertyError(f"input {i} has no {side} limit; every input needs both")
        found.append(limit)
    return tuple(found)
