"""Ways to write sparsemax."""

import pytest
import torch

from lirpa_core import BoundedModule

X = torch.linspace(-1, 1, 8).reshape(2, 4).double()


def _k(x):
    return torch.arange(1, x.shape[-1] + 1, dtype=x.dtype)


def by_support(x):
    s = x.sort(-1, descending=True).values
    support = 1 + _k(x) * s > s.cumsum(-1)
    count = support.sum(-1, keepdim=True).to(x.dtype)
    return (x - ((s * support).sum(-1, keepdim=True) - 1) / count).clamp(min=0)


def by_position(x):
    s, _ = torch.sort(x, dim=1, descending=True)
    size = (s.cumsum(1) - 1 < s * _k(x)).sum(1, keepdim=True)
    return torch.relu(x - (s.cumsum(1).gather(1, size - 1) - 1) / size.to(x.dtype))


def by_entmax(x):
    """As in the package entmax, and in pytorch-tabnet."""
    x = x - x.max(-1, keepdim=True)[0]
    topk = x.topk(4, dim=-1).values
    cumsum = topk.cumsum(-1) - 1
    support = torch.arange(1, 5, dtype=x.dtype).view(1, -1) * topk > cumsum
    size = support.sum(dim=-1).unsqueeze(-1)
    tau = cumsum.gather(-1, size - 1)
    tau = tau / size.to(x.dtype)
    return torch.clamp(x - tau, min=0)


def by_candidates(x):
    return (x - ((x.sort(-1, descending=True).values.cumsum(-1) - 1) / _k(x)).amax(-1, True)).clamp(min=0)


def _targets(function):
    return [str(n.target) for n in BoundedModule(function, X).graph.nodes if n.target is not None]


@pytest.mark.parametrize("function", [by_support, by_position, by_entmax, by_candidates])
def test_found(function):
    assert _targets(function) == ["lirpa.sparsemax.default"]


def two(x):
    s = x.sort(-1, descending=True).values
    support = 2 + _k(x) * s > s.cumsum(-1)
    count = support.sum(-1, keepdim=True).to(x.dtype)
    return (x - ((s * support).sum(-1, keepdim=True) - 1) / count).clamp(min=0)


def of_the_first_three(x):
    return (x - ((x.topk(3, -1).values.cumsum(-1) - 1) / torch.arange(1, 4)).amax(-1, True)).clamp(min=0)


def ascending(x):
    return (x - ((x.sort(-1).values.cumsum(-1) - 1) / _k(x)).amax(-1, True)).clamp(min=0)


def counted_from_zero(x):
    return (x - ((x.sort(-1, descending=True).values.cumsum(-1) - 1) / (_k(x) + 1)).amax(-1, True)).clamp(
        min=0
    )


def of_another(x):
    return (2 * x - ((x.sort(-1, descending=True).values.cumsum(-1) - 1) / _k(x)).amax(-1, True)).clamp(min=0)


def in_between_rounded(x):
    s = x.sort(-1, descending=True).values
    return (x - ((s.cumsum(-1) - 1) / _k(x)).amax(-1, True).float().double()).clamp(min=0)


@pytest.mark.parametrize(
    "function", [two, of_the_first_three, ascending, counted_from_zero, of_another, in_between_rounded]
)
def test_almost_is_not_enough(function):
    assert "lirpa.sparsemax.default" not in _targets(function)
