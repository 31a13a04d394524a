"""What kernels of PyTorch may be off by, tried out against a wider type."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lirpa_core.linear.interval import Interval
from lirpa_core.rules.allowances import ALLOWANCES
from lirpa_core.rules.call import Call, Operand
from lirpa_core.rules.evaluated import operator_name

aten = torch.ops.aten

#: Elementwise operators, their other arguments, and between which numbers they are tried.
ELEMENTWISE: list[tuple[Any, tuple[Any, ...], float, float]] = [
    (aten.exp.default, (), -87, 88), (aten.exp2.default, (), -120, 127), (aten.expm1.default, (), -20, 80),
    (aten.tanh.default, (), -20, 20), (aten.sigmoid.default, (), -80, 80), (aten.sqrt.default, (), 0, 1e30),
    (aten.rsqrt.default, (), 1e-30, 1e30), (aten.reciprocal.default, (), -1e20, 1e20),
    (aten.leaky_relu.default, (0.3,), -10, 10), (aten.clamp.default, (-0.3, 0.7), -1, 1),
    (aten.hardtanh.default, (-0.1, 0.3), -1, 1), (aten.silu.default, (), -100, 80), (aten.log.default, (), 1e-30, 1e30),
    (aten.log.default, (), 0.9, 1.1), (aten.log2.default, (), 0.5, 2), (aten.log10.default, (), 0.5, 2),
    (aten.log1p.default, (), -0.5, 100), (aten.sin.default, (), -1000, 1000), (aten.cos.default, (), -1000, 1000),
    (aten.tan.default, (), -1.5, 1.5), (aten.atan.default, (), -1e5, 1e5), (aten.asin.default, (), -1, 1),
    (aten.sinh.default, (), -80, 80), (aten.cosh.default, (), -80, 80), (aten.asinh.default, (), -1e5, 1e5),
    (aten.hardsigmoid.default, (), -4, 4), (aten.hardswish.default, (), -4, 4), (aten.mish.default, (), -80, 80),
    (aten.erf.default, (), -5, 5), (aten.gelu.default, (), -10, 10), (aten.gelu.default, (), -1e-3, 1e-3),
    (aten.elu.default, (1.5,), -20, 20), (aten.celu.default, (0.7,), -20, 20), (aten.selu.default, (), -20, 20),
    (aten.log_sigmoid.default, (), -80, 80), (aten.softplus.default, (), -80, 80), (aten.softplus.default, (3, 5), -8, 8),
    (aten.mul.Tensor, (0.5,), -1e3, 1e3), (aten.add.Tensor, (0.5,), -1, 1), (aten.sub.Tensor, (0.5,), -1, 1),
    (aten.acos.default, (), -1, 1), (aten.acosh.default, (), 1, 1e5), (aten.acosh.default, (), 1, 1.001),
    (aten.atanh.default, (), -0.99999, 0.99999), (aten.erfc.default, (), -5, 9), (aten.erfinv.default, (), -0.99999, 0.99999),
    (aten.lgamma.default, (), 1e-5, 1e5), (aten.lgamma.default, (), 0.9, 2.1), (aten.special_entr.default, (), 0, 3),
    (aten.softshrink.default, (0.3,), -1, 1), (aten.threshold.default, (0.3, -0.1), -1, 1),
    (aten.pow.Tensor_Scalar, (3,), -100, 100), (aten.pow.Tensor_Scalar, (0.5,), 0, 100), (aten.square.default, (), -9, 9),
]  # fmt: skip


def _outside(call: Call, x: torch.Tensor, exact: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    """Where what was executed in float32 is farther from the exact value than it may be."""
    allowance = ALLOWANCES[operator_name(call.node.target)]
    box = Interval(x.double(), x.double())
    below, above = allowance(call, (box,), Interval(exact, exact), torch.finfo(torch.float32).eps / 2)
    least = 256 * torch.finfo(torch.float32).tiny
    return (found.double() < exact - below - least) | (found.double() > exact + above + least)


@pytest.mark.parametrize(
    ("op", "args", "low", "high"), ELEMENTWISE, ids=[f"{o}-{a}-{lo}" for o, a, lo, _ in ELEMENTWISE]
)
@pytest.mark.parametrize("odd", [False, True], ids=["vectorized", "strided"])
def test_elementwise_functions(op: Any, args: tuple[Any, ...], low: float, high: float, odd: bool) -> None:
    """Contiguous numbers take the vectorized code, others the scalar one."""
    torch.manual_seed(0)
    even = torch.rand(20_000) * (high - low) + low
    small = torch.randn(20_000).clamp(low, high) * 10.0 ** (-6 * torch.rand(20_000))
    x = torch.cat([even, small[(small >= low) & (small <= high)]])
    if odd:
        x = torch.stack([x, x], 1)[:, 0]
    exact, found = op(x.double(), *args), op(x, *args)
    if op in (aten.add.Tensor, aten.sub.Tensor):
        call = Call.of(op, Operand((1,), torch.float32), *args, batch=len(x))
        outside = _outside(call, x[:, None], exact[:, None], found[:, None])
    else:
        call = Call.of(op, Operand((), torch.float32), *args, batch=len(x))
        outside = _outside(call, x, exact, found)
    usable = exact.abs() < 1e38
    assert not bool((outside.reshape(-1) & usable).any()), x[outside.reshape(-1) & usable][:4]


#: Operators that sum up, on one example.
SUMS: list[tuple[str, Any, tuple[int, ...], tuple[Any, ...]]] = [
    ("linear", aten.linear.default, (700,), (torch.randn(5, 700), torch.randn(5))),
    ("matrix", aten.matmul.default, (3, 400), (torch.randn(400, 4),)),
    ("convolution", aten.conv2d.default, (8, 12, 12), (torch.randn(6, 8, 3, 3), torch.randn(6), [1, 1], [1, 1])),
    ("strided", aten.conv2d.default, (8, 12, 12), (torch.randn(6, 4, 5, 5), None, [2, 2], [0, 0], [1, 1], 2)),
    ("line", aten.conv1d.default, (16, 40), (torch.randn(6, 16, 7), torch.randn(6))),
    ("transposed", aten.conv_transpose2d.input, (8, 6, 6), (torch.randn(8, 3, 3, 3), torch.randn(3), [2, 2])),
    ("sum", aten.sum.dim_IntList, (1000,), ([-1],)),
    ("mean", aten.mean.dim, (30, 40), ([-1, -2],)),
    ("running sum", aten.cumsum.default, (500,), (-1,)),
    ("average", aten.avg_pool2d.default, (3, 12, 12), ([3, 3], [2, 2])),
    ("adaptive", aten.adaptive_avg_pool2d.default, (3, 13, 13), ([4, 4],)),
    ("softmax", aten.softmax.int, (50,), (-1,)),
    ("log of softmax", aten.log_softmax.int, (50,), (-1,)),
    ("running log", aten.logcumsumexp.default, (200,), (-1,)),
    ("enlarged", aten.upsample_bilinear2d.vec, (1, 2, 7, 9), (None, False, [1.7, 2.3])),
    ("cubic", aten.upsample_bicubic2d.vec, (1, 2, 7, 9), (None, False, [1.7, 2.3])),
    ("line enlarged", aten.upsample_linear1d.vec, (1, 2, 70), (None, True, [2.3])),
    ("scattered", aten.scatter_add.default, (20,), (-1, torch.arange(300) % 20, torch.randn(300))),
    ("put", aten.index_put.default, (20,), ([torch.arange(300) % 20 - 20], torch.randn(300), True)),
    ("log of sum", aten.logsumexp.default, (50,), ([-1],)),
]  # fmt: skip


def _binary(op: Any, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    exact, found = op(a.double(), b.double()), op(a, b)
    call = Call.of(op, Operand((), torch.float32), Operand((), torch.float32), batch=len(a))
    allowance = ALLOWANCES[operator_name(op)]
    boxes = (Interval(a.double(), a.double()), Interval(b.double(), b.double()))
    below, above = allowance(call, boxes, Interval(exact, exact), torch.finfo(torch.float32).eps / 2)
    least = 256 * torch.finfo(torch.float32).tiny
    usable = exact.abs() < 1e38
    return usable & ((found < exact - below - least) | (found > exact + above + least))


def test_powers_and_angles() -> None:
    torch.manual_seed(2)
    a, b = torch.randn(50_000), torch.randn(50_000) * 10.0 ** (4 * torch.rand(50_000) - 2)
    assert not bool(_binary(aten.atan2.default, a, b).any())
    assert not bool(_binary(aten.pow.Tensor_Tensor, b.abs() + 1e-3, 8 * a).any())


@pytest.mark.parametrize(("name", "op", "shape", "args"), SUMS, ids=[s[0] for s in SUMS])
@pytest.mark.parametrize("scale", [1.0, 100.0])
@pytest.mark.parametrize("positive", [False, True], ids=["mixed", "positive"])
def test_sums(
    name: str, op: Any, shape: tuple[int, ...], args: tuple[Any, ...], scale: float, positive: bool
) -> None:
    torch.manual_seed(1)
    x = torch.randn(16, *shape) * scale
    x = x.abs() if positive else x
    call = Call.of(op, Operand(shape, torch.float32), *args, batch=16)
    wide = [a.double() if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in args]
    if op in (aten.conv1d.default, aten.conv2d.default, aten.conv_transpose2d.input):
        found, exact = op(x, *args), op(x.double(), *wide)
    else:
        found = torch.stack([op(one, *args) for one in x])
        exact = torch.stack([op(one.double(), *wide) for one in x])
    double = Call.of(op, Operand(shape, torch.float64), *wide, batch=16)
    allowance = ALLOWANCES[operator_name(op)]
    box = Interval(x.double(), x.double())
    u = torch.finfo(torch.float32).eps / 2
    below, above = allowance(_in_float32(double, call), (box,), Interval(exact, exact), u)
    assert bool((found.double() >= exact - below - 1e-35).all())
    assert bool((found.double() <= exact + above + 1e-35).all())
    if positive and name in ("sum", "mean", "average", "adaptive", "running sum"):
        assert bool((below <= exact * 1e-2).all())  # relative to the sum, so that it stays positive


def _in_float32(wide: Call, call: Call) -> Call:
    """A call whose constants are float64, and whose node says float32."""
    return Call(call.node, wide.arguments, call.operands, call.shapes, call.batch)
