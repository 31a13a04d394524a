"""Kernels: structured coefficients backpropagated through a linear operator are what dense ones would be."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from lirpa_core.linear import Interval
from lirpa_core.linear.coefficients import Coefficients
from lirpa_core.linear.operators import LinearOp
from lirpa_core.plugins import KernelEntry, Registry, key_label
from lirpa_core.rules import Call
from lirpa_testing.conformance.cases import CoefficientsCase, RuleCase
from lirpa_testing.report import CoefficientsViolation
from lirpa_testing.rules.calls import describe
from lirpa_testing.tolerance import allowance

_BATCH = 3


def check_kernel(
    entry: KernelEntry,
    cases: Sequence[RuleCase],
    structures: Sequence[CoefficientsCase],
    terms: Terms,
    *,
    seed: int = 0,
) -> int:
    """Compare what a kernel makes with the dense result, at every call and structure.

    Args:
        entry: The kernel.
        cases: Calls of its operator.
        structures: Structures that it may be offered.
        terms: The linear operators of the calls.
        seed: Seed of the random boxes.

    Returns:
        How often it returned something else than None.

    Raises:
        CoefficientsViolation: Naming the operator, the structure and the first difference.
    """
    tried = 0
    for case in cases:
        for term in terms.of(case, seed):
            if term.key != entry.op_key:
                continue
            for structure in structures:
                made = structure.make(case.call.shape)
                if made is not None and made.batch in (1, term_batch(case.call)):
                    tried += _compare(entry, term, made, case.call, f"{case.name}, {structure.name}")
    return tried


def term_batch(call: Call) -> int:
    """How many examples a call is tried with."""
    return max((c.value.shape[0] for c in call.constants if c.batched), default=_BATCH)


@dataclass(frozen=True, eq=False)
class Terms:
    """The linear operators in the relaxations of calls, each call relaxed once, however many kernels are tried on it.

    Attributes:
        registry: Where the rules are.
        found: Those that were found, by case and seed.
    """

    registry: Registry
    found: dict[tuple[RuleCase, int], tuple[LinearOp, ...]] = field(default_factory=dict)

    def of(self, case: RuleCase, seed: int) -> tuple[LinearOp, ...]:
        """The linear operators of a call on random boxes."""
        if (case, seed) not in self.found:
            self.found[case, seed] = tuple(self._relaxed(case, seed))
        return self.found[case, seed]

    def _relaxed(self, case: RuleCase, seed: int) -> Iterator[LinearOp]:
        rule = self.registry.rule_for(case.call.node.target)
        if rule is None:
            return
        call = dataclasses.replace(case.call, batch=term_batch(case.call))
        generator = torch.Generator().manual_seed(seed)
        inputs = []
        for i, shape in enumerate(call.shapes):
            low, high = case.domains[i]
            ends = torch.rand(2, call.batch, *shape, dtype=torch.float64, generator=generator).sort(0).values
            low, high = max(low, -2.0), min(high, max(low, -2.0) + 4.0)
            inputs.append(Interval(low + (high - low) * ends[0], low + (high - low) * ends[1]))
        relaxation = rule.relax(call, tuple(inputs))
        sides = (relaxation.lower,) if relaxation.exact else (relaxation.lower, relaxation.upper)
        for side in sides:
            yield from (term for term in side.terms if term is not None)


def _compare(entry: KernelEntry, term: LinearOp, made: Coefficients, call: Call, name: str) -> int:
    before = made.to_dense().clone()
    result = entry.kernel(term, made)
    if not torch.equal(made.to_dense(), before):
        _fail(entry, call, name, "changes the coefficients in place")
    if result is None:
        return 0
    got, expected = result.to_dense(), term.transpose(before)
    if (result.rows, *result.shape) != (expected.shape[0], *term.in_shape):
        _fail(
            entry,
            call,
            name,
            f"gives {result.rows} rows over {list(result.shape)}, not {expected.shape[0]} over {list(term.in_shape)}",
        )
    got, expected = torch.broadcast_tensors(got, expected)
    reach = before.abs().sum() * (1 + expected.abs().amax() if expected.numel() else 1)
    bad = ~((got - expected).abs() <= allowance(reach, before[0, 0].numel()))
    if bool(bad.any()):
        at = tuple(int(i) for i in bad.nonzero()[0])
        _fail(
            entry,
            call,
            name,
            f"gives {got[at].item()!r} at {list(at)}, dense coefficients {expected[at].item()!r}",
        )
    return 1


def _fail(entry: KernelEntry, call: Call, name: str, what: str) -> None:
    subject = (
        f"kernel of plugin '{entry.plugin}' for {key_label(entry.op_key)} and {entry.structure.__name__}"
    )
    raise CoefficientsViolation(subject, "kernel", what, {"call": describe(call), "case": name})
