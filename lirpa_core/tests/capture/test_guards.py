"""Checks that only raise are taken to hold, and the result says so; what may do more is refused."""

import contextlib
import os
import sys

import pytest
import torch

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.capture import guards
from lirpa_core.errors import DataDependentBranchError

X = torch.tensor([[0.1, -0.2, 0.3], [0.0, 0.2, 0.1]])


def positive(x):
    if x.sum() > 100:
        raise ValueError("too large")


def by_if(x):
    if torch.isnan(x).any():
        raise ValueError("NaN")
    return 2 * x


def with_a_message(x):
    if not torch.isfinite(x).all():
        message = "not finite"
        raise ValueError(message)
    return 2 * x


def by_else(x):
    if (x < 3).all():
        y = 2 * x
    else:
        raise ValueError
    return y


def by_assert(x):
    assert not x.isnan().any(), "NaN"
    assert (x < 9).all() and bool((x > -9).all())
    return 2 * x


def several(x):
    if x.isnan().any() or (x > 100).any().item():
        raise ValueError
    return 2 * x


def by_float(x):
    if float(x.isnan().any()) or not int(torch.isfinite(x).all()):
        raise ValueError
    return 2 * x


def by_torch(x):
    torch._assert((x < 9).all(), "large")
    return 2 * x


def by_another_function(x):
    with torch.no_grad():
        positive(x)
    return 2 * x


@pytest.mark.parametrize(
    "function", [by_if, with_a_message, by_else, by_assert, several, by_float, by_torch, by_another_function]
)
def test_what_only_raises_is_assumed(function):
    result = BoundedModule(function, X).compute_bounds(x=(BoundedTensor(X, PerturbationLpNorm(eps=0.1)),))
    torch.testing.assert_close(result.upper, 2 * X + 0.2)
    assert result.assumed and all("test_guards.py:" in place and "`" in place for place in result.assumed)


def test_a_model_without_checks_assumes_nothing():
    result = BoundedModule(torch.tanh, X).compute_bounds(x=(BoundedTensor(X, PerturbationLpNorm(eps=0.1)),))
    assert result.assumed == ()


def test_distributions_validate_their_arguments():
    def model(x):
        return torch.distributions.Normal(x, x.exp(), validate_args=True).log_prob(torch.zeros_like(x))

    def without(x):
        return torch.distributions.Normal(x, x.exp(), validate_args=False).log_prob(torch.zeros_like(x))

    ball = BoundedTensor(X, PerturbationLpNorm(eps=0.1))
    checked, plain = (BoundedModule(f, X).compute_bounds(x=(ball,), method="CROWN") for f in (model, without))
    torch.testing.assert_close(checked.upper, plain.upper)
    assert "distribution.py" in checked.assumed[0] and not plain.assumed


def a_choice(x):
    if x.sum() > 0:
        x = 2 * x
    return x


def a_factor(x):
    return x * float((x > 0).all())


def compared_with_another(x):
    if float((x > 0).all()) > 0.5:
        raise ValueError
    return 2 * x


def caught(x):
    try:
        positive(x)
    except ValueError:
        x = 3 * x
    return x


def caught_here(x):
    try:
        if x.sum() > 0:
            raise ValueError
    except ValueError:
        x = 3 * x
    return x


def suppressed(x):
    y = x
    with contextlib.suppress(ValueError):
        positive(x)
        y = 2 * x
    return y


def one_of_two_tests(x):
    if x.sum() > 0 if x.sum() > 1 else x.sum() > 3:
        raise ValueError
    return x


def returns_first(x):
    if x.sum() > 0:
        return x
    return 2 * x


def a_loop(x):
    while x.sum() > 0:
        x = x - 1
    return x


def a_value(x):
    flag = bool(x.sum() > 0)
    return x * flag


def binds_in_a_part_left_out(x):
    scale = 1
    if x.sum() > 1 and (scale := 2) > 3:
        raise ValueError
    return x * scale


def writes_in_a_part_left_out(x):
    y = x.clone()
    if x.sum() > 1 and y.mul_(5).sum() > 100:
        raise ValueError
    return y


def asserts_or_calls(x):
    seen = []
    assert x.sum() < 1 or seen.append(3) is None
    return x * (1 + len(seen))


class Steps:
    def __init__(self, x):
        self.x, self.step = x, 0

    def __iter__(self):
        return self

    def __next__(self):
        self.step += 1
        if self.step > 2:
            raise StopIteration
        if self.x.sum() > 1:
            raise StopIteration
        return self.step


def a_loop_that_ends(x):
    for _ in Steps(x):
        x = 2 * x
    return x


class Scale:
    def __init__(self, x):
        self.x = x

    @property
    def scale(self):
        if self.x.sum() > 1:
            raise AttributeError
        return 2


def a_missing_attribute(x):
    return x * getattr(Scale(x.detach()), "scale", 1)


ERROR = StopIteration()


def raises_what_it_was_given(x):
    if x.sum() > 1:
        raise ERROR
    return x


@pytest.mark.parametrize(
    "function",
    [
        a_choice, caught, caught_here, suppressed, one_of_two_tests, returns_first, a_loop, a_value, binds_in_a_part_left_out,
        writes_in_a_part_left_out, asserts_or_calls, a_loop_that_ends, a_missing_attribute, raises_what_it_was_given,
        a_factor, compared_with_another,
    ],
)  # fmt: skip
def test_what_may_do_more_is_refused(function):
    with pytest.raises(DataDependentBranchError):
        BoundedModule(function, X)


def test_packages_beside_pytorch_are_looked_at_too():
    frame = type("Frame", (), {})()
    frame.f_code = compile("0", f"{guards._TORCH.rstrip(os.sep)}vision/checks.py", "eval")
    frame.f_back, frame.f_lasti = sys._getframe(), 0
    assert not guards._gets_out(frame, __file__)
