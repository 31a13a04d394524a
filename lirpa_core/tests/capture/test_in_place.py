"""Operators that write into what they read: afterwards there are none, and the program computes the same."""

import pytest
import torch
from torch import nn

from lirpa_core.capture.functions import FunctionModule
from lirpa_core.capture.in_place import make_new

X = torch.randn(1, 4, generator=torch.Generator().manual_seed(0))


def read_later(x):
    y = x * 2
    z = y.add_(1)
    return y * z


def through_a_view(x):
    y = x * 2
    y[:, :2].add_(1)
    return y


def a_view_before(x):
    y = x * 2
    v = y.view(2, 2)
    y.exp_()
    return v.sum() + y


def into_the_input(x):
    x.add_(1)
    return x * x


def a_chain(x):
    return (x * 2).add_(1).exp_().mul_(x)


def a_wider_type(x):
    return (x * 2).mul_(torch.ones(4, dtype=torch.float64))


def a_shape(x):
    return (x * 2).unsqueeze_(1).squeeze_(1) + 1


def set_items(x):
    y = torch.zeros(1, 4)
    y[:, 1:] = x[:, 1:]
    return y


def _written(program):
    return [
        n for n in program.graph.nodes if getattr(getattr(n.target, "_schema", None), "is_mutable", False)
    ]


@pytest.mark.parametrize(
    "function",
    [read_later, through_a_view, a_view_before, into_the_input, a_chain, a_wider_type, a_shape, set_items],
    ids=lambda f: f.__name__,
)
def test_values_stay_and_what_is_written_to_is_named(function):
    program = torch.export.export(FunctionModule(function), (X.clone(),), strict=False)
    named = make_new(program)
    torch.testing.assert_close(program.module()(X.clone()), function(X.clone()))
    for node in _written(program):
        assert {node, node.args[0]} <= named


def test_a_view_of_what_is_written_to_is_named():
    program = torch.export.export(FunctionModule(a_view_before), (X,), strict=False)
    assert {"view", "mul", "exp_"} <= {n.name for n in make_new(program)}


@pytest.mark.parametrize("function", [read_later, a_chain, a_wider_type, a_shape], ids=lambda f: f.__name__)
def test_what_is_read_for_the_last_time_is_written_to_no_more(function):
    program = torch.export.export(FunctionModule(function), (X.clone(),), strict=False)
    assert len(_written(program)) > 0
    make_new(program)
    left = [n.name for n in _written(program)]
    assert left == (["mul_"] if function is a_wider_type else [])


def test_layers_that_work_in_place():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3),
        nn.BatchNorm2d(2),
        nn.ReLU(inplace=True),
        nn.Conv2d(2, 1, 1),
        nn.ReLU6(inplace=True),
    )
    program = torch.export.export(model.eval(), (torch.randn(1, 1, 5, 5),), strict=False)
    assert make_new(program) == set() and not _written(program)
