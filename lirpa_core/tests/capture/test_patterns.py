"""Patterns: where they are found, where they must not be, and what is left of what they replace."""

import math

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.capture.functions import FunctionModule
from lirpa_core.capture.in_place import make_new
from lirpa_core.capture.patterns import rewrite
from lirpa_core.capture.patterns.compiled import by_size, compiled
from lirpa_core.errors import PluginError
from lirpa_core.plugins import Pattern

X = torch.randn(1, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
FOUND = "aten.mish.default"


def written(x: Tensor) -> Tensor:
    return x * torch.tanh(torch.log(1 + torch.exp(x)))


def becomes(x: Tensor) -> Tensor:
    return nn.functional.mish(x)


MISH = Pattern("mish", written, becomes)


def rewritten(function, *patterns, x=X):
    """The targets of a function's program with patterns replaced, which computes the same still."""
    program = torch.export.export(FunctionModule(function), (x,), strict=False)
    rewrite(program, patterns, make_new(program))
    program.graph.lint()
    torch.testing.assert_close(program.module()(x), function(x), equal_nan=True)
    return [str(n.target) for n in program.graph.nodes if n.op == "call_function"]


HELD = {
    "as it is": lambda x: x * torch.tanh(torch.log(1 + torch.exp(x))),
    "in another order": lambda x: torch.tanh(torch.log1p(x.exp())) * x,
    "of a part": lambda x: x[..., :2] * torch.tanh(torch.log(1 + torch.exp(x[..., :2]))),
    "of a sum": lambda x: (x + 1) * torch.tanh(torch.log(1 + torch.exp(x + 1))),
    "of a multiple that is nowhere": lambda x: x * torch.tanh(torch.log(1 + torch.exp(2 * x))),
    "times a number": lambda x: 3 * x * torch.tanh(torch.log(1 + torch.exp(x))),
    "among other factors": lambda x: x.sin() * x * torch.tanh(torch.log(1 + torch.exp(x))) / x.cos(),
    "written in place": lambda x: (x * 1.5).exp_().add_(1).log_().tanh_().mul_(x * 1.5),
    "detached": lambda x: x * torch.tanh(torch.log(1 + torch.exp(x.detach()))),
    "a constant tensor": lambda x: (
        x * torch.tanh(torch.log(torch.tensor(1.0, dtype=torch.float64) + torch.exp(x)))
    ),
    "in another shape": lambda x: x.sum(-1) * torch.tanh(torch.log(1 + torch.exp(x.sum(-1)))),
    "through a dropout that drops nothing": lambda x: (
        x * torch.tanh(torch.log(1 + torch.dropout(x.exp(), 0.5, False)))
    ),
}


@pytest.mark.parametrize("name", HELD)
def test_found(name):
    targets = rewritten(HELD[name], MISH)
    assert FOUND in targets
    assert not any("log" in t or "tanh" in t for t in targets)


def mixed(x):
    y = x * 1.0
    z = torch.exp(y)
    y.add_(1)  # what is multiplied is no longer what was exponentiated
    return y * torch.tanh(torch.log(1 + z))


LEFT = {
    "another number": lambda x: x * torch.tanh(torch.log(2 + torch.exp(x))),
    "another operand": lambda x: x.sin() * torch.tanh(torch.log(1 + torch.exp(x))),
    "written to in between": mixed,
    "two dropouts": lambda x: (
        torch.dropout(x, 0.5, True) * torch.tanh(torch.log(1 + torch.exp(torch.dropout(x, 0.5, True))))
    ),
}


@pytest.mark.parametrize("name", LEFT)
def test_left_alone(name):
    program = torch.export.export(FunctionModule(LEFT[name]), (X,), strict=False)
    rewrite(program, [MISH], make_new(program))
    assert FOUND not in [str(n.target) for n in program.graph.nodes]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_types_in_which_each_operator_rounds_are_left_alone(dtype):
    assert FOUND not in rewritten(written, MISH, x=X.to(dtype))
    assert FOUND not in rewritten(lambda x: written(x.to(dtype)).double(), MISH)


def test_what_differs_by_more_than_rounding_is_not_used():
    """A pattern whose sides are two functions is caught by the evaluation on random numbers."""
    wrong = Pattern("wrong", written, lambda x: nn.functional.mish(x) + 1e-6)
    wrong_shape = Pattern("wrong shape", written, lambda x: nn.functional.mish(x)[0])
    assert FOUND not in rewritten(written, wrong, wrong_shape)


def test_conditions_hang_on_shapes_and_numbers():
    def scaled(x: Tensor, a: float) -> Tensor:
        return torch.maximum(x, a * x)

    def leaky(x: Tensor, a: float) -> Tensor:
        return nn.functional.leaky_relu(x, a)

    def small(x: Tensor, a: float) -> bool:
        return a <= 0.1 and x.shape[-1] == 4

    pattern = Pattern("leaky", scaled, leaky, small)
    assert "aten.leaky_relu.default" in rewritten(lambda x: torch.maximum(0.05 * x, x), pattern)
    assert "aten.leaky_relu.default" not in rewritten(
        lambda x: torch.maximum(0.05 * x, x), pattern, x=X[..., :3]
    )
    # The maximum of x and 0.5 x is also that of 0.5 x and 2 · 0.5 x: neither number is small.
    assert "aten.leaky_relu.default" not in rewritten(lambda x: torch.maximum(0.5 * x, x), pattern)


def test_numbers_and_dimensions_are_bound():
    seen = {}

    def norm(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
        return x / torch.sqrt(torch.square(x).mean(dims, keepdim=True) + eps)

    def same(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
        seen.update(dims=dims, eps=eps)
        return x * torch.rsqrt(torch.square(x).mean(dims, keepdim=True) + eps).clone()

    rewritten(
        lambda x: x / ((x * x).sum((0, 2), keepdim=True) / 4 + 0.25) ** 0.5, Pattern("norm", norm, same)
    )
    assert seen["dims"] == (-3, -1) and seen["eps"] == 0.25


def test_infinity_is_no_large_number():
    def masked(x: Tensor, mask: Tensor) -> Tensor:
        return torch.softmax(torch.masked_fill(x, mask, -math.inf), -1)

    def same(x: Tensor, mask: Tensor) -> Tensor:
        return torch.softmax(torch.where(mask, x * 0 - math.inf, x), -1).relu()

    pattern = Pattern("masked", masked, same)
    assert "aten.relu.default" in rewritten(lambda x: x.masked_fill(x > 0, -math.inf).softmax(-1), pattern)
    assert "aten.relu.default" not in rewritten(lambda x: x.masked_fill(x > 0, -1e9).softmax(-1), pattern)


def test_a_summand_among_others_and_times_a_number():
    def difference(x: Tensor, dim: int) -> Tensor:
        return x - torch.logsumexp(x, dim, keepdim=True)

    def log_softmax(x: Tensor, dim: int) -> Tensor:
        return torch.log_softmax(x, dim)

    pattern = Pattern("difference", difference, log_softmax)
    for function in (
        lambda x: torch.logsumexp(x, -1, keepdim=True) - x,
        lambda x: x.sin() + 2 * x - 2 * torch.logsumexp(x, 1, keepdim=True) + 7,
        lambda x: (x + x.sin()) - torch.logsumexp(x + x.sin(), 1, keepdim=True),
    ):
        targets = rewritten(function, pattern)
        assert "aten.log_softmax.int" in targets and "aten.logsumexp.default" not in targets
    untouched = rewritten(lambda x: x - 2 * torch.logsumexp(x, 1, keepdim=True), pattern)
    assert "aten.log_softmax.int" not in untouched


def test_inner_parts_that_are_read_elsewhere_stay():
    def both(x):
        e = torch.exp(x)
        return x * torch.tanh(torch.log(1 + e)), e

    program = torch.export.export(FunctionModule(both), (X,), strict=False)
    rewrite(program, [MISH], make_new(program))
    targets = [str(n.target) for n in program.graph.nodes]
    assert FOUND in targets and "aten.exp.default" in targets and "aten.tanh.default" not in targets
    torch.testing.assert_close(program.module()(X), both(X))


def test_a_model_that_differentiates_is_not_looked_through_at_detach():
    """A gradient that is stopped is not the gradient of the function."""

    def gradient(x):
        return torch.func.jvp(
            lambda y: y * torch.tanh(torch.log(1 + torch.exp(y.detach()))), (x,), (torch.ones_like(x),)
        )[1]

    program = torch.export.export(FunctionModule(gradient), (X.clone(),), strict=False)
    rewrite(program, [MISH], make_new(program))
    torch.testing.assert_close(program.module()(X.clone()), gradient(X))


def test_larger_patterns_are_tried_first():
    def inner(x: Tensor) -> Tensor:
        return torch.log(1 + torch.exp(x))

    small = Pattern("a", inner, lambda x: nn.functional.softplus(x))
    assert [c.pattern for c in by_size([small, MISH])] == [MISH, small]
    assert rewritten(written, small, MISH) == [FOUND]


def branches(x: Tensor) -> Tensor:
    return x if x.sum() > 0 else -x


def two_results(x: Tensor) -> Tensor:
    return x, x + 1


def unknown(x: Tensor) -> Tensor:
    return torch.nn.functional.unfold(x, 2)


def two_numbers(x: Tensor, a: float, b: float) -> Tensor:
    return torch.tanh(a * b * x)


def nothing(x: Tensor) -> Tensor:
    return x


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (branches, "may not branch"),
        (two_results, "instead of one tensor"),
        (unknown, "of which no pattern knows"),
        (two_numbers, "open numbers"),
        (nothing, "computes nothing"),
    ],
)
def test_what_can_be_no_pattern_is_refused_by_name(function, why):
    with pytest.raises(PluginError, match=why) as refused:
        compiled(Pattern("mine", function, function))
    assert "'mine'" in str(refused.value) and function.__name__ in str(refused.value)


def test_a_constant_that_is_read_as_a_number_may_change():
    """The slope is a tensor of the closure: bounds are those of its value now."""
    slope = torch.tensor(0.1, dtype=torch.float64)
    x = torch.linspace(-1, 1, 4, dtype=torch.float64)[None]
    bounded = BoundedModule(lambda x: torch.where(x > 0, x, slope * x), x)
    ball = BoundedTensor(x, PerturbationLpNorm(eps=0.25))
    assert "aten.leaky_relu.default" in [str(n.target) for n in bounded.graph.nodes]
    for value in (0.1, 0.9, -0.5):
        slope.fill_(value)
        lower, upper = bounded.compute_bounds(x=(ball,), method="CROWN")
        for offset in (-0.25, 0.0, 0.25):
            y = nn.functional.leaky_relu(x + offset, value)
            assert (lower <= y + 1e-12).all() and (y <= upper + 1e-12).all()


TRANSFORMED = {
    "SiLU, mapped": lambda x: torch.func.vmap(lambda v: v * v.sigmoid())(x),
    "ReLU, mapped": lambda x: torch.func.vmap(lambda v: torch.where(v > 0, v, 0.0))(x),
    "softmax, mapped": lambda x: torch.func.vmap(lambda v: v.exp() / v.exp().sum(-1, keepdim=True))(x),
    "SiLU, derivative": lambda x: torch.func.jvp(lambda v: v * v.sigmoid(), (x,), (torch.ones_like(x),))[1],
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_models_that_transform_functions_are_bounded_as_they_are_written(name):
    model, x = TRANSFORMED[name], torch.rand(1, 4)
    lower, upper = BoundedModule(model, x).compute_bounds(
        BoundedTensor(x, PerturbationLpNorm(eps=0.05)), method="CROWN"
    )
    for point in x + 0.05 * (2 * torch.rand(50, 1, 4) - 1):
        value = model(point)
        assert bool((lower <= value).all() and (value <= upper).all())


def test_numbers_of_conditions_are_numbers():
    """A condition and its conversion are one term; no kernel of mish takes booleans."""
    assert rewritten(lambda x: written((x > 0.1).double()), MISH).count(FOUND) == 1
    x = torch.tensor([[0.4, -0.2, 0.1]], dtype=torch.float64)

    def function(x: Tensor) -> Tensor:
        return nn.functional.tanhshrink((x > 0.1).to(x.dtype)) + nn.functional.silu((x > 0).to(x.dtype))

    lower, upper = BoundedModule(function, x).compute_bounds(BoundedTensor(x, PerturbationLpNorm(eps=0.05)))
    assert bool((lower <= function(x)).all() and (function(x) <= upper).all())
    assert bool(((upper - lower)[:, :2] < 1e-5).all())  # decided
