"""Terms: what is the same function is the same term, and what is not is not."""

import math

import pytest
import torch
from torch import nn

from lirpa_core.capture.terms import TermReader, Terms, as_product, as_sum, product, scaled, total
from lirpa_core.capture.terms.operators import OPERATORS

X = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))


class Two(nn.Module):
    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x, y):
        return self.first(x, y), self.second(x, y)


def both(first, second):
    program = torch.export.export(Two(first, second), (X, X + 1), strict=False)
    reader = TermReader(OPERATORS)
    results = next(n for n in program.graph.nodes if n.op == "output").args[0]
    return [reader.term(n) for n in results]


SAME = {
    "order of summands": (lambda x, y: x + y + 1, lambda x, y: 1 + (y + x)),
    "a difference": (lambda x, y: x - y, lambda x, y: -(y - x)),
    "numbers multiplied out": (lambda x, y: 2 * (x + y) - y, lambda x, y: x + x + y),
    "alpha": (lambda x, y: torch.add(x, y, alpha=2), lambda x, y: x + 2 * y),
    "rsub": (lambda x, y: 1 - x, lambda x, y: -x + 1),
    "order of factors": (lambda x, y: x * 2 * y, lambda x, y: y * x * 2),
    "quotients": (lambda x, y: x / y / 2, lambda x, y: 0.5 * x * y.reciprocal()),
    "roots": (lambda x, y: x / torch.sqrt(y), lambda x, y: torch.rsqrt(y) * x),
    "powers": (lambda x, y: x * x * x, lambda x, y: x**3),
    "a root of a square": (lambda x, y: y * (x**2) ** 0.5, lambda x, y: torch.sqrt(x.square()) * y),
    "exponentials": (lambda x, y: 1 / torch.exp(x), lambda x, y: torch.exp(-x)),
    "their powers": (lambda x, y: torch.exp(x) ** 2, lambda x, y: torch.exp(x + x)),
    "a number to the power": (lambda x, y: 2**x, lambda x, y: (x * math.log(2)).exp()),
    "log1p": (lambda x, y: torch.log1p(x), lambda x, y: torch.log(1 + x)),
    "expm1": (lambda x, y: torch.expm1(x), lambda x, y: torch.exp(x) - 1),
    "mean": (lambda x, y: x.sum(-1) / 4, lambda x, y: x.mean(-1)),
    "mean of two dimensions": (lambda x, y: x.sum((1, 2), keepdim=True) / 12, lambda x, y: x.mean((-1, 1), keepdim=True)),
    "variance": (lambda x, y: x.var(-1, unbiased=False), lambda x, y: ((x - x.mean(-1, keepdim=True)) ** 2).mean(-1)),
    "corrected": (lambda x, y: x.var(-1), lambda x, y: x.var(-1, correction=0) * (4 / 3)),
    "deviation": (lambda x, y: x.std(1, correction=0), lambda x, y: x.var(1, correction=0) ** 0.5),
    "norm": (lambda x, y: x.norm(dim=-1), lambda x, y: torch.sqrt((x * x).sum(-1))),
    "norm of linalg": (lambda x, y: torch.linalg.vector_norm(x, dim=-1), lambda x, y: (x**2).sum(2) ** 0.5),
    "maximum": (lambda x, y: x.max(-1)[0], lambda x, y: x.amax(2)),
    "keepdim": (lambda x, y: x.amax(-1).unsqueeze(-1), lambda x, y: x.amax(-1, keepdim=True)),
    "keepdim, later": (lambda x, y: x.sum(-1).log()[..., None], lambda x, y: torch.log(x.sum(-1, keepdim=True))),
    "expand": (lambda x, y: x / x.sum(-1, keepdim=True).expand_as(x), lambda x, y: x / x.sum(-1, keepdim=True)),
    "one maximum": (lambda x, y: x - x.max(), lambda x, y: x - x.amax((0, 1, 2), keepdim=True)),
    "comparison": (lambda x, y: torch.where(x > y, x, y), lambda x, y: torch.where(y < x, x, y)),
    "masked_fill": (lambda x, y: x.masked_fill(x > 0, 1.0), lambda x, y: torch.where(x > 0, 1.0, x)),
    "not": (lambda x, y: torch.where(~(x > y), x, y), lambda x, y: torch.where(x > y, y, x)),
    "true as a number": (lambda x, y: x * (x > 0), lambda x, y: x * (x > 0).float()),
    "clamp": (lambda x, y: x.clamp(min=0), lambda x, y: torch.relu(x)),
    "zeros": (lambda x, y: torch.maximum(torch.zeros_like(x), x), lambda x, y: torch.relu(x)),
    "detach": (lambda x, y: x.detach() + y, lambda x, y: x + y),
    "softmax": (lambda x, y: torch.softmax(x, 2), lambda x, y: x.softmax(-1)),
    "what is not known": (lambda x, y: torch.cumsum(x + y, 1), lambda x, y: torch.cumsum(y + x, 1)),
}  # fmt: skip

