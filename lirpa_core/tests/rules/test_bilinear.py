"""The bilinear family by itself, on operators and options that no rule of the core uses."""

import dataclasses

import pytest
import torch

from lirpa_core.errors import UnsupportedOperandError
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Relaxation
from lirpa_core.rules.bilinear import Bilinear
from lirpa_core.rules.call import Call, Const, Operand
from lirpa_testing import check_rule

aten = torch.ops.aten
RULE = Bilinear("self", "mat2")
ADDMM = Bilinear("mat1", "mat2", ("self",))
CONV = Bilinear("input", "weight", ("bias",))


def X(*sizes: int) -> Operand:
    return Operand(sizes)


def C(*sizes: int) -> torch.Tensor:
    return torch.randn(sizes, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def P(*sizes: int) -> Const:
    return Const(C(3, *sizes), batched=True)


AFFINE = {
    "addmm": (ADDMM, (aten.addmm.default, C(2), X(1, 3), C(3, 2))),
    "addmm scaled": (ADDMM, (aten.addmm.default, P(1, 2), X(1, 3), C(3, 2)), {"alpha": 2, "beta": -3}),
    "addmm perturbed term": (ADDMM, (aten.addmm.default, X(2), P(2, 3), C(3, 2)), {"alpha": 2, "beta": 3}),
    "addmm term and factor": (ADDMM, (aten.addmm.default, X(2), X(2, 3), P(3, 2)), {"alpha": 2}),
    "conv": (CONV, (aten.conv1d.default, X(1, 2, 4), C(3, 2, 2), C(3))),
    "conv weight": (CONV, (aten.conv1d.default, P(1, 2, 4), X(3, 2, 2), C(3))),
    "conv bias": (CONV, (aten.conv1d.default, P(1, 2, 4), C(3, 2, 2), X(3))),
}
PRODUCTS = {
    "mm": (RULE, (aten.mm.default, X(1, 2), X(2, 2))),
    "addmm": (ADDMM, (aten.addmm.default, P(1, 2), X(1, 2), X(2, 2)), {"alpha": 2, "beta": -3}),
    "addmm all": (ADDMM, (aten.addmm.default, X(2), X(1, 1), X(1, 2)), {"alpha": 0.5}),
    "conv": (CONV, (aten.conv1d.default, X(1, 1, 3), X(2, 1, 2), C(2))),
}


def _case(case):
    rule, args, *kwargs = case
    return rule, Call.of(*args, batch=3, **(kwargs[0] if kwargs else {}))


@pytest.mark.parametrize("name", AFFINE)
def test_exact_with_one_factor_fixed(name, oracle):
    oracle.assert_affine(*_case(AFFINE[name]))


@pytest.mark.parametrize("name", PRODUCTS)
def test_two_perturbed_factors(name, oracle):
    rule, call = _case(PRODUCTS[name])
    for width in (0.0, 0.5, 3.0):
        oracle.assert_sound(rule, call, oracle.boxes(call, width=width))


@pytest.mark.parametrize("name", ["mm", "addmm all"])
def test_boxes_shared_by_all_examples_and_not(name, oracle):
    rule, call = _case(PRODUCTS[name])
    inputs = oracle.boxes(call)
    for shared in range(len(inputs)):
        one = [Interval(x.lower[:1], x.upper[:1]) if i == shared else x for i, x in enumerate(inputs)]
        all_ = [
            Interval(x.lower.expand(3, *x.lower.shape[1:]), x.upper.expand(3, *x.upper.shape[1:]))
            for x in one
        ]
        a, b = rule.relax(call, tuple(one)), rule.relax(call, tuple(all_))
        xs = [oracle.rand(3, *s, seed=i) for i, s in enumerate(call.shapes)]
        for mine, theirs in ((a.lower, b.lower), (a.upper, b.upper)):
            oracle.close(oracle.line(mine, xs, call), oracle.line(theirs, xs, call))
        oracle.close(rule.interval(call, tuple(one)).upper, rule.interval(call, tuple(all_)).upper)
        oracle.assert_sound(rule, call, tuple(all_))


def test_mccormick_has_the_same_slopes_on_both_sides():
    rule, call = _case(PRODUCTS["mm"])
    box = Interval(-torch.ones(3, 1, 2).double(), torch.ones(3, 1, 2).double())
    weights = Interval(torch.zeros(3, 2, 2).double(), torch.ones(3, 2, 2).double())
    relaxation = rule.relax(call, (box, weights))
    assert relaxation.lower.terms is relaxation.upper.terms and not relaxation.exact
    assert rule.needs_interval(call) == (True, True)
    unstable = rule.unstable_inputs(call, (box, Interval(weights.lower, weights.lower)))
    assert unstable[0].all() and not unstable[1].any()


def test_only_factors_need_intervals():
    rule, call = _case(PRODUCTS["addmm all"])
    assert rule.needs_interval(call) == (False, True, True)
    assert (
        rule.unstable_inputs(call, (None, *[Interval(C(3, *s), C(3, *s) + 1) for s in call.shapes[1:]]))[0]
        is None
    )


def test_the_kit_finds_nothing_wrong():
    rule, call = _case(PRODUCTS["mm"])
    check_rule(rule, call, examples=7, regimes=("wide", "kinks"))


def test_refusals():
    rule, call = _case(PRODUCTS["addmm all"])
    with pytest.raises(UnsupportedOperandError, match="argument 'self'"):
        dataclasses.replace(rule, additive=()).check(call)
    with pytest.raises(UnsupportedOperandError, match="negative factor"):
        dataclasses.replace(rule, refuse=lambda c: "a negative factor" if c["alpha"] < 1 else None).check(
            call
        )


def test_planes_and_ranges_of_an_authors_own(oracle):
    """The additive arguments stay the family's business, and None leaves a case to the defaults."""
    rule, call = _case(PRODUCTS["addmm"])
    inputs = oracle.boxes(call, width=2.0)
    seen = []

    def planes(product):
        seen.append((product.left, product.right))
        below = product.affine(
            product.of_left(product.y.lower),
            product.of_right(product.x.lower),
            -product.of_left(product.y.lower).apply(product.x.lower),
        )
        above = product.affine(
            product.of_left(product.y.upper),
            product.of_right(product.x.lower),
            -product.of_left(product.y.upper).apply(product.x.lower),
        )
        return Relaxation(below, above)

    plain = Bilinear("self", "mat2")
    product = Call.of(aten.mm.default, X(1, 2), X(2, 2), batch=3)
    boxes = oracle.boxes(product, width=2.0)
    oracle.assert_sound(dataclasses.replace(plain, planes=planes), product, boxes)
    assert set(seen) == {(0, 1)}
    for hook in ("planes", "ranges"):
        declined = dataclasses.replace(rule, **{hook: lambda *given: None})
        a, b = rule.relax(call, inputs), declined.relax(call, inputs)
        assert torch.equal(a.lower.bias, b.lower.bias)
        assert torch.equal(rule.interval(call, inputs).lower, declined.interval(call, inputs).lower)
    found = dataclasses.replace(plain, ranges=lambda call, inputs: boxes[0]).interval(product, boxes)
    assert found is boxes[0]


def test_context_is_allowed_and_read_only_where_the_rule_says_so():
    def product(x: torch.Tensor, y: torch.Tensor, hint: torch.Tensor) -> torch.Tensor:
        return x * y

    call = Call.of(product, X(3), X(3), X(2))
    with pytest.raises(UnsupportedOperandError, match="argument 'hint'"):
        Bilinear("x", "y").check(call)
    rule = Bilinear("x", "y", context=("hint",))
    rule.check(call)
    assert rule.needs_interval(call) == (True, True, False)
    reading = dataclasses.replace(rule, reads_context=lambda call: ("hint",))
    assert reading.needs_interval(call) == (True, True, True)
    box = [Interval(C(1, n) - 1, C(1, n) + 1) for n in (3, 3, 2)]
    assert reading.unstable_inputs(call, tuple(box))[2] is None
    assert reading.relax(call, tuple(box)).lower.terms[2] is None
