"""`prove_unary`: certify a unary rule over whole boxes, not only at samples."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from flint import ctx
from torch import Tensor

from lirpa_core.linear import Affine, Interval, Relaxation
from lirpa_core.rules import Call, Rule
from lirpa_testing.proof.jets import Jet
from lirpa_testing.proof.oracle import Oracle, Piece, Smooth
from lirpa_testing.proof.subdivide import (
    BUDGET,
    Enclosures,
    Line,
    Proved,
    Refuted,
    Undecided,
    Verdict,
    decide,
)
from lirpa_testing.proof.table import Arguments, OracleOf, oracle_of

#: Units in the last place of the largest number involved (see `Claims.allowed`) by which a line or the end of
#: an interval may miss the exact function: what rounding may do to them.
ALLOWED_ULPS = 4

_BITS = 128

#: A formula in `Jet`s, an oracle, or a function from the arguments of the call to an oracle.
GivenOracle: TypeAlias = "Callable[[Jet], Jet] | Oracle"

Index: TypeAlias = tuple[int, ...]

Registration: TypeAlias = Literal["lower line", "upper line", "lower end", "upper end"]


@dataclass(frozen=True)
class Finding:
    """One claim about one element that is not proved.

    Attributes:
        index: The element `(example, *position)` of the output.
        claim: What was to be shown.
        line: The line; of slope zero for the end of an interval.
        box: The ends of the element's box.
        verdict: `Refuted` with the point, or `Undecided` with the part that is open.
    """

    index: tuple[int, ...]
    claim: Registration
    line: Line
    box: tuple[float, float]
    verdict: Refuted | Undecided


@dataclass(frozen=True)
class UnaryProof:
    """What `prove_unary` found.

    Attributes:
        elements: Elements looked at, each with its box.
        parts: Parts that the boxes were cut into.
        findings: Claims refuted or undecided; empty if everything is proved.
    """

    elements: int
    parts: int
    findings: tuple[Finding, ...]

    @property
    def proved(self) -> int:
        """Elements of which every claim is proved."""
        return self.elements - len({f.index for f in self.findings})

    @property
    def refuted(self) -> Finding | None:
        """The worst claim that is false."""
        found = [f for f in self.findings if isinstance(f.verdict, Refuted)]
        return max(
            found, key=lambda f: f.verdict.amount if isinstance(f.verdict, Refuted) else 0.0, default=None
        )

    @property
    def verdict(self) -> Literal["proved", "refuted", "undecided"]:
        """All proved, something refuted, or else."""
        return "proved" if not self.findings else "refuted" if self.refuted is not None else "undecided"


def prove_unary(
    rule: Rule,
    call: Call,
    box: Interval,
    oracle: GivenOracle | None = None,
    *,
    ulps: float = ALLOWED_ULPS,
    elements: int | None = None,
    budget: int = BUDGET,
) -> UnaryProof:
    """Prove that a unary rule's interval and lines hold on the whole of a box.

    The rule's own floats are taken as they are, and compared in ball arithmetic with the exact function. They
    may miss it by `ulps` units in the last place of the largest number that they are made of: for a line
    `k x + b` on `[l, u]` that is `|k| max(|l|, |u|) + |b|`, for the end of an interval its own magnitude (and
    for both what `Oracle.magnitude` adds), and at least the smallest normal number.

    Args:
        rule: The rule.
        call: The call, with one operand.
        box: `[B, *S]`, float64 or float32.
        oracle: The function, as a formula in `Jet`s or an `Oracle`; default: that of the operator.
        ulps: The allowance.
        elements: At most so many elements of the box are looked at, evenly spread. Default: all.
        budget: Parts that a box may be cut into for each claim.

    Returns:
        What is proved, refuted and undecided.

    Raises:
        LookupError: No oracle is known for the operator, or the call has more than one operand.
    """
    bounds = bounds_of(rule, call, box)
    return prove_bounds(call, box, *bounds, oracle, ulps=ulps, elements=elements, budget=budget)


def bounds_of(rule: Rule, call: Call, box: Interval) -> tuple[Interval | None, Relaxation | None]:
    """What a rule says about a box, in the modes that it supports."""
    with torch.no_grad():
        interval = rule.interval(call, (box,)) if "interval" in rule.modes else None
        if not {"backward", "forward"} & set(rule.modes):
            return interval, None
        return interval, rule.relax(call, (box if rule.needs_interval(call)[0] else None,))


def prove_bounds(
    call: Call,
    box: Interval,
    interval: Interval | None,
    relaxation: Relaxation | None,
    oracle: GivenOracle | None = None,
    *,
    ulps: float = ALLOWED_ULPS,
    elements: int | None = None,
    budget: int = BUDGET,
) -> UnaryProof:
    """Prove given bounds of a call; otherwise as `prove_unary`.

    Args:
        call: The call.
        box: The box of its operand.
        interval: Claimed to contain all values, if given.
        relaxation: Claimed to be below and above the function, if given.
        oracle: As in `prove_unary`.
        ulps: As in `prove_unary`.
        elements: As in `prove_unary`.
        budget: As in `prove_unary`.
    """
    found = resolve(call, oracle)
    if found is None:
        raise LookupError(f"no oracle for {call.node.target} with {len(call.shapes)} operands: pass oracle=")
    shape = (call.batch, *call.shape)
    lower, upper = (_broadcast(x.detach(), shape) for x in (box.lower, box.upper))
    indices = list(itertools.product(*(range(n) for n in shape)))
    if elements is not None and len(indices) > elements:
        indices = indices[:: -(-len(indices) // elements)]
    claims = list(_claims(call, interval, relaxation, indices))
    limits = torch.finfo(lower.dtype)
    findings, parts = [], 0
    with ctx.workprec(_BITS):
        for index in indices:
            function = found(Arguments(call, index))
            l, u = lower[index].item(), upper[index].item()
            reach = max(abs(l), abs(u))
            adds = max(function.magnitude(l), function.magnitude(u))
            pieces = [(p, Enclosures(p.formula)) for p in function.pieces(l, u)]
            for name, side, slope, bias in claims:
                k, b = slope[index], bias[index]
                allowed = ulps * limits.eps * (abs(k) * reach + abs(b) + adds) + limits.tiny
                line = Line(k, b, side, allowed)
                verdict, looked = _decide(pieces, line, budget)
                parts += looked
                if not isinstance(verdict, Proved):
                    findings.append(Finding(index, name, line, (l, u), verdict))
    return UnaryProof(len(indices), parts, tuple(findings))


def resolve(call: Call, oracle: GivenOracle | None) -> OracleOf | None:
    """The oracle of a call with one operand, if there is one."""
    if len(call.shapes) != 1:
        return None
    if oracle is None:
        return oracle_of(call)
    given = oracle if isinstance(oracle, Oracle) else Smooth(oracle)
    return lambda _: given


def _decide(pieces: list[tuple[Piece, Enclosures]], line: Line, budget: int) -> tuple[Verdict, int]:
    open_: Undecided | None = None
    parts = 0
    for piece, enclosures in pieces:
        verdict = decide(piece, line, enclosures, budget)
        if isinstance(verdict, Refuted):
            return verdict, parts
        if isinstance(verdict, Undecided):
            open_ = verdict
        else:
            parts += verdict.parts
    return (Proved(parts) if open_ is None else open_), parts


#: What is to be shown: name, side, and the line of each element.
_Lines: TypeAlias = "tuple[Registration, Literal[1, -1], Mapping[Index, float], Mapping[Index, float]]"


def _claims(
    call: Call, interval: Interval | None, relaxation: Relaxation | None, indices: list[Index]
) -> Iterator[_Lines]:
    shape = (call.batch, *call.shape)
    zero = dict.fromkeys(indices, 0.0)

    def pick(x: Tensor) -> dict[Index, float]:
        full = _broadcast(x.detach(), shape)
        return {index: full[index].item() for index in indices}

    if interval is not None:
        yield "lower end", 1, zero, pick(interval.lower)
        yield "upper end", -1, zero, pick(interval.upper)
    if relaxation is not None:
        sides: list[tuple[Registration, Literal[1, -1], Affine]] = [
            ("lower line", 1, relaxation.lower),
            ("upper line", -1, relaxation.upper),
        ]
        for name, side, affine in sides:
            bias = zero if affine.bias is None else pick(affine.bias)
            yield name, side, _slopes(call, affine, indices), bias


def _slopes(call: Call, affine: Affine, indices: list[Index]) -> dict[Index, float]:
    """The coefficient of each output's own input. All others have to be zero."""
    (term,) = affine.terms
    if term is None:
        return dict.fromkeys(indices, 0.0)
    S, S_in = call.shape, call.shapes[0]
    inputs = torch.arange(math.prod(S_in)).reshape(S_in).expand(S).flatten()  # [out], which input it reads
    elements = sorted({index[1:] for index in indices})
    outputs = [_flat(element, S) for element in elements]
    rows = torch.zeros(len(elements), call.batch, math.prod(S), dtype=call.slot_dtype(0))
    rows[range(len(elements)), :, outputs] = 1
    columns = term.transpose(rows.reshape(len(elements), call.batch, *S))
    columns = columns.expand(len(elements), call.batch, *S_in).flatten(2)  # [out, B, in]
    own = columns[range(len(elements)), :, inputs[outputs]]  # [out, B]
    others = columns.clone()
    others[range(len(elements)), :, inputs[outputs]] = 0
    if bool((others != 0).any()):
        raise LookupError(
            f"{call.node.target}: the lines are not elementwise: an output depends on several inputs"
        )
    at = {place: i for i, place in enumerate(elements)}
    return {index: own[at[index[1:]], index[0]].item() for index in indices}


def _flat(place: tuple[int, ...], shape: tuple[int, ...]) -> int:
    position = 0
    for i, n in zip(place, shape, strict=True):
        position = position * n + i
    return position


def _broadcast(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`[1 or B, *S_i]` to `[B, *S]`, aligned at the right behind the batch."""
    missing = len(shape) - x.dim()
    return x.reshape(x.shape[0], *(1,) * missing, *x.shape[1:]).expand(shape)
