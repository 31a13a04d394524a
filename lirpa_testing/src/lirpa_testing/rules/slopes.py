"""Checks of what an optimizer may choose: the affine functions are sound whatever it chooses."""

from __future__ import annotations

import torch
from torch import Tensor

from lirpa_core.linear import Interval
from lirpa_core.rules import Const, Slope
from lirpa_testing.rules.case import Case
from lirpa_testing.rules.soundness import check_finite, check_lines

#: Choices that are tried: the rule's own, ends of the ranges, and numbers between.
_TRIES = ("start", "ends", "between")


def check_slopes(case: Case) -> None:
    """Affine functions with other slopes than the rule's own are as sound."""
    if not case.has_lines or case.rule.is_affine(case.call):
        return
    slopes = case.rule.slopes(case.call, case.needed)
    if not slopes:
        return
    for i, slope in enumerate(slopes):
        _check_statement(case, i, slope)
    generator = case.generator(7)
    for name in _TRIES:
        chosen = [_chosen(slope, name, case.batch, generator) for slope in slopes]
        relaxation = case.rule.relax_with(case.call, case.needed, chosen)
        if relaxation.exact:
            case.fail("slopes", "relax_with returned one function for both sides", mode="relax")
        other = case.with_relaxation(relaxation)
        check_finite(other)
        check_lines(other)
    _check_shared(case, generator)


def _check_shared(case: Case, generator: torch.Generator) -> None:
    """A box that all examples share has slopes of each example's own, as rows of one example have."""
    first = case.with_inputs([Interval(x.lower[:1], x.upper[:1]) for x in case.inputs])
    call = case.call
    if any(isinstance(value, Const) and value.batched for value in call.arguments.values()):
        return
    slopes = case.rule.slopes(call, first.needed)
    chosen = [_chosen(slope, "between", case.batch, generator) for slope in slopes]
    relaxation = case.rule.relax_with(call, first.needed, chosen)
    alike = [Interval(*(end[:1].expand_as(end) for end in (x.lower, x.upper))) for x in case.inputs]
    other = case.with_inputs(alike)
    if bool(other.start_outputs.isfinite().all()):
        other = other.with_relaxation(relaxation, attacked=False)
        check_finite(other)
        check_lines(other)


def _check_statement(case: Case, i: int, slope: Slope) -> None:
    if slope.start.shape[0] not in (1, case.batch):
        case.fail("slopes", f"slope {i} has shape {list(slope.start.shape)}, without a batch", mode="relax")
    for what, value in (("least", slope.least), ("greatest", slope.greatest)):
        try:
            torch.broadcast_to(value, slope.start.shape)
        except RuntimeError:
            shapes = f"{list(value.shape)}, not that of the start, {list(slope.start.shape)}"
            case.fail("slopes", f"the {what} value of slope {i} has shape {shapes}", mode="relax")


def _chosen(slope: Slope, name: str, batch: int, generator: torch.Generator) -> Tensor:
    """Values of a slope, `[B, *P]`."""
    shape = (batch, *slope.start.shape[1:])
    start = slope.start.detach().expand(shape)
    least, greatest = slope.least.detach().expand(shape), slope.greatest.detach().expand(shape)
    least, greatest = least.minimum(start), greatest.maximum(start)
    if name == "start":
        return start
    at = torch.rand(shape, dtype=torch.float64, generator=generator).to(start.dtype)
    if name == "ends":
        return torch.where(at < 0.5, least, greatest)
    found = least + at * (greatest - least)
    return torch.where((found >= least) & (found <= greatest), found, start)
