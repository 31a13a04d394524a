"""Matrix products in every rank, layout and combination of constant and perturbed operands."""

import dataclasses
import math

import pytest
import torch

from lirpa_core.aten import matmul
from lirpa_core.bounds.linear_map import DenseMap, RowsMap
from lirpa_core.errors import UnsupportedOperandError
from lirpa_core.registry import default_registry
from lirpa_core.rules.bilinear import Bilinear
from lirpa_core.rules.call import Call, Const, Operand
from lirpa_core.testing import check_rule

aten = torch.ops.aten


def X(*sizes: int) -> Operand:
    return Operand(sizes)


def C(*sizes: int) -> torch.Tensor:
    return torch.randn(*sizes, generator=torch.Generator().manual_seed(math.prod(sizes)), dtype=torch.float64)


def P(*sizes: int) -> Const:
    return Const(C(3, *sizes), batched=True)


AFFINE = {
    "linear": (aten.linear.default, X(1, 4), C(3, 4), C(3)),
    "linear without bias": (aten.linear.default, X(1, 4), C(3, 4), None),
    "linear tokens": (aten.linear.default, X(1, 2, 4), C(3, 4), C(3)),
    "linear vector": (aten.linear.default, X(4), C(3, 4), C(3)),
    "linear to scalar": (aten.linear.default, X(2, 4), C(4), None),
    "linear batched bias": (aten.linear.default, X(2, 4), C(3, 4), P(3)),
    "linear batched weight": (aten.linear.default, X(2, 4), P(3, 4), C(3)),
    "linear perturbed weight": (aten.linear.default, C(2, 4), X(3, 4), C(3)),
    "linear perturbed weight, batched input": (aten.linear.default, P(1, 4), X(3, 4), C(3)),
    "linear perturbed weight, tokens": (aten.linear.default, P(2, 2, 4), X(3, 4), None),
    "linear perturbed weight, vector input": (aten.linear.default, P(4), X(3, 4), None),
    "linear perturbed vector of weights": (aten.linear.default, P(2, 4), X(4), None),
    "linear perturbed bias": (aten.linear.default, P(2, 4), C(3, 4), X(3)),
    "linear perturbed input and bias": (aten.linear.default, X(2, 4), C(3, 4), X(3)),
    "linear perturbed weight and bias": (aten.linear.default, P(2, 4), X(3, 4), X(3)),
    "mm left": (aten.mm.default, X(2, 3), C(3, 4)),
    "mm right": (aten.mm.default, C(2, 3), X(3, 4)),
    "mm batched": (aten.mm.default, X(2, 3), P(3, 4)),
    "mm batched left": (aten.mm.default, P(2, 3), X(3, 4)),
    "bmm": (aten.bmm.default, X(2, 2, 3), C(2, 3, 4)),
    "bmm batched": (aten.bmm.default, P(2, 2, 3), X(2, 3, 4)),
    "matmul higher weight": (aten.matmul.default, X(2, 3), C(2, 2, 3, 4)),
    "matmul higher weight batched": (aten.matmul.default, X(2, 3), P(2, 3, 4)),
    "matmul higher operand": (aten.matmul.default, X(2, 1, 2, 3), C(4, 3, 2)),
    "matmul higher operand batched": (aten.matmul.default, X(2, 1, 2, 3), P(4, 3, 2)),
    "matmul weight on the left": (aten.matmul.default, C(2, 2, 3), X(3, 4)),
    "matmul batched on the left": (aten.matmul.default, P(2, 2, 3), X(3, 4)),
    "matmul vector right": (aten.matmul.default, X(2, 2, 3), C(3)),
    "matmul vector right batched": (aten.matmul.default, X(2, 2, 3), P(3)),
    "matmul vector left": (aten.matmul.default, X(3), C(2, 3, 4)),
    "matmul vector left batched": (aten.matmul.default, X(3), P(2, 3, 4)),
    "matmul perturbed vector": (aten.matmul.default, C(2, 2, 3), X(3)),
    "matmul perturbed vector batched": (aten.matmul.default, P(2, 3), X(3)),
    "matmul integers": (aten.mul.Tensor, X(2, 3), torch.ones(3, dtype=torch.int64)),
    "matmul vectors": (aten.matmul.default, X(3), P(3)),
    "mv": (aten.mv.default, X(2, 3), C(3)),
    "mv vector": (aten.mv.default, P(2, 3), X(3)),
    "dot": (aten.dot.default, X(3), C(3)),
    "dot right": (aten.dot.default, P(3), X(3)),
}
PRODUCTS = {
    "linear": (aten.linear.default, X(1, 2), X(2, 2), C(2)),
    "linear all": (aten.linear.default, X(1, 2), X(2, 2), X(2)),
    "linear no bias": (aten.linear.default, X(2, 2), X(2, 2), None),
    "mm": (aten.mm.default, X(2, 2), X(2, 2)),
    "bmm": (aten.bmm.default, X(2, 1, 2), X(2, 2, 1)),
    "matmul broadcast": (aten.matmul.default, X(2, 1, 2), X(2, 2)),
    "matmul vector": (aten.matmul.default, X(2, 2), X(2)),
    "mv": (aten.mv.default, X(2, 2), X(2)),
    "dot": (aten.dot.default, X(3), X(3)),
}


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
    oracle.assert_affine(dataclasses.replace(rule, native=None, fixed=None, trailing=False), call)


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_of_two_perturbed_operands(name, oracle):
    call = Call.of(*PRODUCTS[name])
    rule = default_registry().rule_for(call.node.target)
    inputs = oracle.boxes(call, width=2.0)
    oracle.assert_sound(rule, call, inputs)
    oracle.assert_tight(rule, call, inputs)
    generic = dataclasses.replace(rule, native=None, trailing=False)
    oracle.assert_sound(generic, call, inputs)
    a, b = rule.relax(call, inputs), generic.relax(call, inputs)
    for xs in oracle.points(inputs, count=3, corners=0):
        oracle.close(oracle.line(a.lower, xs, call), oracle.line(b.lower, xs, call))
        oracle.close(oracle.line(a.upper, xs, call), oracle.line(b.upper, xs, call))


def test_the_kit_finds_nothing_wrong():
    check_rule(
        matmul.LINEAR, Call.of(*PRODUCTS["linear all"]), examples=14, regimes=("wide", "kinks", "mixed")
    )
    check_rule(matmul.MATMUL, Call.of(*PRODUCTS["matmul vector"]), examples=7, regimes=("wide",))


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
    rows = RowsMap.identity(call.shape, dtype=torch.float64, device="cpu")
    result = matmul.matmul_rows(op, rows)
    assert isinstance(result, DenseMap)
    assert torch.equal(result.A[:, 0, 0], AFFINE["linear"][2])


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
