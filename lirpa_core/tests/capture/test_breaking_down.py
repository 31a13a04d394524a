"""Operators without a rule are broken down where they stand; the program computes what it computed."""

import copy
import operator

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.capture.breaking_down import PART_OF, broken_down, decompositions
from lirpa_core.plugins import default_registry


class Written(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.linspace(-1, 1, 12).view(3, 4))

    def forward(self, x):
        return self.function(x, self.weight)


def values_and_index(x, w):
    values, index = (x @ w).max(dim=-1)
    return values, index, values


def unpacked(x, w):
    first, second = (x @ w).chunk(2, dim=-1)
    return second, first


FUNCTIONS = {
    "of PyTorch's table": lambda x, w: F.smooth_l1_loss(x @ w, x @ w + w[0], reduction="none"),
    "made of others by PyTorch": lambda x, w: F.cosine_similarity(x @ w, x @ w + 1, dim=-1),
    "of the registry's table": lambda x, w: torch.xlogy(x @ w, 1 + (x @ w) ** 2),
    "constants out of nothing": lambda x, w: x @ w + torch.arange(4) * torch.ones(4),
    "one after the other": lambda x, w: F.silu(F.gelu(F.silu(x @ w), approximate="tanh")),
    "several results": values_and_index,
    "several results of parts": unpacked,
    "to another type, which PyTorch checks": lambda x, w: F.silu(x @ w).to(torch.float64),
    "batch norm": lambda x, w: F.batch_norm(x @ w, torch.zeros(4), torch.ones(4)),
    "a result that is an input": lambda x, w: (x, x @ w),
    "the same tensor twice, then two": lambda x, w: [
        F.huber_loss(x, x, reduction="none"),
        F.huber_loss(x, x @ w @ w.T, reduction="none"),
    ],
    "the same again": lambda x, w: [F.silu(x @ w), F.silu(x @ w + 1), F.silu(x)],
}


def exported(function):
    torch.manual_seed(0)
    x = torch.randn(2, 3)
    model = Written(function)
    return model, x, torch.export.export(model, (x,), strict=False)


def leaves(result):
    return torch.utils._pytree.tree_leaves(result)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_the_program_computes_what_it_computed_by_operators_that_have_rules(function):
    model, x, program = exported(function)
    registry = default_registry()

    done = broken_down(program, registry)

    assert done
    for now, before in zip(leaves(program.module()(x)), leaves(model(x)), strict=True):
        torch.testing.assert_close(now, before)
    program.graph.lint()
    called = {node for node in program.graph.nodes if node.op == "call_function" and node.all_input_nodes}
    assert {node.target for node in called} <= {*registry.operators, operator.getitem}
    assert all(PART_OF in node.meta and "val" in node.meta for node in called)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_pytorch_itself_finds_the_same_values(function):
    _, x, program = exported(function)
    other = copy.deepcopy(program).run_decompositions(decompositions(default_registry()))

    broken_down(program, default_registry())

    for mine, theirs in zip(leaves(program.module()(x)), leaves(other.module()(x)), strict=True):
        torch.testing.assert_close(mine, theirs)


def writes(x, w):
    y = x @ w
    z = y.view(-1)
    z.mul_(2.0)
    return y


def test_a_program_that_writes_is_left_as_it_was():
    _, _, program = exported(writes)
    before = [(node.name, node.target) for node in program.graph.nodes]

    assert not broken_down(program, default_registry())
    assert [(node.name, node.target) for node in program.graph.nodes] == before


def test_an_operator_of_which_nothing_is_known_is_left_to_pytorch():
    _, _, program = exported(lambda x, w: torch.special.bessel_j1(x @ w))

    assert not broken_down(program, default_registry())


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_bounds_are_those_of_what_pytorch_breaks_down(function, monkeypatch):
    def bounds():
        model, x, _ = exported(lambda x, w: leaves(function(x, w))[-1])
        bounded = BoundedModule(model, x)
        box = BoundedTensor(x, PerturbationLpNorm(eps=0.05))
        return bounded.compute_bounds(x=(box,), method="CROWN")

    mine = bounds()
    monkeypatch.setattr("lirpa_core.capture.export.broken_down", lambda *_: False)
    theirs = bounds()

    for ours, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(ours, other)


def test_parts_remember_the_operator_that_the_model_executes():
    _, _, program = exported(lambda x, w: F.smooth_l1_loss(x @ w, x @ w + w[0], reduction="none"))
    names = {node.name for node in program.graph.nodes}

    broken_down(program, default_registry())

    parts = [node for node in program.graph.nodes if node.name not in names and node.all_input_nodes]
    assert {node.meta[PART_OF] for node in parts} == {torch.ops.aten.smooth_l1_loss.default}


class Named(nn.Module):
    def forward(self, input):  # noqa: A002  as PyTorch's own layers name it
        return F.silu(input)


def test_inputs_keep_the_names_that_users_know():
    x = torch.randn(2, 3)
    program = torch.export.export(Named(), (x,), strict=False)

    assert broken_down(program, default_registry())
    assert program.graph_signature.user_inputs == ("input",)
    torch.testing.assert_close(program.module()(x), F.silu(x))
