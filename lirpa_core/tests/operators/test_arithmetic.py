"""Sums, products and quotients: constants of every kind, broadcasting, both operands perturbed."""

import pytest
import torch

from lirpa_core.operators import arithmetic
from lirpa_core.plugins import default_registry
from lirpa_core.rules.bilinear import Bilinear
from lirpa_core.rules.call import Call, Operand
from lirpa_testing.core_cases.arithmetic import AFFINE, PRODUCTS

aten = torch.ops.aten


def X(*sizes: int) -> Operand:
    return Operand(sizes)


def C(*sizes: int) -> torch.Tensor:
    return torch.linspace(-1.3, 1.7, max(1, int(torch.Size(sizes).numel())), dtype=torch.float64).reshape(
        sizes
    )


@pytest.mark.parametrize("name", AFFINE)
def test_exact_in_every_mode(name, oracle):
    op, args, kwargs = AFFINE[name]
    call = Call.of(op, *args, batch=3, **kwargs)
    registry = default_registry()
    oracle.assert_affine(registry.rule_for(op), call, registry)


@pytest.mark.parametrize("name", [n for n in AFFINE if not n.startswith("mul")])
def test_native_sums_are_the_operator(name, oracle):
    op, args, kwargs = AFFINE[name]
    oracle.assert_native(default_registry().rule_for(op), Call.of(op, *args, batch=3, **kwargs))


@pytest.mark.parametrize("name", [n for n in AFFINE if n.startswith("mul") and "Scalar" not in n])
def test_native_products_are_the_operator(name, oracle):
    op, args, kwargs = AFFINE[name]
    rule = Bilinear("self", "other", fixed=arithmetic.diagonal)
    oracle.assert_native(rule, Call.of(op, *args, batch=3, **kwargs))


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_of_two_perturbed_operands(name, oracle):
    call = Call.of(aten.mul.Tensor, *PRODUCTS[name])
    inputs = oracle.boxes(call, width=2.0)
    oracle.assert_sound(arithmetic.MUL, call, inputs)
    oracle.assert_tight(arithmetic.MUL, call, inputs)
    generic = Bilinear("self", "other")
    oracle.assert_sound(generic, call, inputs)


def test_the_planes_of_a_product_are_mccormicks(oracle):
    """Every mixture of his planes below touches the product at two corners, above at the other two."""
    call = Call.of(aten.mul.Tensor, X(3), X(3))
    x, y = oracle.boxes(call)
    relaxation = arithmetic.MUL.relax(call, (x, y))
    for u, v in ((x.lower, y.upper), (x.upper, y.lower)):
        oracle.close(oracle.line(relaxation.lower, (u, v), call), u * v)
    for u, v in ((x.lower, y.lower), (x.upper, y.upper)):
        oracle.close(oracle.line(relaxation.upper, (u, v), call), u * v)
    middle, gap = (x.midpoint, y.midpoint), x.radius * y.radius
    oracle.close(oracle.line(relaxation.lower, middle, call) + gap, x.midpoint * y.midpoint)
    oracle.close(oracle.line(relaxation.upper, middle, call) - gap, x.midpoint * y.midpoint)


def test_a_shared_box_and_one_of_each_example(oracle):
    """A leading one in the interval of either factor means the same for every example."""
    call = Call.of(aten.mul.Tensor, X(2, 3), X(3))
    x, y = oracle.boxes(call)
    one = type(x)(x.lower[:1], x.upper[:1])
    all_ = type(x)(one.lower.expand(3, 2, 3), one.upper.expand(3, 2, 3))
    for rule in (arithmetic.MUL, Bilinear("self", "other")):
        a, b = rule.relax(call, (one, y)), rule.relax(call, (all_, y))
        xs = [oracle.rand(3, 2, 3), oracle.rand(3, 3)]
        oracle.close(oracle.line(a.lower, xs, call), oracle.line(b.lower, xs, call))
        oracle.close(oracle.line(a.upper, xs, call), oracle.line(b.upper, xs, call))
        oracle.close(rule.interval(call, (one, y)).lower, rule.interval(call, (all_, y)).lower)
        oracle.assert_sound(rule, call, (all_, y))


def _operands(*shapes):
    return [C(*s) + 3 * (i > 0) for i, s in enumerate(shapes)]


@pytest.mark.parametrize(
    ("mine", "theirs", "args", "kwargs"),
    [
        (arithmetic.divide, torch.div, _operands((2, 3), (3,)), {}),
        (arithmetic.divide, torch.div, [C(2, 3), 4], {}),
        (arithmetic.divide, torch.div, [C(2, 3), 0], {}),
        (arithmetic.divide, torch.div, [torch.tensor([1, 2]), torch.tensor([3, 4])], {}),
        (arithmetic.lerp, torch.lerp, [C(3), C(3).cos(), 0.3], {}),
        (arithmetic.lerp, torch.lerp, [C(3), C(3).cos(), 1.7], {}),
        (arithmetic.lerp_tensor, torch.lerp, [C(3), C(3).cos(), C(3).sin()], {}),
        (arithmetic.addcmul, torch.addcmul, _operands((2, 3), (3,), (2, 1)), {"value": -2}),
        (arithmetic.addcmul, torch.addcmul, _operands((2, 3), (3,), (2, 1)), {}),
        (arithmetic.addcdiv, torch.addcdiv, _operands((2, 3), (3,), (2, 1)), {"value": -2}),
        (arithmetic.addcdiv, torch.addcdiv, _operands((2, 3), (3,), (2, 1)), {}),
        (arithmetic.hypot, torch.hypot, _operands((2, 3), (3,)), {}),
    ],
)
def test_decompositions_compute_the_same(mine, theirs, args, kwargs):
    torch.testing.assert_close(mine(*args, **kwargs), theirs(*args, **kwargs))
