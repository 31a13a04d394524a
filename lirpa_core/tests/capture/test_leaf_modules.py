"""Classes of modules and plain functions that have a rule stay in one piece."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedParameter, BoundedTensor, PerturbationLpNorm
from lirpa_core.capture.leaf_modules import keeping_leaf_modules
from lirpa_core.errors import CaptureError, PluginConflictError, PluginError
from lirpa_core.plugins import OperatorRegistry, Registry, build_registry, default_registry, hookimpl
from lirpa_core.rules import Bilinear, Call, Interval, LeafModule, Linear, Operand, Unary, mixed, smooth
from lirpa_testing import check_rule, method_names


class Doubled(nn.Module):
    """An affine map; its parameters belong to a submodule."""

    def __init__(self, n: int, m: int) -> None:
        super().__init__()
        self.inner = nn.Linear(n, m)

    def forward(self, x: Tensor) -> Tensor:
        return 2 * self.inner(x)


class Steep(nn.Module):
    def __init__(self, rate: float = 1.0) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.rate * x)


def squeeze(x: Tensor, rate: float = 1.0) -> Tensor:
    return torch.tanh(rate * x)


class Nested(nn.Module):
    """Two instances of one class, one of them inside another module, and a function."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.rest = Doubled(3, 4), Steep(), nn.Sequential(Doubled(4, 2), Steep(0.5))
        self.function = squeeze

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.rest(squeeze(self.act(self.first(x)), rate=2.0)))


def steep_rule(module: Steep) -> Unary:
    return smooth(lambda x: torch.tanh(module.rate * x), inflections=[0.0])


def squeeze_rule(rate: float) -> Unary:
    return smooth(lambda x: torch.tanh(rate * x), inflections=[0.0])


SQUEEZE = Unary(lambda call: squeeze_rule(call["rate"]).curve)  # type: ignore[arg-type, return-value]
DOUBLED = Linear(("x",), sign=mixed, offset=True)
RULES = {Doubled: DOUBLED, Steep: steep_rule, squeeze: SQUEEZE}


@pytest.fixture
def registry() -> Registry:
    return default_registry().with_rules(RULES)


def targets(bounded: BoundedModule) -> list[str]:
    return [str(n.target).rpartition(".")[2] for n in bounded.graph.nodes if n.target is not None]


def bounds(model: nn.Module, x: Tensor, registry: Registry | None = None, method: str = "CROWN") -> Interval:
    bounded = BoundedModule(model, x, registry=registry)
    return Interval(*bounded.compute_bounds(x=BoundedTensor(x, PerturbationLpNorm(eps=0.1)), method=method))


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return Nested().double().eval()


X = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3)


def test_every_call_is_one_node(model: nn.Module, registry: Registry) -> None:
    bounded = BoundedModule(model, X, registry=registry)
    assert targets(bounded) == ["Doubled", "Steep", "squeeze", "Doubled", "Steep", "squeeze"]
    paths = [n.source.module_path for n in bounded.graph.nodes if n.target is not None]
    assert paths[:2] == ["first", "act"] and paths[3:5] == ["rest.0", "rest.1"]
    sources = [str(n.source) for n in bounded.graph.nodes if n.target is not None]
    assert all("test_leaf_modules.py" in s or "container.py" in s for s in sources)


@pytest.mark.parametrize("method", method_names(optimized=False))
def test_bounds_are_those_of_the_pieces(model: nn.Module, registry: Registry, method: str) -> None:
    whole, pieces = bounds(model, X, registry, method), bounds(model, X, None, method)
    assert torch.allclose(whole.lower, pieces.lower) and torch.allclose(whole.upper, pieces.upper)


def test_the_model_is_as_before(model: nn.Module, registry: Registry) -> None:
    code, before = squeeze.__code__, [dict(m.__dict__) for m in model.modules()]
    expected = model(X)
    BoundedModule(model, X, registry=registry)
    assert squeeze.__code__ is code
    assert [m.__dict__.keys() for m in model.modules()] == [d.keys() for d in before]
    assert torch.equal(model(X), expected)
    copy.deepcopy(model)
    pickle.loads(pickle.dumps(model))


def test_it_is_as_before_after_an_error_too(registry: Registry) -> None:
    class Failing(Nested):
        def forward(self, x: Tensor) -> Tensor:
            y = super().forward(x)
            return y if y.sum() > 0 else -y

    failing, code = Failing().double().eval(), squeeze.__code__
    with pytest.raises(CaptureError):
        BoundedModule(failing, X, registry=registry)
    assert squeeze.__code__ is code and "forward" not in failing.act.__dict__


def test_it_is_as_before_wherever_an_interrupt_comes(model: nn.Module, registry: Registry) -> None:
    """`KeyboardInterrupt` at every line of what covers modules and functions, one after the other."""
    code, before = squeeze.__code__, [dict(vars(m)) for m in model.modules()]
    traced, interrupts = sys.gettrace(), 0
    while True:
        try:
            sys.settrace(_interrupting(interrupts))
            with keeping_leaf_modules(model, registry):
                sys.settrace(traced)
            break
        except KeyboardInterrupt:
            interrupts += 1
        finally:
            sys.settrace(traced)
        assert squeeze.__code__ is code and [dict(vars(m)) for m in model.modules()] == before
    assert interrupts > 10


