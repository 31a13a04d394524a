"""What the registries handed to hooks accept and refuse."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lirpa_core.errors import PluginError
from lirpa_core.linear.coefficients.base import Coefficients
from lirpa_core.linear.operators import Diagonal
from lirpa_core.plugins import OperatorRegistry, PerturbationRegistry, PluginInfo

RELU = torch.ops.aten.relu.default


@pytest.fixture
def operators() -> OperatorRegistry:
    return OperatorRegistry("alpha")


@pytest.fixture
def perturbations() -> PerturbationRegistry:
    return PerturbationRegistry("alpha")


def no_kernel(op: Any, coefficients: Any) -> None:
    """A kernel that can never do it."""


def test_a_rule_is_collected_under_its_overload(
    operators: OperatorRegistry, fake_rule: Callable[..., Any]
) -> None:
    rule = fake_rule()
    operators.register("aten::relu", rule, override=True)
    (claim,) = operators.contribution(PluginInfo("alpha")).operators
    assert (claim.key, claim.entry.op, claim.entry.rule) == (RELU, RELU, rule)
    assert (claim.entry.plugin, claim.override) == ("alpha", True)


def test_the_error_for_what_is_no_rule_says_all(operators: OperatorRegistry) -> None:
    with pytest.raises(PluginError) as caught:
        operators.register(RELU, SimpleNamespace(family="unary", modes=("interval",), check=no_kernel))
    message = str(caught.value)
    assert "plugin 'alpha', operator aten.relu.default: expected a rule" in message
    assert "got namespace(family='unary'" in message
    assert (
        "an instance of Linear, Bilinear, Unary, General, or of a subclass of lirpa_core.rules.Rule"
        in message
    )


def test_a_class_instead_of_an_instance_is_told_apart(operators: OperatorRegistry, fake_rule: Any) -> None:
    with pytest.raises(PluginError, match="got the class FakeRule; pass an instance of it"):
        operators.register(RELU, fake_rule)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"family": ""}, "`family` is a word, got ''"),
        ({"family": 3}, "`family` is a word, got 3"),
        ({"modes": ()}, r"`modes` is a tuple .*got \(\)"),
        ({"modes": ["interval"]}, r"`modes` is a tuple .*got \['interval'\]"),
        ({"modes": ("interval", "sideways")}, r"`modes` is a tuple .*'sideways'"),
    ],
)
def test_a_rule_with_wrong_attributes_is_refused(
    operators: OperatorRegistry, fake_rule: Callable[..., Any], wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(PluginError, match=message):
        operators.register(RELU, fake_rule(**wrong))
    assert operators.contribution(PluginInfo("alpha")).operators == ()


def test_a_method_that_is_none_is_refused(operators: OperatorRegistry, fake_rule: Callable[..., Any]) -> None:
    class Half(fake_rule):  # type: ignore[misc, valid-type]
        relax = None

    with pytest.raises(PluginError, match="a rule with a method `relax`, got None"):
        operators.register(RELU, Half())


def test_unknown_operators_name_the_plugin(
    operators: OperatorRegistry, fake_rule: Callable[..., Any]
) -> None:
    with pytest.raises(PluginError, match=r"plugin 'alpha': no operator \"aten\.nope\" is loaded"):
        operators.register("aten.nope", fake_rule())


def test_twice_is_refused_even_with_override(
    operators: OperatorRegistry, fake_rule: Callable[..., Any]
) -> None:
    operators.register(RELU, fake_rule("first"))
    with pytest.raises(PluginError, match=r"operator aten\.relu\.default: registered twice by this plugin"):
        operators.register("aten.relu", fake_rule("second"), override=True)
    (claim,) = operators.contribution(PluginInfo("alpha")).operators
    assert claim.entry.rule == fake_rule("first")


def test_decompositions(operators: OperatorRegistry) -> None:
    operators.decompose(RELU, torch.nn.functional.relu)
    with pytest.raises(PluginError, match=r"decomposition of aten\.relu\.default: registered twice"):
        operators.decompose(RELU, torch.nn.functional.relu)
    with pytest.raises(PluginError, match=r"decomposition of aten\.neg\.default: expected a function, got 3"):
        operators.decompose("aten.neg", 3)  # type: ignore[arg-type]
    (claim,) = operators.contribution(PluginInfo("alpha")).decompositions
    assert (claim.entry.op, claim.entry.function, claim.entry.plugin) == (
        RELU,
        torch.nn.functional.relu,
        "alpha",
    )


def test_kernels(operators: OperatorRegistry) -> None:
    operators.kernel("aten.relu", Coefficients, no_kernel)
    operators.kernel(Diagonal, Coefficients, no_kernel, override=True)
    relu, diagonal = operators.contribution(PluginInfo("alpha")).kernels
    assert relu.key == (RELU, Coefficients)
    assert diagonal.key == (Diagonal, Coefficients)
    assert (relu.override, diagonal.override) == (False, True)
    with pytest.raises(PluginError, match="kernel of Diagonal for Coefficients: registered twice"):
        operators.kernel(Diagonal, Coefficients, no_kernel)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((dict, Coefficients, no_kernel), "expected an operator or a LinearOp type, got the class dict"),
        (
            (RELU, dict, no_kernel),
            r"kernel of aten\.relu\.default: expected a Coefficients type .*the class dict",
        ),
        ((RELU, "dense", no_kernel), "expected a Coefficients type as structure, got 'dense' of type str"),
        ((RELU, Coefficients, None), r"expected a function \(op, map\) -> map, got None"),
        (("aten.nope", Coefficients, no_kernel), "plugin 'alpha': no operator \"aten.nope\""),
    ],
)
def test_wrong_kernels_are_refused(operators: OperatorRegistry, arguments: Any, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        operators.kernel(*arguments)


def test_perturbations(perturbations: PerturbationRegistry) -> None:
    perturbations.register("ball", dict)
    (claim,) = perturbations.registrations()
    assert (claim.key, claim.entry.name, claim.entry.cls, claim.entry.plugin) == (
        "ball",
        "ball",
        dict,
        "alpha",
    )
    with pytest.raises(PluginError, match="plugin 'alpha', perturbation 'ball': registered twice"):
        perturbations.register("ball", list)
    with pytest.raises(PluginError, match=r"perturbation 'box': expected a class, got \{\} of type dict"):
        perturbations.register("box", {})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "two words", None])
def test_names_of_perturbations_are_identifiers(perturbations: PerturbationRegistry, name: Any) -> None:
    with pytest.raises(PluginError, match="letters, digits and underscores"):
        perturbations.register(name, dict)


def test_nothing_can_be_registered_after_the_hook(
    operators: OperatorRegistry, fake_rule: Callable[..., Any]
) -> None:
    operators.close()
    with pytest.raises(PluginError, match="registered after the hook had returned"):
        operators.register(RELU, fake_rule())


@pytest.mark.parametrize("what", ["allowance", "decompose_as_executed"])
def test_how_an_operator_is_executed_is_a_function(operators: OperatorRegistry, what: str) -> None:
    getattr(operators, what)(RELU, no_kernel)
    with pytest.raises(PluginError, match="relu"):
        getattr(operators, what)(RELU, no_kernel)  # twice
    with pytest.raises(PluginError, match="expected a function, got 3"):
        getattr(operators, what)(torch.ops.aten.tanh.default, 3)
    found = operators.contribution(PluginInfo("alpha"))
    assert [r.key for r in (*found.allowances, *found.as_executed)] == [RELU]
