"""Checks that relate several computations of one rule: batches, purity, gradients, advice to methods."""

from __future__ import annotations

import torch
from torch import Tensor

from lirpa_core.linear import Interval, Relaxation
from lirpa_core.rules import MODES, Call
from lirpa_testing.rules.attack import gradients_of
from lirpa_testing.rules.calls import map_call
from lirpa_testing.rules.case import Case, evaluate_affine
from lirpa_testing.rules.soundness import inside

_NARROWEST = 1e-100


def check_declarations(case: Case) -> None:
    """`family`, `modes`, `is_affine`, `needs_interval` and `unstable_inputs` have the promised form."""
    rule, call, n = case.rule, case.call, len(case.inputs)
    if not rule.family:
        case.fail("declarations", f"family must be a non-empty string, not {rule.family!r}")
    if not rule.modes or not set(rule.modes) <= set(MODES):
        case.fail("declarations", f"modes must be some of {MODES}, not {rule.modes!r}")
    affine: object = rule.is_affine(call)
    if not isinstance(affine, bool):
        case.fail("declarations", f"is_affine must return a bool, not {affine!r}")
    needs: tuple[object, ...] = rule.needs_interval(call)
    if len(needs) != n or not all(isinstance(need, bool) for need in needs):
        case.fail("declarations", f"needs_interval must return {n} bools, one an operand, not {needs!r}")
    if not case.has_lines:
        return
    masks = rule.unstable_inputs(call, case.needed)
    if len(masks) != n:
        case.fail(
            "declarations", f"unstable_inputs must return {n} entries, one an operand, not {len(masks)}"
        )
    for i, mask in enumerate(masks):
        wanted = [case.batch, *call.shapes[i]]
        if mask is not None and (
            mask.dtype != torch.bool or list(mask.shape) not in (wanted, [1, *wanted[1:]])
        ):
            case.fail(
                "declarations",
                f"unstable_inputs of x{i} must be bool {wanted}, not {mask.dtype} {list(mask.shape)}",
            )


def check_purity(case: Case) -> None:
    """Nothing that is passed in is changed."""
    inputs = tuple(Interval(x.lower.clone(), x.upper.clone()) for x in case.inputs)
    constants = [c.value.clone() for c in case.call.constants]
    fresh = case.with_inputs(inputs)
    watched = [
        (f"{side} end of x{i}", getattr(x, side)) for i, x in enumerate(inputs) for side in ("lower", "upper")
    ]
    watched += [(f"constant {i}", c.value) for i, c in enumerate(case.call.constants)]
    before = [value.clone() for _, value in watched]

    def compare(method: str) -> None:
        for (name, now), then in zip(watched, before, strict=True):
            if not _same(now, then):
                for c, value in zip(case.call.constants, constants, strict=True):
                    c.value.copy_(value)
                case.fail("purity", f"{method} changed the {name} in place")

    if case.has_interval:
        _ = fresh.interval
        compare("interval")
    if not case.has_lines:
        return
    relaxation: object = fresh.relaxation
    compare("relax")
    if not isinstance(relaxation, Relaxation):
        return  # `check_results` says so
    case.rule.unstable_inputs(case.call, fresh.needed)
    compare("unstable_inputs")
    probe = case.start_outputs[0].unsqueeze(0).clone()
    copy = probe.clone()
    for affine in (relaxation.lower, relaxation.upper):
        for i, (term, x) in enumerate(zip(affine.terms, inputs, strict=False)):  # lengths: `check_results`
            if term is not None:
                term.apply(x.lower, 1)
                term.apply_abs(x.upper, 1)
                compare(f"apply of term {i}")
                term.transpose(probe)
                if not _same(probe, copy):
                    case.fail("purity", f"transpose of term {i} changed the coefficients in place")