def _interrupting(after: int) -> Callable[..., Any]:
    """A trace function that raises after so many lines of the functions that cover something."""
    left = after

    def trace(frame: FrameType, event: str, arg: object) -> Callable[..., Any] | None:
        nonlocal left
        if not frame.f_code.co_name.startswith(("_cover_", "_uncovering_")):
            return None
        if event == "line":
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
        return trace

    return trace


def test_a_forward_of_the_instance_is_kept(registry: Registry) -> None:
    act = Steep().double().eval()
    own = act.forward = lambda x: torch.tanh(3 * x)  # type: ignore[method-assign]
    rule = smooth(lambda x: torch.tanh(3 * x), inflections=[0.0])
    found = bounds(act, X, default_registry().with_rules({Steep: rule}))
    assert act.forward is own
    assert bool((found.lower <= act(X)).all() and (act(X) <= found.upper).all())


def test_parameters_are_read_when_bounds_are_computed(model: nn.Module, registry: Registry) -> None:
    bounded = BoundedModule(model, X, registry=registry)
    x = BoundedTensor(X, PerturbationLpNorm(eps=0.1))
    bounded.compute_bounds(x=x)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1.5)
    model.act.rate = 2.0  # type: ignore[union-attr, assignment]
    lower, upper = bounded.compute_bounds(x=x)
    fresh = bounds(model, X, registry)
    assert torch.equal(lower, fresh.lower) and torch.equal(upper, fresh.upper)
    lower.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_perturbed_parameters_are_arguments() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            scale = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
            self.scale = BoundedParameter(scale, PerturbationLpNorm(eps=0.5))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.scale

    registry = default_registry().with_rules({Scaled: Bilinear("x", "scale")})
    model, x = Scaled().eval(), torch.ones(1, 3, dtype=torch.float64)
    bounded = BoundedModule(model, x, registry=registry, bound_opts={"rounding": "nearest"})
    lower, upper = bounded.compute_bounds(x=x, method="IBP")
    assert lower.tolist() == [[0.5, -2.5, 2.5]] and upper.tolist() == [[1.5, -1.5, 3.5]]


def test_an_outer_module_hides_inner_ones() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = Steep()

        def forward(self, x: Tensor) -> Tensor:
            return squeeze(self.act(x))

    rule = smooth(lambda x: torch.tanh(torch.tanh(x)), inflections=[0.0])
    registry = default_registry().with_rules({**RULES, Outer: rule})
    assert targets(BoundedModule(Outer().eval(), X, registry=registry)) == ["Outer"]


def test_subclasses_and_refused_instances_are_taken_apart() -> None:
    class Other(Steep):
        pass

    registry = default_registry().with_rules({Steep: lambda m: None if m.rate > 1 else steep_rule(m)})
    model = nn.Sequential(Other(), Steep(2.0), Steep(0.5)).eval()
    assert targets(BoundedModule(model, X, registry=registry)) == ["default", "Tensor", "default", "Tensor"][
        :0
    ] or (targets(BoundedModule(model, X, registry=registry)).count("Steep") == 1)


def test_several_outputs_and_lists_of_tensors() -> None:
    def halves(xs: list[Tensor], *, factor: float) -> tuple[Tensor, Tensor]:
        return factor * (xs[0] + xs[1]), xs[0] - xs[1]

    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            low, high = halves([x, 2 * x], factor=0.5)
            return low + high

    registry = default_registry().with_rules({halves: Linear(("xs",), sign=mixed)})
    model, bounded = Model(), BoundedModule(Model(), X, registry=registry)
    assert targets(bounded).count("halves") == 2
    found, pieces = bounds(model, X, registry), bounds(model, X)
    assert torch.allclose(found.lower, pieces.lower)


def test_closures_and_hooks() -> None:
    rate = torch.tensor(2.0, dtype=torch.float64)

    def local(x: Tensor) -> Tensor:
        return torch.tanh(rate * x)

    act = Steep().eval()
    act.register_forward_hook(lambda module, args, output: output + 1)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = act

        def forward(self, x: Tensor) -> Tensor:
            return local(self.act(x))

    registry = default_registry().with_rules({Steep: steep_rule, local: squeeze_rule(2.0)})
    found, pieces = bounds(Model().eval(), X, registry), bounds(Model().eval(), X)
    assert torch.allclose(found.lower, pieces.lower) and torch.allclose(found.upper, pieces.upper)


