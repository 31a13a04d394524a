"""One budget for several tensors, against models that take them as one tensor."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedParameter, BoundedTensor, PerturbationJoint, PerturbationLpNorm
from lirpa_core.errors import PerturbationError
from lirpa_testing import check_perturbation, method_names

F64 = torch.float64
BALLS: dict[str, dict[str, Any]] = {
    "L1": {"norm": 1, "eps": 0.4},
    "L2": {"norm": 2, "eps": 0.4},
    "Linf": {"eps": 0.2},
    "L2 in a box": {"norm": 2, "eps": 0.6, "x_L": 0.0, "x_U": 1.0},
    "own radii": {"norm": 2, "eps": torch.tensor([0.1, 0.5], dtype=F64)},
}


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


class Pair(nn.Module):
    """Two inputs of different ranks; `OneVector` is the same function of one vector."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.out = nn.Linear(3, 5), nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.out(torch.relu(self.left(x) - self.right(y.flatten(1))))


class OneVector(nn.Module):
    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self.pair = pair

    def forward(self, z: Tensor) -> Tensor:
        return self.pair(z[:, :3], z[:, 3:].unflatten(1, (2, 2)))


@pytest.fixture(scope="module")
def pair() -> Pair:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Pair().double().eval()


@pytest.fixture(scope="module")
def bounded(pair: Pair) -> BoundedModule:
    return BoundedModule(pair, (rand(1, 3), rand(1, 2, 2)))


@pytest.fixture(scope="module")
def whole(pair: Pair) -> BoundedModule:
    return BoundedModule(OneVector(pair), rand(1, 7))


@pytest.mark.parametrize("ball", BALLS)
@pytest.mark.parametrize("method", method_names())
def test_two_inputs_are_bounded_like_one(
    bounded: BoundedModule, whole: BoundedModule, ball: str, method: str
) -> None:
    x, y, base = rand(2, 3), rand(2, 2, 2, seed=1), PerturbationLpNorm(**BALLS[ball])
    joint = PerturbationJoint(base)
    got = bounded.compute_bounds(x=(BoundedTensor(x, joint), BoundedTensor(y, joint)), method=method)
    expected = whole.compute_bounds(x=BoundedTensor(joint.join(x, y), base), method=method)
    torch.testing.assert_close(got.lower, expected.lower)
    torch.testing.assert_close(got.upper, expected.upper)
    apart = bounded.compute_bounds(x=(BoundedTensor(x, base), BoundedTensor(y, base)), method=method)
    assert bool((apart.lower <= got.lower + 1e-12).all())
    if ball != "Linf":
        assert (apart.upper - apart.lower).mean() > 1.05 * (got.upper - got.lower).mean()


def test_linear_bounds_are_given_for_each_input(bounded: BoundedModule) -> None:
    x, y, base = rand(2, 3), rand(2, 2, 2, seed=1), PerturbationLpNorm(norm=2, eps=0.4)
    joint = PerturbationJoint(base)
    inputs = (BoundedTensor(x, joint), BoundedTensor(y, joint))
    lower, _, A = bounded.compute_bounds(x=inputs, method="CROWN", return_A=True)
    forms = A[bounded.output_name[0]]
    found = [forms[name] for name in bounded.input_name]
    flat = torch.cat([f["lA"].flatten(2) for f in found], 2)
    value = torch.einsum("bkn,bn->bk", flat, joint.join(x, y)) + found[0]["lbias"] - 0.4 * flat.norm(dim=2)
    torch.testing.assert_close(value, lower)