DIFFERENT = {
    "operands": (lambda x, y: x - y, lambda x, y: y - x),
    "numbers": (lambda x, y: 2 * x, lambda x, y: 2.5 * x),
    "dimensions": (lambda x, y: x.sum(-1, keepdim=True), lambda x, y: x.sum(1, keepdim=True)),
    "roots of squares": (lambda x, y: y * torch.sqrt(x * x), lambda x, y: y * x),
    "roots of products": (lambda x, y: torch.sqrt(x * y), lambda x, y: torch.sqrt(x) * torch.sqrt(y)),
    "dropout": (lambda x, y: torch.dropout(x, 0.5, True), lambda x, y: torch.dropout(x, 0.5, True)),
    "random numbers": (lambda x, y: torch.rand_like(x), lambda x, y: torch.rand_like(x)),
    "zeros of other signs": (lambda x, y: torch.copysign(x, 0.0), lambda x, y: torch.copysign(x, -0.0)),
    "rounding of quotients": (lambda x, y: torch.div(x, y, rounding_mode="floor"), lambda x, y: x / y),
    "truth values": (lambda x, y: x * ((x > 0) + (y > 0)), lambda x, y: x * (x > 0) + x * (y > 0)),
    "whole numbers": (lambda x, y: x * ((x > 0).long() // 2), lambda x, y: x * ((x > 0).long() / 2)),
    "equality": (lambda x, y: torch.where(x > y, x, 1.0), lambda x, y: torch.where(x >= y, x, 1.0)),
    "order in place of value": (lambda x, y: x.max(-1)[1], lambda x, y: x.max(-1)[0]),
    "shapes": (lambda x, y: x.sum(-1), lambda x, y: x.sum(-1, keepdim=True)),
    "a conversion": (lambda x, y: x.to(torch.float16).float(), lambda x, y: x),
    "e as a number of the type": (lambda x, y: math.e**x, lambda x, y: x.exp()),
}


@pytest.mark.parametrize("name", SAME)
def test_the_same_function_is_the_same_term(name):
    first, second = SAME[name]
    torch.testing.assert_close(first(X.abs(), X.abs() + 1), second(X.abs(), X.abs() + 1))
    one, other = both(first, second)
    assert one is other


@pytest.mark.parametrize("name", DIFFERENT)
def test_another_function_is_another_term(name):
    one, other = both(*DIFFERENT[name])
    assert one is not other


def test_sums_and_products_are_read_as_they_were_made():
    terms = Terms()
    x, y = (terms.make("variable", (), name) for name in "xy")
    made = total(terms, {x: 2.0, y: -3.0}, 5.0)
    assert as_sum(terms, made) == ({x: 2.0, y: -3.0}, 5.0)
    assert total(terms, {made: 2.0, x: -4.0}) is total(terms, {y: -6.0}, 10.0)
    assert scaled(terms, scaled(terms, made, 2.0), 0.5) is made
    power = product(terms, {x: 2.0, y: -1.0}, 4.0)
    assert as_product(terms, power) == ({x: 2.0, y: -1.0}, 4.0)
    assert product(terms, {power: 0.5}) is product(terms, {product(terms, {x: 2.0, y: -1.0}): 0.5}, 2.0)
    assert product(terms, {power: -1.0, x: 2.0}) is product(terms, {y: 1.0}, 0.25)
    assert product(terms, {made: 1.0}, 2.0) is scaled(terms, made, 2.0)


def test_a_deep_network_can_be_shown():
    """A term that is written out whole would not fit in memory."""

    def deep(x, y):
        for _ in range(60):
            x = torch.sin(x) * torch.cos(x)
        return x

    term, _ = both(deep, deep)
    assert len(repr(term)) < 1000