def test_an_unperturbed_leaf_module_is_only_evaluated() -> None:
    def never(x: Tensor) -> Tensor:
        return x.sort(-1).values

    class Model(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + never(y)

    registry = default_registry().with_rules({never: SQUEEZE})
    bounded = BoundedModule(Model(), (X, X), registry=registry)
    lower, _ = bounded.compute_bounds(x=(BoundedTensor(X, PerturbationLpNorm(eps=0.1)), X))
    assert torch.allclose(lower, X - 0.1 + never(X))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: {"y": x}, r"returns a dict, so it cannot be kept whole"),
        (lambda x: None, r"returns nothing \(None\)"),
    ],
)
def test_results_that_a_rule_cannot_have(function: Callable[..., Any], message: str) -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            found = function(x)
            return x if found is None else found["y"]

    registry = default_registry().with_rules({function: SQUEEZE})
    with pytest.raises(CaptureError, match=message):
        BoundedModule(Model(), X, registry=registry)


def test_arguments_that_a_rule_cannot_have() -> None:
    class Takes(nn.Module):
        def forward(self, inputs: dict[str, Tensor]) -> Tensor:
            return inputs["x"]

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.takes = Takes()

        def forward(self, x: Tensor) -> Tensor:
            return self.takes({"x": x})

    registry = default_registry().with_rules({Takes: Linear(("inputs",))})
    with pytest.raises(
        CaptureError, match=r"argument 'inputs' of module .*Takes is a dict with tensors in it"
    ):
        BoundedModule(Model(), X, registry=registry)


def test_what_is_no_module_or_function() -> None:
    collected = OperatorRegistry("mine")
    with pytest.raises(PluginError, match=r"expected a subclass of torch.nn.Module, got the class int"):
        collected.module(int, DOUBLED)  # type: ignore[arg-type]
    with pytest.raises(PluginError, match=r"written in Python .*for an operator of torch use `register`"):
        collected.function(torch.tanh, DOUBLED)
    with pytest.raises(PluginError, match=r"function squeeze: expected a rule"):
        collected.function(squeeze, 3)  # type: ignore[arg-type]
    with pytest.raises(PluginError, match=r"module Steep: expected a rule, or a function from the module"):
        collected.module(Steep, 3)  # type: ignore[arg-type]
    with pytest.raises(
        PluginError, match=r"got the class .*Linear; pass an instance|or a function from the module"
    ):
        collected.module(Steep, Linear)  # type: ignore[arg-type]
    collected.module(Steep, steep_rule)
    with pytest.raises(PluginError, match="registered twice"):
        collected.module(Steep, steep_rule)


def test_what_makes_a_rule_makes_something_else() -> None:
    registry = default_registry().with_rules({Steep: lambda module: 3})
    with pytest.raises(PluginError, match=r"module .*Steep: expected a rule \(or None\) for it, got 3"):
        BoundedModule(Steep().eval(), X, registry=registry)


class Plugin:
    LIRPA_API_VERSION = 1

    def __init__(self, name: str) -> None:
        self.__name__ = name

    @hookimpl
    def lirpa_register_operators(self, registry: OperatorRegistry) -> None:
        registry.module(Steep, steep_rule)
        registry.function(squeeze, SQUEEZE)


def test_two_plugins_with_a_rule_for_one_class() -> None:
    with pytest.raises(
        PluginConflictError, match=r"'one' and 'two' both register a rule for .*(Steep|squeeze)"
    ):
        build_registry([Plugin("one"), Plugin("two")], entry_points=False)


def test_registries_with_rules_for_modules_can_be_pickled() -> None:
    registry = default_registry().with_rules({Doubled: DOUBLED, Steep: steep_rule})
    loaded = pickle.loads(pickle.dumps(registry))
    assert set(loaded.leaf_modules) == set(registry.leaf_modules)
    act = Steep(3.0)
    assert loaded.rule_for(LeafModule.of(act)).family == "unary"


def test_a_bounded_module_captures_anew_after_pickling(model: nn.Module) -> None:
    registry = default_registry().with_rules({Doubled: DOUBLED, Steep: steep_rule})
    bounded = BoundedModule(nn.Sequential(Doubled(3, 2), Steep()).double().eval(), X, registry=registry)
    loaded = pickle.loads(pickle.dumps(bounded))
    assert targets(loaded) == targets(bounded) == ["Doubled", "Steep"]


@pytest.mark.parametrize("target", [Doubled(3, 2), Steep(2.0), squeeze])
def test_rules_can_be_checked_by_themselves(target: Any, registry: Registry) -> None:
    check_rule(registry, Call.of(target, Operand((3,))), examples=7, together=True)


def test_calls_of_modules_and_functions() -> None:
    call = Call.of(Doubled(3, 2), Operand((1, 3)))
    assert list(call.arguments) == ["x", "inner.weight", "inner.bias"] and call.shape == (1, 2)
    assert Call.of(squeeze, Operand((3,)))["rate"] == 1.0
    with pytest.raises(TypeError, match=r"takes x, rate; got \['speed'\]"):
        Call.of(squeeze, Operand((3,)), speed=2)
    with pytest.raises(TypeError, match="expected an operator such as"):
        Call.of(torch.tanh, Operand((3,)))