def test_along_a_dimension() -> None:
    class Sum(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return torch.cat([x, 2 * y], 1).sum((1, 2))

    x, y = rand(2, 3, 4), rand(2, 5, 4, seed=1)
    limit = torch.tensor([0.1] * 3 + [0.2] * 5, dtype=F64).unsqueeze(1)  # [T, 1]: one radius a word
    joint = PerturbationJoint(PerturbationLpNorm(eps=limit), dim=0)
    assert joint.join(x, y).shape == (2, 8, 4)
    assert all(torch.equal(a, b) for a, b in zip(joint.split(joint.join(x, y), x, y), (x, y), strict=True))
    many = joint.join(x, y).expand(6, 2, 8, 4)
    assert [list(part.shape) for part in joint.split(many, x, y)] == [[6, 2, 3, 4], [6, 2, 5, 4]]
    bounds = BoundedModule(Sum(), (x, y)).compute_bounds(x=(BoundedTensor(x, joint), BoundedTensor(y, joint)))
    centre = Sum()(x, y)
    torch.testing.assert_close(bounds.upper - centre, torch.full_like(centre, 0.1 * 12 + 2 * 0.2 * 20))


@pytest.mark.parametrize("method", method_names())
def test_weight_and_bias_share_a_ball(method: str) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(3, 2).double(), rand(4, 3)
    joint = PerturbationJoint(PerturbationLpNorm(norm=2, eps=0.3))
    model = copy.deepcopy(layer)
    model.weight, model.bias = BoundedParameter(layer.weight, joint), BoundedParameter(layer.bias, joint)
    lower, upper = BoundedModule(model, x).compute_bounds(x=x, method=method)
    radius = 0.3 * (x.square().sum(1, keepdim=True) + 1).sqrt()  # one row of the weight and its bias move
    torch.testing.assert_close(lower, layer(x) - radius)
    torch.testing.assert_close(upper, layer(x) + radius)


@pytest.mark.parametrize("method", method_names())
def test_input_and_weights_share_a_ball(method: str) -> None:
    torch.manual_seed(0)
    plain, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double(), rand(2, 3)
    base = PerturbationLpNorm(norm=2, eps=torch.tensor([0.1, 0.4], dtype=F64))  # one radius an example
    joint, model = PerturbationJoint(base), copy.deepcopy(plain)
    for layer in (model[0], model[2]):
        layer.weight = BoundedParameter(layer.weight, joint)
    weights = [plain[0].weight.detach(), plain[2].weight.detach()]
    bounded = BoundedModule(model, x)
    lower, upper = bounded.compute_bounds(x=BoundedTensor(x, joint), method=method)
    tensors = (x, *(w.unsqueeze(0) for w in weights))
    members = base.sample(joint.join(*tensors), 300, torch.Generator().manual_seed(0))
    z, first, second = joint.split(members, *tensors)  # [n, B, ...]: other weights for each example
    hidden = torch.relu(torch.einsum("nbi,nbji->nbj", z, first) + plain[0].bias)
    out = torch.einsum("nbi,nbji->nbj", hidden, second) + plain[2].bias
    assert bool((out >= lower - 1e-9).all() and (out <= upper + 1e-9).all())
    apart = copy.deepcopy(plain)
    for layer in (apart[0], apart[2]):
        layer.weight = BoundedParameter(layer.weight, PerturbationLpNorm(norm=2, eps=0.4))
    looser = BoundedModule(apart, x).compute_bounds(x=BoundedTensor(x, base), method=method)
    ratio = ((upper - lower).mean() / (looser.upper - looser.lower).mean()).item()
    assert ratio <= 1 + 1e-12
    if method not in ("IBP", "CROWN-IBP"):  # a product of two perturbed factors only sees their boxes
        assert ratio < 0.9


def test_alone_it_is_its_base() -> None:
    x = rand(2, 2, 3)
    for joint in (PerturbationJoint(PerturbationLpNorm(norm=2, eps=0.3)),
                  PerturbationJoint(PerturbationLpNorm(norm=1, eps=0.3, x_L=0.0, x_U=1.0), dim=-1)):  # fmt: skip
        check_perturbation(joint, x, rows=4)


def test_copies_and_conversions_stay_together(bounded: BoundedModule) -> None:
    joint = PerturbationJoint(PerturbationLpNorm(norm=2, eps=torch.tensor([0.3])))
    parts = [BoundedTensor(rand(1, 3).float(), joint), BoundedTensor(rand(1, 2, 2).float(), joint)]
    moved = [part.double() for part in parts]
    expected = bounded.compute_bounds(x=tuple(moved)).lower
    for twin in (copy.deepcopy(moved), pickle.loads(pickle.dumps(moved)), [p.detach() for p in moved]):
        assert torch.equal(bounded.compute_bounds(x=tuple(twin)).lower, expected)
    other = PerturbationJoint(joint.base)  # another joint set: nothing is shared with the first
    apart = bounded.compute_bounds(x=(moved[0], BoundedTensor(moved[1].plain(), other))).lower
    assert bool((apart < expected).all())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PerturbationJoint(0.1), "base must be a Perturbation"),
        (lambda: PerturbationJoint(PerturbationJoint(PerturbationLpNorm(0.1))), "base must be"),
        (lambda: PerturbationJoint(PerturbationLpNorm(0.1), dim=1.5), "dim must be"),
    ],
)
def test_wrong_arguments(make: Any, words: str) -> None:
    with pytest.raises(PerturbationError, match=words):
        make()


@pytest.mark.parametrize(
    ("joint", "words"),
    [
        (PerturbationJoint(PerturbationLpNorm(0.1), dim=0), "cannot be joined along dim = 0"),
        (PerturbationJoint(PerturbationLpNorm(0.1, x_L=torch.zeros(9))), "x_L has shape"),
        (PerturbationJoint(PerturbationLpNorm(norm=2, eps=torch.ones(3))), "eps has shape"),
    ],
)
def test_what_does_not_fit_names_the_inputs(bounded: BoundedModule, joint: Any, words: str) -> None:
    with pytest.raises(PerturbationError, match=words) as caught:
        bounded.compute_bounds(x=(BoundedTensor(rand(2, 3), joint), BoundedTensor(rand(2, 2, 2), joint)))
    assert "input 'x' with input 'y'" in str(caught.value)
