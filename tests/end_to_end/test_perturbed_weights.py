"""Perturbed weights of every kind of layer, against random members and projected gradient steps."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from lirpa_core import BoundedModule, BoundedParameter, BoundedTensor, PerturbationLpNorm
from lirpa_testing import few_steps, method_names

F64 = torch.float64
NORMS = (float("inf"), 2.0, 1.0)


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], **options: Any) -> None:
        super().__init__()
        self.layer = kind(2, 2, batch_first=True, **options)
        self.head = nn.Linear(4 if options.get("bidirectional") else 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.layer(x)
        return self.head(out[:, -1])


class Words(nn.Module):
    """An embedding table that is also the transposed output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(4, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return torch.relu(self.words(ids).mean(1)) @ self.words.weight.T


class Twice(nn.Module):
    """One layer used twice, and its transpose as a decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.layer(torch.relu(self.layer(x))))
        return (hidden @ self.layer.weight)[:, :2]


class Tied(nn.Module):
    """Two modules that hold the same parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x)))[:, :2]


def image_model(layer: nn.Module, width: int) -> nn.Module:
    return nn.Sequential(layer, nn.ReLU(), nn.Flatten(), nn.Linear(width, 2))


def normalised() -> nn.Module:
    layers = nn.Sequential(
        nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(),
        nn.Linear(8, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 2),
    )  # fmt: skip
    for norm in (layers[1], layers[5]):
        nn.init.uniform_(norm.weight, -1.0, 1.0)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
    return layers


#: Model and shape of one example; None for word numbers.
CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...] | None]] = {
    "linear": (lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), (3,)),
    "conv2d": (lambda: image_model(nn.Conv2d(2, 2, 2, stride=2, padding=1), 8), (2, 3, 3)),
    "conv groups": (lambda: image_model(nn.Conv2d(2, 4, 2, groups=2, dilation=2), 4), (2, 3, 3)),
    "conv1d": (lambda: image_model(nn.Conv1d(2, 2, 2), 6), (2, 4)),
    "transposed conv": (lambda: image_model(nn.ConvTranspose2d(1, 2, 2, stride=2), 32), (1, 2, 2)),
    "batch norm": (normalised, (1, 3, 3)),
    "layer norm": (lambda: nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.ReLU(), nn.Linear(3, 2)), (3,)),
    "embedding": (Words, None),
    "lstm": (lambda: Recurrent(nn.LSTM), (2, 2)),
    "gru": (lambda: Recurrent(nn.GRU), (2, 2)),
    "rnn": (lambda: Recurrent(nn.RNN, bidirectional=True), (2, 2)),
    "used twice": (Twice, (3,)),
    "tied": (Tied, (3,)),
}


def prepare(case: str) -> tuple[nn.Module, Tensor]:
    make, shape = CASES[case]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = make().double().eval()
        x = torch.tensor([[0, 1], [3, 3]]) if shape is None else torch.randn(2, *shape, dtype=F64)
    return model, x


def perturbed(model: nn.Module, eps: float) -> tuple[nn.Module, dict[str, PerturbationLpNorm]]:
    """A copy with a ball around every parameter, of one norm after the other."""
    result = copy.deepcopy(model)
    balls = {}
    owners = [(module, name) for module in result.modules() for name in module._parameters]
    made: dict[int, nn.Parameter] = {}
    for (owner, name), (path, parameter) in zip(
        owners, result.named_parameters(remove_duplicate=False), strict=True
    ):
        if id(parameter) not in made:
            balls[path] = PerturbationLpNorm(norm=NORMS[len(balls) % 3], eps=eps)
            made[id(parameter)] = BoundedParameter(parameter, balls[path])
        setattr(owner, name, made[id(parameter)])
    return result, balls