def check_batch(case: Case) -> None:
    """Each example of a batch gets the bounds that it gets alone."""
    for b in sorted({0, case.batch // 2, case.batch - 1}):
        alone = case.only(torch.tensor([b]))
        _compare(
            case, alone, slice(b, b + 1), "batch", f"example {b} gets another {{}} in a batch than alone", b
        )


def check_shared(case: Case) -> None:
    """A leading one of an input means the same for every example."""
    repeated = [Interval(x.lower[:1].expand_as(x.lower), x.upper[:1].expand_as(x.upper)) for x in case.inputs]
    for i in range(len(case.inputs)):
        mixed = [x if j != i else repeated[i] for j, x in enumerate(case.inputs)]
        shared = [x if j != i else Interval(x.lower[:1], x.upper[:1]) for j, x in enumerate(case.inputs)]
        whole = case.with_inputs([Interval(x.lower.contiguous(), x.upper.contiguous()) for x in mixed])
        finite = finite_examples(whole)
        if not bool(finite.any()):
            continue
        if not bool(finite.all()):
            whole = whole.only(finite)
            shared = [x if j == i else whole.inputs[j] for j, x in enumerate(shared)]
        what = f"x{i} with a leading one gives another {{}} than x{i} repeated"
        _compare(whole, whole.with_inputs(shared), slice(None), "shared", what, None)


def _compare(case: Case, other: Case, pick: slice, check: str, what: str, example: int | None) -> None:
    """Require the bounds of `other` to be those of the examples `pick` of `case`."""
    points = tuple(x[:, pick] for x in case.start_points)
    target = case.start_outputs[:, pick].shape
    allowed = case.allowed[pick]
    pairs: list[tuple[str, str, Tensor, Tensor]] = []
    if case.has_interval:
        pairs += [
            ("interval", "lower end of the interval", case.interval.lower, other.interval.lower),
            ("interval", "upper end of the interval", case.interval.upper, other.interval.upper),
        ]
    if case.has_lines:
        for side in ("lower", "upper"):
            ours = evaluate_affine(getattr(case.relaxation, side), case.start_points, lead=2)
            theirs = evaluate_affine(getattr(other.relaxation, side), points, lead=2)
            pairs.append(("relax", f"{side} affine function", ours.expand(case.start_outputs.shape), theirs))
    for mode, name, a, b in pairs:
        if mode == "interval":
            wanted, got = a.expand(case.scale.shape)[pick], b.expand(target[1:])
        else:
            wanted, got = a[:, pick], b.expand(target)
        excess = (wanted - got).abs() - allowed
        if bool((excess > 0).any()) or bool(got.isnan().any()):
            case.fail(check, what.format(name), mode=mode, amount=excess.max().item(), example=example)


def check_gradients(case: Case) -> None:
    """Bounds have finite gradients with respect to the box.

    Only where the operator itself has finite gradients at the ends of the box, and where no end and no
    width is so small (below 1e-100, zero aside) that dividing by it overflows.
    """
    sizes = torch.cat(
        [e.abs().reshape(case.batch, -1) for x in case.inputs for e in (x.lower, x.upper, x.width)], 1
    )
    usable = ~((sizes > 0) & (sizes < _NARROWEST)).any(1) & smooth_at_the_ends(case)
    if not bool(usable.any()):
        return
    case = case.only(usable)
    leaves = [
        Interval(x.lower.detach().clone().requires_grad_(), x.upper.detach().clone().requires_grad_())
        for x in case.inputs
    ]
    with torch.enable_grad():
        fresh = case.with_inputs(leaves)
        goals: list[tuple[str, str, Tensor]] = []
        if case.has_interval:
            goals.append(("interval", "lower end of the interval", fresh.interval.lower))
            goals.append(("interval", "upper end of the interval", fresh.interval.upper))
        if case.has_lines:
            lower, upper = fresh.lines(tuple(x[-4:].detach() for x in case.start_points))
            goals += [("relax", "lower affine function", lower), ("relax", "upper affine function", upper)]
        for mode, name, goal in goals:
            total = goal.sum()
            if not total.requires_grad:
                continue
            ends = [e for x in leaves for e in (x.lower, x.upper)]
            gradients: tuple[Tensor | None, ...] = torch.autograd.grad(
                total, ends, allow_unused=True, retain_graph=True
            )
            for j, gradient in enumerate(gradients):
                if gradient is None or bool(gradient.isfinite().all()):
                    continue
                kind = "NaN" if bool(gradient.isnan().any()) else "infinite"
                end = f"{'upper' if j % 2 else 'lower'} end of x{j // 2}"
                example = int((~gradient.isfinite()).nonzero()[0][0])
                case.fail(
                    "gradients",
                    f"the gradient of the {name} by the {end} is {kind}",
                    mode=mode,
                    example=example,
                )


def smooth_at_the_ends(case: Case) -> Tensor:
    """Whether the operator has finite gradients at both ends of the box, `[B]`."""
    smooth = torch.ones(case.batch, dtype=torch.bool)
    for side in ("lower", "upper"):
        ends = [getattr(x, side).detach().clone().requires_grad_() for x in case.inputs]
        with torch.enable_grad():
            y = case.evaluate(tuple(e.unsqueeze(0) for e in ends))
            if not y.requires_grad:
                return smooth
            gradients = gradients_of(y.sum(), ends)
        for g in gradients:
            if g is not None:
                smooth = smooth & g.isfinite().reshape(case.batch, -1).all(1)
    return smooth


def check_unstable_inputs(case: Case) -> None:
    """Tightening an element that `unstable_inputs` calls useless does not change the relaxation."""
    if not case.has_lines or all(x is None for x in case.needed):
        return
    masks = case.rule.unstable_inputs(case.call, case.needed)
    tightened = []
    for i, (x, mask) in enumerate(zip(case.inputs, masks, strict=True)):
        part = case.snap(i, inside(x, case.generator(20 + i)))
        keep = torch.zeros_like(x.lower, dtype=torch.bool) if mask is None else mask
        tightened.append(
            Interval(torch.where(keep, x.lower, part.lower), torch.where(keep, x.upper, part.upper))
        )
    other = case.with_inputs(tightened)
    points = other.start_points
    for side, ours, theirs in zip(("lower", "upper"), case.lines(points), other.lines(points), strict=True):
        case.fail_where(
            (ours - theirs).abs() - case.allowed,
            "unstable inputs",
            f"unstable_inputs is False, yet a tighter box changes the {side} affine function",
            mode="relax",
            points=points,
            values={"before": ours, "after": theirs},
        )


def check_float32(case: Case) -> None:
    """A float32 call gives float32 bounds."""
    call: Call = map_call(case.call, lambda t: t, batch=case.batch, dtype=torch.float32)
    single = case.with_inputs([Interval(x.lower.float(), x.upper.float()) for x in case.inputs], call)
    finite = finite_examples(single)
    if not single.start_outputs.is_floating_point() or not bool(finite.any()):
        return
    single = single.only(finite)
    values: dict[str, Tensor] = {}
    if case.has_interval:
        values |= {"interval": single.interval.lower, "interval ": single.interval.upper}
    if case.has_lines:
        for side in ("lower", "upper"):
            affine = getattr(single.relaxation, side)
            values[f"{side} affine function"] = evaluate_affine(affine, single.start_points, lead=2)
    for name, value in values.items():
        if value.dtype != single.start_outputs.dtype:
            case.fail(
                "float32", f"a float32 call gives a {name.strip()} of {value.dtype}", mode=name.split()[0]
            )


def finite_examples(case: Case) -> Tensor:
    """Examples whose outputs at the start points are all finite, `[B]`."""
    return case.start_outputs.isfinite().movedim(1, 0).reshape(case.batch, -1).all(1)


def _same(a: Tensor, b: Tensor) -> bool:
    return bool(((a == b) | (a.isnan() & b.isnan())).all()) if a.is_floating_point() else torch.equal(a, b)
