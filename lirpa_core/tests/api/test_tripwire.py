"""The tripwire: what it notices, what it leaves alone, and how often it runs the model."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedParameter, BoundedTensor, PerturbationLpNorm
from lirpa_core.capture.fingerprint import Fingerprint
from lirpa_core.errors import OptionError, SoundnessError
from lirpa_core.linear.interval import Interval
from lirpa_core.plugins import default_registry
from lirpa_core.rules.unary import Curve, Unary

aten = torch.ops.aten
METHODS = [entry.method.name for entry in default_registry().methods]
X = torch.tensor([[0.5, -0.25, 1.0]])


def ball(x: Tensor = X, eps: float = 0.1, **kwargs: object) -> BoundedTensor:
    return BoundedTensor(x, PerturbationLpNorm(eps=eps, **kwargs))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2))


def counted(model: nn.Module) -> list[None]:
    """A list that gets longer by one whenever the model runs."""
    calls: list[None] = []
    model.register_forward_hook(lambda module, args, output: calls.append(None))
    return calls


#: Half of a hyperbolic tangent, which someone took for the whole.
WRONG = Unary(Curve(f=lambda x: 0.5 * torch.tanh(x) + 3, monotone=1))


@pytest.mark.parametrize("method", METHODS)
def test_a_wrong_rule_is_noticed_with_its_node(method: str) -> None:
    registry = default_registry().with_rules({aten.tanh.default: WRONG})
    bounded = BoundedModule(network(), X, registry=registry)
    with pytest.raises(SoundnessError, match=r"first node that leaves its interval is 'tanh'"):
        bounded.compute_bounds(x=(ball(),), method=method)
    bounded.set_bound_opts({"tripwire": False})
    bounded.compute_bounds(x=(ball(),), method=method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("specified", [False, True])
def test_a_model_that_is_no_longer_what_was_captured_is_noticed(
    method: str, specified: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network()
    bounded = BoundedModule(model, X)
    monkeypatch.setattr(Fingerprint, "holds", lambda self: True)
    model[1].forward = lambda z: z + 10
    C = torch.eye(2)[None] if specified else None
    with pytest.raises(SoundnessError, match="something that has changed since"):
        bounded.compute_bounds(x=(ball(),), method=method, C=C)


def test_corners_notice_what_the_middle_does_not() -> None:
    #: Right in the middle of the box alone.
    flat = Unary(Curve(f=lambda x: torch.tanh(x).clamp(-0.2, 0.2), monotone=1))
    registry = default_registry().with_rules({aten.tanh.default: flat})
    model, x = nn.Tanh(), torch.zeros(2, 3)
    bounded = BoundedModule(model, x, registry=registry)
    bounded.compute_bounds(x=(ball(x, 0.5),))
    bounded.set_bound_opts({"tripwire": "corners"})
    with pytest.raises(SoundnessError):
        bounded.compute_bounds(x=(ball(x, 0.5),))


@pytest.mark.parametrize("method", METHODS)
def test_corners_of_a_sound_model_are_silent(method: str) -> None:
    bounded = BoundedModule(network(), X, {"tripwire": "corners"})
    for norm in (1.0, 2.0, float("inf")):
        bounded.compute_bounds(x=(ball(norm=norm),), method=method)


def test_how_often_the_model_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    bounded = BoundedModule(model, X)
    monkeypatch.setattr(Fingerprint, "holds", lambda self: True)  # the hook that counts changes the model
    calls = counted(model)

    def runs(count: int, method: str) -> int:
        calls.clear()
        for _ in range(count):
            bounded.compute_bounds(x=(ball(),), method=method)
        return len(calls)

    assert runs(16, "IBP") == 5  # at 1, 2, 4, 8 and 16
    assert runs(3, "CROWN") == 3
    bounded.set_bound_opts({"tripwire": False})
    assert runs(3, "CROWN") == 0


def repeat(count: int, bounded: BoundedModule, method: str) -> None:
    for _ in range(count):
        bounded.compute_bounds(x=(ball(),), method=method)


class Counting(nn.Module):
    """Counts its calls, and changes its mind after some of them."""

    calls = 0

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.layer, self.limit, self.own, self.log = nn.Linear(3, 2), limit, 0, []

    def forward(self, x: Tensor) -> Tensor:
        self.own += 1
        Counting.calls += 1
        self.log.append(self.own)
        return self.layer(x) * (3 if self.own > self.limit else 1)


@pytest.mark.parametrize("method", ["IBP", "CROWN"])
def test_counters_cost_no_capture_and_are_watched(method: str) -> None:
    model = Counting(limit=10**6)
    bounded = BoundedModule(model, X)
    graph = bounded.graph
    for _ in range(3):
        bounded.compute_bounds(x=(ball(),), method=method)
    assert bounded.graph is graph
    model.limit = 0  # no note of its own, so followed
    bounded.compute_bounds(x=(ball(),), method=method)
    assert bounded.graph is not graph
    model.limit = model.own + 20
    with pytest.raises(SoundnessError, match="something that has changed since"):
        repeat(60, bounded, method)


def test_rounding_of_the_model_is_no_alarm() -> None:
    layer = nn.Linear(3, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[2.0**25, -(2.0**25), -0.3]]))
        layer.bias.fill_(0.0)
    x = torch.tensor([[1.0, 1.0, 1.0]])
    bounded = BoundedModule(nn.Sequential(layer, nn.ReLU()), x)
    for method in METHODS:
        bounded.compute_bounds(x=(ball(x, 1e-9),), method=method)


def test_a_nominal_point_outside_of_its_set_is_moved_into_it() -> None:
    bounded = BoundedModule(network(), X, {"tripwire": "corners"})
    low, up = torch.full((1, 3), 3.0), torch.full((1, 3), 4.0)
    box = BoundedTensor(X, PerturbationLpNorm(x_L=low, x_U=up))
    bounded.compute_bounds(x=(box,))


def test_weights_and_several_outputs() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            return self.layer(x).T, {"sum": x.sum(-1), "constant": torch.ones(2)}

    model = Two()
    weight = model.layer.weight
    model.layer.weight = BoundedParameter(weight.data, PerturbationLpNorm(eps=0.01))
    bounded = BoundedModule(model, torch.randn(4, 3), {"tripwire": "corners"})
    lower, upper = bounded.compute_bounds(x=(ball(torch.randn(4, 3)),), method="IBP")
    assert lower[0].shape == upper[0].shape == (2, 4)
    lower, _ = bounded.compute_bounds(
        x=(ball(torch.randn(4, 3)),), C=torch.randn(4, 5, 2), output=0, method="IBP"
    )
    assert lower.shape == (4, 5)


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(OptionError, match="tripwire"):
        BoundedModule(network(), X, {"tripwire": "sometimes"})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("dtype", "eps"),
    [
        *[(torch.float32, 0.0), (torch.float32, 1e-7), (torch.float64, 0.0), (torch.float64, 1e-9)],
        *[
            pytest.param(*case, marks=pytest.mark.thorough)
            for case in [(torch.float32, 1e-9), (torch.float64, 1e-7)]
        ],
    ],
    ids=str,
)
def test_a_set_of_one_point_has_ordered_bounds(method: str, dtype: torch.dtype, eps: float) -> None:
    torch.manual_seed(1)
    layers = [
        nn.Linear(6, 40),
        nn.Tanh(),
        nn.Linear(40, 40),
        nn.GELU(),
        nn.Linear(40, 40),
        nn.ReLU(),
        nn.Linear(40, 9),
    ]
    model, x = nn.Sequential(*layers).to(dtype), 3 * torch.randn(30, 6, dtype=dtype)
    bounded = BoundedModule(model, x)
    lower, upper = bounded.compute_bounds(x=(ball(x, eps),), method=method)
    assert (lower <= upper).all()
    loose = 1e-4 if dtype is torch.float32 else 1e-12
    assert (lower - loose <= model(x)).all() and (model(x) <= upper + loose).all()


def test_bounds_that_cross_widely_are_a_defect() -> None:
    class Crossed(Unary):
        def interval(self, call, inputs):
            return Interval(inputs[0].upper + 1, inputs[0].lower)

    registry = default_registry().with_rules({aten.tanh.default: Crossed(WRONG.curve)})
    with pytest.raises(SoundnessError, match="exceeds its upper bound"):
        BoundedModule(nn.Tanh(), X, registry=registry).compute_bounds(x=(ball(),), method="IBP")
