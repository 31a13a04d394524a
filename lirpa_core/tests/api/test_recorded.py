"""`BoundedModule.compiled`: bounds from a recording are those of `compute_bounds`, and nothing stale is replayed."""

from __future__ import annotations

import collections
import ctypes
import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from lirpa_core import BoundedModule, BoundedParameter, BoundedTensor, PerturbationLpNorm
from lirpa_core.api.computation import Computation
from lirpa_core.api.outputs import output_nodes
from lirpa_core.errors import (
    DomainError,
    InputError,
    NonFiniteBoundError,
    OptionError,
    PerturbationError,
    SoundnessError,
)
from lirpa_core.linear.coefficients import Coefficients
from lirpa_core.methods import CROWN
from lirpa_core.plugins import default_registry

#: A recording takes a second.
pytestmark = pytest.mark.slow
METHODS = [m.method.name for m in default_registry().methods if not m.method.optimises_slopes]


def _model(second: type[nn.Module] = nn.LeakyReLU) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Linear(4, 9), nn.ReLU(), nn.Linear(9, 7), second(), nn.Linear(7, 3)]
    return nn.Sequential(*layers).double().eval()


def _x(seed: int, batch: int = 2) -> Tensor:
    return torch.rand(batch, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _ball(x: Tensor, eps: Any = 0.1, norm: float = math.inf) -> BoundedTensor:
    return BoundedTensor(x, PerturbationLpNorm(eps=eps, norm=norm))


def _close(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found.lower, expected.lower.detach(), rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(found.upper, expected.upper.detach(), rtol=1e-9, atol=1e-10)


@pytest.fixture
def bounded() -> BoundedModule:
    return BoundedModule(_model(), _x(0))


def _without_eager(function: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("computed in the ordinary way")

    monkeypatch.setattr(function, "eager", refuse)


@pytest.mark.parametrize(
    ("method", "norm"), [*((m, math.inf) for m in METHODS), ("CROWN", 2.0), ("CROWN", 1.0), ("forward", 2.0)]
)
def test_the_bounds_of_compute_bounds(
    bounded: BoundedModule, method: str, norm: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = bounded.compiled(_ball(_x(1), norm=norm), method=method)
    _without_eager(function, monkeypatch)
    for seed in (2, 3):
        given = _ball(_x(seed), norm=norm)
        _close(function(given), bounded.compute_bounds(given, method=method))


def test_lines_that_are_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tangents of a sigmoid take thousands of operators, so the other tests do without."""
    bounded = BoundedModule(_model(nn.Sigmoid), _x(0))
    function = bounded.compiled(_ball(_x(1)), method="CROWN")
    _without_eager(function, monkeypatch)
    _close(function(_ball(_x(2))), bounded.compute_bounds(_ball(_x(2)), method="CROWN"))


@pytest.mark.parametrize("rounding", ["outward", "nearest"])
def test_with_rows_and_one_side(rounding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bounded = BoundedModule(_model(), _x(0), bound_opts={"rounding": rounding})
    C = torch.tensor([[[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]]], dtype=torch.float64)
    function = bounded.compiled(_ball(_x(1)), C=C, bound_upper=False)
    _without_eager(function, monkeypatch)
    found = function(_ball(_x(2)))
    assert found.upper is None
    expected = bounded.compute_bounds(_ball(_x(2)), C=C, bound_upper=False)
    torch.testing.assert_close(found.lower, expected.lower.detach())


def test_sets_of_tensors_may_vary(bounded: BoundedModule, monkeypatch: pytest.MonkeyPatch) -> None:
    function = bounded.compiled(_ball(_x(1), torch.tensor([0.1, 0.2], dtype=torch.float64)))
    _without_eager(function, monkeypatch)
    given = _ball(_x(2), torch.tensor([0.3, 0.0], dtype=torch.float64))
    _close(function(given), bounded.compute_bounds(given))


def test_another_number_batch_or_norm_is_recorded_anew(bounded: BoundedModule) -> None:
    function = bounded.compiled(_ball(_x(1)))
    for given in (_ball(_x(2), 0.3), _ball(_x(3, 5)), _ball(_x(4), norm=2.0), _ball(_x(5))):
        for _ in range(2):
            _close(function(given), bounded.compute_bounds(given))


def test_a_changed_model_is_noticed(bounded: BoundedModule) -> None:
    model, function, given = bounded, bounded.compiled(_ball(_x(1))), _ball(_x(2))
    layers: Any = model._lirpa_captured.live.module
    changes = [
        lambda: layers[0].weight.data.mul_(2.0),
        lambda: setattr(layers[0], "bias", nn.Parameter(layers[0].bias + 1.0)),
        lambda: layers.__setitem__(3, nn.Tanh()),
        lambda: layers.load_state_dict({k: v + 0.1 for k, v in layers.state_dict().items()}),
        lambda: bounded.set_bound_opts({"rounding": "nearest"}),
    ]
    before = function(given)
    for change in changes:
        change()
        for _ in range(2):
            found = function(given)
            _close(found, bounded.compute_bounds(given))
        assert not torch.equal(found.lower, before.lower)
        before = found


def test_weights_written_without_a_trace_are_noticed(bounded: BoundedModule) -> None:
    """`.data` keeps no count of changes that autograd would see; an optimizer's step does, this is the hard case."""
    function, given = bounded.compiled(_ball(_x(1))), _ball(_x(2))
    layers: Any = bounded._lirpa_captured.live.module
    layers[2].weight.data = layers[2].weight.data * 3
    _close(function(given), bounded.compute_bounds(given))


def test_several_inputs_and_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
            return {"sum": (x * y).sum(-1), "first": torch.relu(x - 0.5)}

    x, y = _x(0), _x(1)
    bounded = BoundedModule(Two(), (x, y))
    function = bounded.compiled((_ball(x), y), method="CROWN")
    z = _x(2)
    expected = bounded.compute_bounds((_ball(z), y), method="CROWN")
    with monkeypatch.context() as patched:
        _without_eager(function, patched)
        found = function((_ball(z), y))
    for name in ("sum", "first"):
        torch.testing.assert_close(found.lower[name], expected.lower[name])
        torch.testing.assert_close(found.upper[name], expected.upper[name])
    y = y + 1  # an input that is not perturbed is part of what was recorded
    again = function((_ball(z), y))
    torch.testing.assert_close(
        again.lower["sum"], bounded.compute_bounds((_ball(z), y), method="CROWN").lower["sum"]
    )
    y.add_(1.0)
    torch.testing.assert_close(
        function((_ball(z), y)).lower["sum"],
        bounded.compute_bounds((_ball(z), y), method="CROWN").lower["sum"],
    )


def test_what_is_wrong_is_said_as_ever(bounded: BoundedModule) -> None:
    function = bounded.compiled(_ball(_x(1)))
    with pytest.raises(InputError, match="NaN"):
        function(_ball(torch.full((2, 4), math.nan, dtype=torch.float64)))
    with pytest.raises(PerturbationError, match="nothing to bound"):
        function(_x(1))
    walls = PerturbationLpNorm(x_L=torch.zeros(2, 4).double(), x_U=torch.ones(2, 4).double())
    outside = PerturbationLpNorm(eps=0.1, x_L=torch.zeros(2, 4).double(), x_U=torch.ones(2, 4).double())
    function(BoundedTensor(_x(1), walls))
    function(BoundedTensor(_x(1), outside))
    with pytest.raises(PerturbationError, match="outside the box"):
        function(BoundedTensor(_x(1) + 5, outside))


def test_domains_and_overflow_are_still_looked_at() -> None:
    class Log(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.log(x).sum(-1)

    class Exp(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.exp(x).sum(-1)

    log = BoundedModule(Log(), _x(0)).compiled(_ball(_x(1) + 1), method="CROWN")
    with pytest.raises(DomainError, match="leaves the domain"):
        log(_ball(_x(2) * 0))
    exp = BoundedModule(Exp(), _x(0)).compiled(_ball(_x(1)), method="IBP")
    with pytest.raises(NonFiniteBoundError):
        exp(_ball(_x(2) + 1e4))


def test_a_set_of_one_point(bounded: BoundedModule) -> None:
    function = bounded.compiled(_ball(_x(1), 0.0))
    _close(function(_ball(_x(2), 0.0)), bounded.compute_bounds(_ball(_x(2), 0.0)))


def test_what_cannot_be_recorded_is_refused(bounded: BoundedModule) -> None:
    class Deciding(PerturbationLpNorm):
        def concretize(self, x: Tensor, A: Coefficients) -> Tensor:
            found = super().concretize(x, A)
            return found if bool((found > 0).all()) else found - 1

    with pytest.raises(OptionError, match="decided by a value"):
        bounded.compiled(BoundedTensor(_x(1), Deciding(eps=0.1, norm=2.0)))
    with pytest.raises(OptionError, match="search"):
        bounded.compiled(method="CROWN-Optimized")
    with pytest.raises(OptionError, match="backend='cuda'"):
        bounded.compiled(backend="cuda")  # type: ignore[arg-type]


def test_perturbed_weights_are_refused() -> None:
    layer = nn.Linear(4, 3)
    layer.weight = BoundedParameter(layer.weight.data, PerturbationLpNorm(eps=0.1))
    with pytest.raises(OptionError, match="'weight' is perturbed"):
        BoundedModule(layer, torch.rand(2, 4)).compiled(torch.rand(2, 4))


def test_masks_with_infinities() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mask", torch.tensor([0.0, -math.inf, 0.0, 0.0], dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x + self.mask)

    bounded = BoundedModule(Masked(), _x(0))
    function = bounded.compiled(_ball(_x(1)))
    _close(function(_ball(_x(2))), bounded.compute_bounds(_ball(_x(2))))


@pytest.mark.parametrize("method", ["CROWN", pytest.param("CROWN-forward", marks=pytest.mark.thorough)])
def test_a_set_that_is_no_box(method: str) -> None:
    """There rows of a first layer are tighter than intervals also at stable neurons, which later intervals show."""
    bounded = BoundedModule(_model(), _x(0))
    ball = PerturbationLpNorm(eps=0.4, norm=2, x_L=torch.zeros(2, 4).double(), x_U=torch.ones(2, 4).double())
    function = bounded.compiled(BoundedTensor(_x(1), ball), method=method)
    given = BoundedTensor(_x(2), ball)
    _close(function(given), bounded.compute_bounds(given, method=method))


def test_a_specification_that_changes_in_place(bounded: BoundedModule) -> None:
    C = torch.tensor([[[1.0, -1.0, 0.0]]], dtype=torch.float64)
    function, given = bounded.compiled(_ball(_x(1)), C=C), _ball(_x(2))
    before = function(given)
    C.neg_()
    for _ in range(2):
        _close(function(given), bounded.compute_bounds(given, C=C))
    assert not torch.equal(function(given).lower, before.lower)


def test_autocast_around_a_replay_is_refused(bounded: BoundedModule) -> None:
    function = bounded.compiled(_ball(_x(1)))
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(InputError, match="autocast"):
        function(_ball(_x(2)))


@pytest.mark.parametrize("method", ["CROWN", "IBP"])
def test_what_no_fingerprint_sees_is_noticed_by_the_tripwire(method: str) -> None:
    held = ctypes.c_double(1.0)  # a number outside of Python's objects
    layer = nn.Linear(4, 2).double()
    bounded = BoundedModule(lambda x: layer(x) * held.value, _x(0))
    function = bounded.compiled(_ball(_x(1), 1e-3), method=method)
    function(_ball(_x(2), 1e-3))
    held.value = 3.0

    def several() -> None:
        for _ in range(8):  # a cheap method is not watched at every call
            function(_ball(_x(2), 1e-3))

    with pytest.raises(SoundnessError):
        several()


def test_buffers_that_are_no_numbers_are_not_taken_for_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model()
    model.register_buffer("unused", torch.tensor([math.nan, 1.0]))
    function = BoundedModule(model, _x(0)).compiled(_ball(_x(1)))
    _without_eager(function, monkeypatch)
    function(_ball(_x(2)))
    function(_ball(_x(3)))


def test_what_a_set_holds_and_nobody_can_compare_is_refused(bounded: BoundedModule) -> None:
    class Holding(PerturbationLpNorm):
        def __init__(self) -> None:
            super().__init__(eps=0.1)
            object.__setattr__(self, "table", collections.deque([torch.ones(1)]))

    with pytest.raises(OptionError, match="holds a deque"):
        bounded.compiled(BoundedTensor(_x(1), Holding()))


def test_numbers_that_a_set_finds_in_its_tensors_are_part_of_the_recording(bounded: BoundedModule) -> None:
    """A set may lay itself out by the values of its tensors, which a recording keeps."""

    class Scaled(PerturbationLpNorm):
        factor: Tensor

        def __init__(self, factor: Tensor) -> None:
            super().__init__(eps=0.1)
            object.__setattr__(self, "factor", factor)

        def aligned(self, batch_dim: int | None, ndim: int) -> PerturbationLpNorm:
            return PerturbationLpNorm(eps=0.1 * float(self.factor))

    def given(seed: int, factor: float) -> BoundedTensor:
        return BoundedTensor(_x(seed), Scaled(torch.tensor(factor)))

    function = bounded.compiled(given(1, 1.0))
    for factor in (1.0, 3.0, 0.5):
        _close(function(given(2, factor)), bounded.compute_bounds(given(2, factor)))


def test_a_trace_of_somebody_else_has_no_bounds_where_they_would_be_refused() -> None:
    class Log(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.log(x).sum(-1)

    bounded = BoundedModule(Log(), _x(0))
    problem = bounded.problem(_ball(_x(0) + 1))
    (node,) = output_nodes(problem.graph, None, None).values()
    computation = Computation(CROWN(), {0: node})

    def lower(x: Tensor) -> Tensor:
        (member,) = problem.inputs.values()
        inputs = {member.name: dataclasses.replace(member, x=x)}
        bound = computation.run(dataclasses.replace(problem, inputs=inputs)).found[0][0]
        assert bound is not None
        return bound

    with torch.no_grad():
        (member,) = problem.inputs.values()
        module = make_fx(lower)(member.x)
        assert bool(module(member.x).isfinite().all())
        assert bool(module(member.x * 0).isnan().all())


def test_training_mode_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    bounded = BoundedModule(model.eval(), torch.rand(2, 4))
    function = bounded.compiled()
    bounded.train()
    with pytest.raises(OptionError, match="evaluation mode"):
        function(_ball(torch.rand(2, 4)))


def test_no_gradients(bounded: BoundedModule) -> None:
    function = bounded.compiled(_ball(_x(1)))
    for _ in range(2):
        found = function(_ball(_x(2).requires_grad_()))
        assert not found.lower.requires_grad
