"""What is assumed about kernels of narrow types, tried out for every number of a type."""

import pytest
import torch

from lirpa_core.linear.interval import Interval
from lirpa_core.plugins import default_registry
from lirpa_core.rules.call import Call, Operand
from lirpa_core.rules.evaluated import _ERRORS, Evaluated, evaluation, operator_name

aten = torch.ops.aten
BF16, F16, F32 = torch.bfloat16, torch.float16, torch.float32

#: Elementwise functions, with the constants that they take.
ELEMENTWISE = [
    (aten.exp.default, ()), (aten.tanh.default, ()), (aten.sigmoid.default, ()), (aten.sqrt.default, ()),
    (aten.rsqrt.default, ()), (aten.reciprocal.default, ()), (aten.leaky_relu.default, (0.3,)),
    (aten.clamp.default, (-0.3, 0.7)), (aten.hardtanh.default, (-0.1, 0.3)), (aten.silu.default, ()),
    (aten.erf.default, ()), (aten.gelu.default, ()), (aten.add.Tensor, (0.1,)), (aten.sub.Tensor, (0.1,)),
    (aten.mul.Tensor, (0.3,)), (aten.pow.Tensor_Scalar, (2,)), (aten.relu.default, ()),
]  # fmt: skip


def numbers(dtype):
    """Every finite number of a 16-bit type, as float32."""
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    x = bits.view(dtype)
    return x[x.isfinite()].float()


def in_narrow(op, dtype, x, *args):
    """The rule of a call whose operand and result are of a narrow type, its interval at points, and what torch gives."""
    call = Call.of(op, Operand((x.shape[1],), dtype), *args)
    call = Call(
        call.node, call.arguments, call.operands, call.shapes, x.shape[0], dtypes=call.dtypes, precision=F32
    )
    rule = evaluation(default_registry().rule_for(op), op, dtype, F32)
    rule.check(call)
    found = rule.interval(call, (Interval(x, x),))
    return rule, found, op(x.to(dtype), *args).float()


@pytest.mark.parametrize("dtype", [BF16, F16], ids=str)
@pytest.mark.parametrize(("op", "args"), ELEMENTWISE, ids=[str(op) for op, _ in ELEMENTWISE])
def test_every_number_of_a_type(op, args, dtype):
    x = numbers(dtype)[:, None]
    real = op(x, *args)
    x = x[real[:, 0].isfinite() & (real[:, 0].abs() < torch.finfo(dtype).max)][:, None].reshape(-1, 1)
    _, found, y = in_narrow(op, dtype, x, *args)
    inside = (found.lower <= y) & (y <= found.upper)
    assert inside.all(), x[~inside][:5]


@pytest.mark.parametrize("dtype", [BF16, F16], ids=str)
@pytest.mark.parametrize("n", [3, 64, 1000])
def test_products_and_sums(dtype, n):
    torch.manual_seed(n)
    x = torch.randn(64, n).to(dtype).float()
    weight, bias = torch.randn(5, n).to(dtype), (100 * torch.randn(5)).to(dtype)
    call = Call.of(aten.linear.default, Operand((n,), dtype), weight, bias)
    wide = {
        **call.arguments,
        "weight": type(call["weight"])(weight.float()),
        "bias": type(call["bias"])(bias.float()),
    }
    call = Call(call.node, wide, call.operands, call.shapes, 64, dtypes=call.dtypes, precision=F32)
    rule = evaluation(default_registry().rule_for(aten.linear.default), aten.linear.default, dtype, F32)
    assert isinstance(rule, Evaluated) and not rule.is_affine(call)
    found, y = rule.interval(call, (Interval(x, x),)), aten.linear.default(x.to(dtype), weight, bias).float()
    assert (found.lower <= y).all() and (y <= found.upper).all()
    relaxation = rule.relax(call, (Interval(x, x),))
    (term,) = relaxation.lower.terms
    assert (term.apply(x) + relaxation.lower.bias <= y).all() and (
        y <= term.apply(x) + relaxation.upper.bias
    ).all()
    for op in (aten.sum.dim_IntList, aten.mean.dim):
        _, found, y = in_narrow(op, dtype, x, [-1])
        assert (found.lower <= y).all() and (y <= found.upper).all()


def test_a_type_as_wide_as_the_bounds_needs_nothing():
    rule = default_registry().rule_for(aten.linear.default)
    assert evaluation(rule, aten.linear.default, F32, F32) is rule
    assert isinstance(evaluation(rule, aten.linear.default, F32, torch.float64), Evaluated)


def test_what_is_exact_in_any_type_keeps_its_rule():
    for op in (aten.relu.default, aten.view.default, aten.maximum.default, aten._to_copy.default):
        rule = default_registry().rule_for(op)
        assert evaluation(rule, op, BF16, F32) is rule


def test_the_table_names_operators_that_exist():
    assert all(hasattr(aten, name) for name in _ERRORS)
    assert operator_name(aten.add.Tensor) == "add"
