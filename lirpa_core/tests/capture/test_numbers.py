"""Numbers in the code of a model: bounds are those of the numbers that kernels compute with."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.capture.numbers import as_taken, computed_in
from lirpa_core.errors import UnsupportedOperandError

#: The numbers of float32 next to a tenth and to e.
TENTH, E = ctypes.c_float(0.1).value, ctypes.c_float(math.e).value
METHODS = ("IBP", "CROWN")


def bounds(f: Callable[[Tensor], Tensor], x: Tensor, eps: float) -> list[tuple[Tensor, Tensor]]:
    ball, bounded = BoundedTensor(x, PerturbationLpNorm(eps=eps)), BoundedModule(f, x)
    found = [bounded.compute_bounds(x=(ball,), method=method) for method in METHODS]
    return [(lower.double(), upper.double()) for lower, upper in found]


def holds(f: Callable[[Tensor], Tensor], x: Tensor, value: Tensor, eps: float = 1e-12) -> bool:
    """Whether bounds around a point hold a value, in every method."""
    return all([bool(((lower <= value) & (value <= upper)).all()) for lower, upper in bounds(f, x, eps)])


def wrapped(f: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A part in float32 of a model in float64."""
    return lambda x: f(x.float()).double()


def whole(f: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return f


@pytest.mark.parametrize(("around", "dtype"), [(whole, torch.float32), (wrapped, torch.float64)])
def test_a_divisor_is_the_number_of_the_type(around, dtype):
    at, tenths = (3.14e5, 1.0e6), (Fraction(TENTH), Fraction(0.1))
    left, other = ([Fraction(x) % tenth for x in at] for tenth in tenths)
    assert all([abs(a - b) > Fraction(1, 1000) for a, b in zip(left, other, strict=True)])
    value = torch.tensor([list(map(float, left)) * 2], dtype=torch.float64)
    model = around(lambda x: torch.cat([torch.remainder(x, 0.1), torch.fmod(x, 0.1)], 1))
    assert holds(model, torch.tensor([at], dtype=dtype), value)


JUMPS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "gt": (lambda x: (x > 0.1).to(x.dtype), 0.0),
    "ge": (lambda x: (x >= 0.1).to(x.dtype), 1.0),
    "eq": (lambda x: (x == 0.1).to(x.dtype), 1.0),
    "threshold": (lambda x: F.threshold(x, 0.1, 7.0), 7.0),
    "hardshrink": (lambda x: F.hardshrink(x, 0.1), 0.0),
    "remainder": (lambda x: torch.remainder(x, 0.1), 0.0),
    "pad": (lambda x: F.pad(x - x, (0, 1), value=0.1)[:, 1:], TENTH),
    "where": (lambda x: torch.where(x > 5, x, 0.1), TENTH),
    "masked_fill": (lambda x: x.masked_fill(x < 5, 0.1), TENTH),
    "clamp": (lambda x: x.clamp(max=0.1), TENTH),
}


def test_what_is_chosen_and_where_functions_jump():
    """At the number of float32 that stands for a tenth, in a part that is in float32."""
    model = wrapped(lambda x: torch.cat([f(x) for f, _ in JUMPS.values()], 1))
    x = torch.tensor([[TENTH]], dtype=torch.float64)
    value = torch.tensor([[expected for _, expected in JUMPS.values()]], dtype=torch.float64)
    assert torch.equal(model(x), value)
    for lower, upper in bounds(model, x, eps=0.0):
        held = (lower <= value) & (value <= upper)
        assert [name for name, here in zip(JUMPS, held[0].tolist(), strict=True) if not here] == []


def test_a_power_of_a_number_in_a_part_in_float32_is_bounded():
    model, x = wrapped(lambda x: 1.1**x), torch.tensor([[30.0]], dtype=torch.float64)
    assert holds(model, x, model(x))


@pytest.mark.parametrize(("number", "known"), [(0.1, False), (0.25, True)])
def test_a_step_of_16_bits_is_where_every_kernel_has_it(number, known):
    x = torch.tensor([[0.5]])
    for f in (torch.gt, lambda x, c: F.threshold(x, c, 1.0)):
        model = lambda x, f=f: f(x.to(torch.bfloat16), number).to(x.dtype)  # noqa: E731
        if known:
            assert holds(model, x, model(x))
        else:
            with pytest.raises(UnsupportedOperandError, match=r"the kernel; compare with 0\.10009765625"):
                bounds(model, x, 0.1)


# ---------------------------------------------------------------------- powers of e


def test_powers_of_the_number_next_to_e_are_not_exponentials():
    """Their difference is 10²⁹ at 80, and not nothing; behind a sigmoid as many units of the last digit as the operand."""
    x = torch.tensor([[80.0]])
    expected = torch.tensor([[math.exp(80) - E**80, E**80, 1 / (1 + E**80)]], dtype=torch.float64)

    def model(x: Tensor) -> Tensor:
        power = math.e**x
        return torch.cat([torch.exp(x) - power, power, 1 / (1 + math.e ** (-x * -1.0))], 1)

    assert holds(model, x, expected, eps=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_written_with_powers_of_e_is_as_tight_as_with_exponentials(dtype):
    def model(x: Tensor, exp: Callable[[Tensor], Tensor]) -> Tensor:
        sigmoid = 1 / (1 + exp(-x))
        tanh = (exp(x) - exp(-x)) / (exp(x) + exp(-x))
        return torch.cat([sigmoid, tanh, exp(x) / exp(x).sum(-1, keepdim=True)], 1)

    x = torch.tensor([[0.5, -1.5]], dtype=dtype)
    one, other = (bounds(lambda x, e=e: model(x, e), x, 0.25) for e in (torch.exp, lambda x: math.e**x))
    torch.testing.assert_close(one, other, atol=1e-5 if dtype == torch.float32 else 1e-13, rtol=0)


def test_a_pattern_is_in_no_type():
    graph = torch.fx.Graph()
    node = graph.call_function(torch.ops.aten.pow.Scalar, (0.1, graph.placeholder("x")))
    assert computed_in(node) is None and as_taken(node, "self", 0.1) == 0.1
    node.meta["val"] = torch.zeros(2)
    assert computed_in(node) is torch.float32 and as_taken(node, "self", 0.1) == TENTH
    assert as_taken(node, "exponent", node) is node and as_taken(node, "self", 2) == 2