def members(
    model: nn.Module, balls: dict[str, PerturbationLpNorm], x: Tensor, ball: PerturbationLpNorm | None
) -> Iterator[Tensor]:
    """Outputs `[B, K]` at random weights (and inputs), and at those that gradient steps lead to."""
    generator = torch.Generator().manual_seed(0)
    nominal = {name: p.detach() for name, p in model.named_parameters() if name in balls}
    outputs = model(x).shape[1]
    for goal in range(2 * outputs):
        weights = {n: balls[n].sample(w[None], 4, generator)[goal % 4, 0] for n, w in nominal.items()}
        z = x if ball is None else ball.sample(x, 4, generator)[goal % 4]
        for step in range(6):
            moving = {n: w.clone().requires_grad_() for n, w in weights.items()}
            z = z if ball is None else z.detach().requires_grad_()
            out = functional_call(model, moving, (z,), tie_weights=True)
            yield out.detach()
            chosen = out[:, goal // 2].sum() * (1 if goal % 2 else -1)
            leaves = [*moving.values(), *([] if ball is None else [z])]
            rises = torch.autograd.grad(chosen, leaves)
            length = 1.0 / (step + 1)
            moved = [
                leaf.detach() + length * g / (g.norm() + 1e-12) for leaf, g in zip(leaves, rises, strict=True)
            ]
            if ball is not None:
                z = ball.project(x, moved[-1][None])[0]
            weights = {
                n: balls[n].project(nominal[n][None], m[None, None])[0, 0]
                for n, m in zip(weights, moved, strict=False)
            }


#: A plain recurrent layer has time, and gates have tests of their own.
GATED = ("lstm", "gru")


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=pytest.mark.thorough) if c in GATED else c for c in CASES]
)
def test_no_member_escapes(case: str, methods: tuple[str, ...]) -> None:
    model, x = prepare(case)
    moved, balls = perturbed(model, 0.05)
    bounded = BoundedModule(moved, x, batch_dims=(0,), bound_opts=few_steps())
    inputs = [None] if not x.is_floating_point() else [None, PerturbationLpNorm(norm=2, eps=0.1)]
    for ball in inputs:
        seen = torch.stack(list(members(model, balls, x, ball)))
        point = x if ball is None else BoundedTensor(x, ball)
        widths = {}
        for method in dict.fromkeys(("IBP", "CROWN-IBP", "CROWN", *methods)):
            lower, upper = bounded.compute_bounds(x=(point,), method=method)
            assert bool((seen.amin(0) >= lower - 1e-9).all()), (method, ball)
            assert bool((seen.amax(0) <= upper + 1e-9).all()), (method, ball)
            widths[method] = (upper - lower).mean().item()
        assert widths["CROWN"] <= widths["CROWN-IBP"] + 1e-9 <= widths["IBP"] + 2e-9


@pytest.mark.parametrize("case", ["linear", "conv2d", "batch norm", "embedding", "gru", "used twice"])
def test_coefficients_of_weights(case: str) -> None:
    """`[B, K, *weight.shape]`: one linear function of all weights for each example."""
    model, x = prepare(case)
    moved, balls = perturbed(model, 0.05)
    bounded = BoundedModule(moved, x, batch_dims=(0,))
    lower, upper, A = bounded.compute_bounds(x=(x,), method="CROWN", return_A=True)
    forms = A[bounded.output_name[0]]
    paths = {name: bounded.graph[name].path for name in forms}
    assert sorted(paths.values()) == sorted(balls)
    for name, path in paths.items():
        assert forms[name]["lA"].shape == (2, lower.shape[1], *model.get_parameter(path).shape)
    bias = {side: next(iter(forms.values()))[f"{side}bias"] for side in "lu"}
    generator = torch.Generator().manual_seed(3)
    nominal = dict(model.named_parameters())
    for _ in range(10):
        weights = {n: b.sample(nominal[n].detach()[None], 1, generator)[0, 0] for n, b in balls.items()}
        out = functional_call(model, weights, (x,), tie_weights=True)
        low, up = (
            bias[side] + sum((forms[n][f"{side}A"] * weights[p]).flatten(2).sum(2) for n, p in paths.items())
            for side in "lu"
        )
        assert bool((low <= out + 1e-9).all() and (out <= up + 1e-9).all())
        assert bool((lower <= low + 1e-9).all() and (up <= upper + 1e-9).all())


def test_one_layer_is_bounded_exactly() -> None:
    """An affine model of its weights: the extremes over a ball are known."""
    torch.manual_seed(0)
    plain, x = nn.Conv2d(2, 3, 2).double(), torch.randn(2, 2, 3, 3, dtype=F64)
    layer = copy.deepcopy(plain)
    layer.weight = BoundedParameter(plain.weight, PerturbationLpNorm(norm=2, eps=0.1))
    patches = nn.functional.unfold(x, 2).norm(dim=1).reshape(2, 1, 2, 2)  # what each output sees
    for method in method_names():
        lower, upper = BoundedModule(layer, x).compute_bounds(x=x, method=method)
        torch.testing.assert_close(upper, plain(x) + 0.1 * patches)
        torch.testing.assert_close(lower, plain(x) - 0.1 * patches)


def test_a_weight_has_one_set_for_all_examples() -> None:
    from lirpa_core.errors import PerturbationError

    layer, x = nn.Linear(4, 2), torch.zeros(3, 4)
    layer.weight = BoundedParameter(layer.weight, PerturbationLpNorm(torch.tensor([0.1, 0.2, 0.3]), 2))
    with pytest.raises(PerturbationError, match=r"'weight': eps has shape .* must be one number \(a weight"):
        BoundedModule(layer, x).compute_bounds(x=x)


def test_perturbed_parameter_that_the_model_does_not_use() -> None:
    from lirpa_core.errors import PerturbationError

    class Spare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    model, x = Spare(), torch.zeros(1, 2)
    model.spare.weight = BoundedParameter(model.spare.weight, PerturbationLpNorm(eps=0.1))
    point = BoundedTensor(x, PerturbationLpNorm(eps=0.1))
    with pytest.raises(
        PerturbationError, match=r"parameter 'spare\.weight' is perturbed, but it is not part"
    ):
        BoundedModule(model, x).compute_bounds(x=point)
