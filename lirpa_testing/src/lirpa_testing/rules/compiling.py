"""The check `compiled`: what `torch.compile` makes of a rule computes what the rule computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lirpa_core.errors import DomainError
from lirpa_core.linear import Interval, Relaxation
from lirpa_testing.rules.case import Case

_ROWS = 2


def check_compiled(case: Case) -> None:
    """Traced whole by `torch.compile`, without a graph break, the bounds are those of the rule as it is."""
    ends = [end for x in case.inputs for end in (x.lower, x.upper)]
    for mode, bounds in _modes(case):
        plain = bounds(*ends)
        torch.compiler.reset()
        try:
            # The eager backend runs the traced operators as they are: what differs is the tracing.
            compiled: Callable[..., list[Tensor]] = torch.compile(bounds, fullgraph=True, backend="eager")
            traced = compiled(*ends)
        except DomainError:
            raise
        except Exception as error:  # noqa: BLE001 - Dynamo has many errors, some of them internal
            reason = next((line for line in str(error).splitlines() if line.strip()), "")
            case.fail(
                "compiled",
                f"torch.compile cannot trace {mode} without a graph break: {type(error).__name__}: {reason}",
                mode=mode,
            )
        finally:
            torch.compiler.reset()
        for i, (got, want) in enumerate(zip(traced, plain, strict=True)):
            if got.shape != want.shape or not torch.allclose(got, want, rtol=1e-12, atol=0, equal_nan=True):
                case.fail(
                    "compiled",
                    f"torch.compile gives another {mode} (number {i} of its tensors)",
                    mode=mode,
                    details={"compiled": got, "as it is": want},
                )
    case.counts["compiled"] += 1


def _modes(case: Case) -> list[tuple[str, Callable[..., list[Tensor]]]]:
    """Functions from the ends of the box to tensors that stand for the bounds."""
    rule, call = case.rule, case.call
    needs = rule.needs_interval(call)

    def boxes(ends: tuple[Tensor, ...]) -> tuple[Interval, ...]:
        return tuple(Interval(low, up) for low, up in zip(ends[::2], ends[1::2], strict=True))

    def interval(*ends: Tensor) -> list[Tensor]:
        found = rule.interval(call, boxes(ends))
        return [found.lower, found.upper]

    shape = (_ROWS, case.batch, *call.shape)
    A: Tensor = torch.randn(shape, dtype=case.inputs[0].lower.dtype, generator=case.generator(40))

    def relax(*ends: Tensor) -> list[Tensor]:
        read = tuple(x if need else None for x, need in zip(boxes(ends), needs, strict=True))
        return _tensors(rule.relax(call, read), A)

    found: list[tuple[str, Any]] = [("interval", interval)] if case.has_interval else []
    return [*found, ("relax", relax)] if case.has_lines else found


def _tensors(relaxation: Relaxation, A: Tensor) -> list[Tensor]:
    found = []
    for affine in (relaxation.lower, relaxation.upper):
        found += [term.transpose(A) for term in affine.terms if term is not None]
        found += [] if affine.bias is None else [affine.bias]
    return found
