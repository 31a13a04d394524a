"""Matrix products in every rank, layout and combination of constant and perturbed operands."""

import dataclasses
import math

import pytest
import torch

from lirpa_core.errors import UnsupportedOperandError
from lirpa_core.linear.coefficients import PositionwiseCoefficients, SelectedRows
from lirpa_core.operators import matmul
from lirpa_core.plugins import default_registry
from lirpa_core.rules.bilinear import Bilinear
from lirpa_core.rules.call import Call, Const, Operand
from lirpa_testing.core_cases.matmul import AFFINE, PRODUCTS

aten = torch.ops.aten


def X(*sizes: int) -> Operand:
    return Operand(sizes)


def C(*sizes: int) -> torch.Tensor:
    return torch.randn(*sizes, generator=torch.Generator().manual_seed(math.prod(sizes)), dtype=torch.float64)


def P(*sizes: int) -> Const:
    return Const(C(3, *sizes), batched=True)


@pytest.mark.parametrize("name", AFFINE)
def test_exact_in_every_mode(name, oracle):
    call = Call.of(*AFFINE[name], batch=3)
    registry = default_registry()
    oracle.assert_affine(registry.rule_for(call.node.target), call, registry)


@pytest.mark.parametrize("name", AFFINE)
def test_native_code_is_the_operator(name, oracle):
    call = Call.of(*AFFINE[name], batch=3)
    rule = default_registry().rule_for(call.node.target)
    oracle.assert_native(rule, call)
    oracle.assert_affine(dataclasses.replace(rule, fixed=None, ranges=None, trailing=False), call)


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_of_two_perturbed_operands(name, oracle):
    call = Call.of(*PRODUCTS[name])
    rule = default_registry().rule_for(call.node.target)
    inputs = oracle.boxes(call, width=2.0)
    oracle.assert_sound(rule, call, inputs)
    oracle.assert_tight(rule, call, inputs)
    generic = dataclasses.replace(rule, fixed=None, ranges=None, trailing=False)
    oracle.assert_sound(generic, call, inputs)
    a, b = rule.relax(call, inputs), generic.relax(call, inputs)
    for xs in oracle.points(inputs, count=3, corners=0):
        oracle.close(oracle.line(a.lower, xs, call), oracle.line(b.lower, xs, call))
        oracle.close(oracle.line(a.upper, xs, call), oracle.line(b.upper, xs, call))


def test_long_products_in_chunks(oracle, monkeypatch):
    call = Call.of(aten.mm.default, X(2, 7), X(7, 2))
    inputs = oracle.boxes(call)
    whole = matmul.MM.interval(call, inputs)
    monkeypatch.setattr(matmul, "_CHUNK", 9)  # two terms at once, and one left over
    chunks = matmul.MM.interval(call, inputs)
    oracle.close(whole.lower, chunks.lower)
    oracle.close(whole.upper, chunks.upper)


def test_rows_of_the_weight_instead_of_a_product():
    call = Call.of(*AFFINE["linear"], batch=3)
    op = matmul.LINEAR.relax(call, (None,)).lower.terms[0]
    rows = SelectedRows.identity(call.shape, dtype=torch.float64, device="cpu")
    result = matmul.matmul_rows(op, rows)
    assert isinstance(result, PositionwiseCoefficients)
    assert torch.equal(result.to_dense()[:, 0, 0], AFFINE["linear"][2])


def test_an_operand_outside_of_the_factors_is_refused():
    rule = Bilinear("input", "weight")
    with pytest.raises(UnsupportedOperandError, match="argument 'bias'"):
        rule.check(Call.of(*AFFINE["linear perturbed bias"], batch=3))


@pytest.mark.parametrize("beta", [1, 0, -2, 0.5])
@pytest.mark.parametrize("alpha", [1, -3])
@pytest.mark.parametrize(
    ("mine", "theirs", "shapes"),
    [
        (matmul.addmm, torch.addmm, ((4,), (2, 3), (3, 4))),
        (matmul.addmv, torch.addmv, ((2,), (2, 3), (3,))),
        (matmul.baddbmm, torch.baddbmm, ((2, 1, 4), (2, 2, 3), (2, 3, 4))),
        (matmul.addbmm, torch.addbmm, ((2, 4), (2, 2, 3), (2, 3, 4))),
    ],
)
def test_sums_of_a_product_and_a_term(mine, theirs, shapes, beta, alpha, oracle):
    tensors = [C(*s) for s in shapes]
    oracle.close(mine(*tensors, beta=beta, alpha=alpha), theirs(*tensors, beta=beta, alpha=alpha))


@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_bilinear_form(lead, oracle):
    x, y, W, b = C(*lead, 3), C(*lead, 4), C(2, 3, 4), C(2)
    expected = torch.einsum("...i,oij,...j->...o", x, W, y)
    oracle.close(matmul.bilinear(x, y, W), expected)
    oracle.close(matmul.bilinear(x, y, W, b), expected + b)
