"""Planes of products with a perturbed weight: sound, of the smallest slopes, and tighter through networks."""

import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedParameter, BoundedTensor, PerturbationLpNorm
from lirpa_core.linear.interval import Interval
from lirpa_core.operators.matmul import LINEAR
from lirpa_core.rules import MIXTURE, Bilinear, weights
from lirpa_core.rules.call import Call, Operand
from lirpa_core.rules.mccormick import mean_planes
from lirpa_core.rules.weights import shares_of_inputs, weight_planes
from lirpa_testing import check_rule

aten = torch.ops.aten


def call(tokens=2, batch=3) -> Call:
    return Call.of(aten.linear.default, Operand((1, tokens, 3)), Operand((2, 3)), batch=batch)


def test_the_kit_finds_nothing_wrong():
    check_rule(LINEAR, call(1), examples=5, regimes=("wide",))


def test_they_cost_least_over_the_boxes(oracle):
    """The least value of the plane below over the box is no less than that of any mixture, and above likewise."""
    here = call()
    inputs = oracle.boxes(here, width=2.0)
    product = LINEAR._product(here, inputs)
    own = weight_planes(product)

    def ends(relaxation):
        low, up = (
            sum(
                term.interval(box).lower if side is relaxation.lower else term.interval(box).upper
                for term, box in zip(side.terms, inputs, strict=True)
            )
            + side.bias
            for side in (relaxation.lower, relaxation.upper)
        )
        return low, up

    low, up = ends(own)
    others = [mean_planes(product)]
    for m in (-1.0, -0.4, 0.3, 1.0):
        share = torch.full_like(product.x.midpoint, m)
        others.append(LINEAR.mixture.planes(product, (share, share)))
    for other in others:
        below, above = ends(other)
        assert (low >= below - 1e-12).all() and (up <= above + 1e-12).all()


def test_behind_a_relu_they_are_the_planes_through_the_lower_end(oracle):
    here = call()
    x, w = oracle.boxes(here, width=1.0)
    x = Interval(x.lower.clamp(min=0), x.upper.clamp(min=0.5))
    found = LINEAR.relax(here, (x, w))
    product = LINEAR._product(here, (x, w))
    points = [x.lower, w.upper], [x.lower, w.lower], [x.upper, w.lower]
    for side, at in ((found.lower, points[1:]), (found.upper, points[:1])):
        for point in at:
            value = product.of_left(point[1]).apply(point[0])
            if side is found.lower and point is points[2]:
                continue
            torch.testing.assert_close(oracle.line(side, point, here), value)


def test_shares_do_not_move_where_the_input_does_not(oracle):
    here = call()
    x, w = oracle.boxes(here)
    fixed = Interval(x.lower, torch.where(torch.arange(3) == 1, x.lower, x.lower + 1))
    below, above = shares_of_inputs(LINEAR._product(here, (fixed, w)))
    for slope in (below, above):
        still = slope.least == slope.greatest
        assert still[..., 1].all() and not still[..., 0].any() and not still[..., 2].any()


def _perturbed(activation: type[nn.Module], eps: float, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for size in (4, 10, 10):
        layers += [nn.Linear(size, 10), activation()]
    network = nn.Sequential(*layers, nn.Linear(10, 3)).double()
    for layer in network:
        if isinstance(layer, nn.Linear):
            layer.weight = BoundedParameter(layer.weight.data, PerturbationLpNorm(eps=eps))
    return network


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
@pytest.mark.parametrize("moving", [False, True])
def test_tighter_than_the_mean_of_the_planes(activation, moving, monkeypatch):
    x = torch.randn(2, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    given = BoundedTensor(x, PerturbationLpNorm(eps=0.1)) if moving else x
    network = _perturbed(activation, 0.02, 1)
    for method in ("CROWN", "CROWN-IBP"):
        with torch.no_grad():
            lower, upper = BoundedModule(network, x).compute_bounds((given,), method=method)
            with monkeypatch.context() as patch:
                patch.setattr(weights, "nearest_to_zero", lambda midpoint, radius: 0 * midpoint)  # the mean
                low, up = BoundedModule(network, x).compute_bounds((given,), method=method)
        assert (upper - lower).mean() < 0.95 * (up - low).mean()
        for _ in range(30):
            moved = x + 0.1 * (2 * torch.rand_like(x) - 1) if moving else x
            out = _sampled(network, moved)
            assert (out >= lower).all() and (out <= upper).all()


def _sampled(network, x):
    moved = {
        name: p + 0.02 * (2 * torch.rand_like(p) - 1).sign() if name.endswith("weight") else p
        for name, p in network.named_parameters()
    }
    return torch.func.functional_call(network, {k: v.detach() for k, v in moved.items()}, (x,))


def test_products_of_two_inner_values_keep_the_mean():
    assert Bilinear("self", "mat2")._mixture is MIXTURE
