"""Registering patterns: what is refused, who wins, and that a registry of one's own uses them."""

import pickle

import pytest
import torch
from torch import Tensor

from lirpa_core import BoundedModule
from lirpa_core.errors import PluginConflictError, PluginError
from lirpa_core.plugins import PatternRegistry, default_registry, hookimpl

X = torch.zeros(1, 3)


def written(x: Tensor) -> Tensor:
    return torch.sin(x) / torch.cos(x)


def becomes(x: Tensor) -> Tensor:
    return torch.tan(x)


class Plugin:
    """Registers one pattern."""

    LIRPA_API_VERSION = 1

    def __init__(self, name: str = "tan", override: bool = False) -> None:
        self.name, self.override = name, override

    @hookimpl
    def lirpa_register_patterns(self, registry: PatternRegistry) -> None:
        registry.register(self.name, written, becomes, override=self.override)


def targets(registry):
    return [
        str(n.target)
        for n in BoundedModule(written, X, registry=registry).graph.nodes
        if n.target is not None
    ]


def test_a_registry_with_the_pattern_uses_it():
    registry = default_registry().extended(Plugin(), name="mine")
    assert registry.patterns["tan"].plugin == "mine"
    assert targets(registry) == ["aten.tan.default"]
    assert "aten.tan.default" not in targets(default_registry())
    assert "aten.tan.default" not in targets(registry.without("mine"))
    assert "aten.tan.default" not in targets(registry.without_patterns())
    again = pickle.loads(pickle.dumps(registry.without_patterns()))
    assert not again.patterns


def test_two_patterns_of_one_name():
    first = default_registry().extended(Plugin(), name="one")
    with pytest.raises(PluginConflictError, match="pattern tan"):
        first.extended(Plugin(), name="two")
    assert first.extended(Plugin(override=True), name="two").patterns["tan"].plugin == "two"


def untyped(x):
    return x


def of_a_word(x: Tensor, mode: str) -> Tensor:
    return x


def of_a_number(a: float) -> Tensor:
    return torch.full((1,), a)


def other_parameters(y: Tensor) -> Tensor:
    return y


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ((untyped, becomes), "parameter 'x' of untyped is annotated None"),
        ((of_a_word, becomes), "parameter 'mode'"),
        ((of_a_number, becomes), "takes no tensor"),
        ((written, other_parameters), "has to have the parameters of written, which are x"),
        ((written, "tan"), "expected a function, got 'tan'"),
    ],
)
def test_what_is_refused(parts, why):
    with pytest.raises(PluginError, match=why) as refused:
        PatternRegistry("mine").register("tan", *parts)
    assert "plugin 'mine', pattern 'tan'" in str(refused.value)


def test_twice_and_too_late():
    registry = PatternRegistry("mine")
    registry.register("tan", written, becomes)
    with pytest.raises(PluginError, match="registered twice"):
        registry.register("tan", written, becomes)
    registry.close()
    with pytest.raises(PluginError, match="after the hook had returned"):
        registry.register("cot", written, becomes)
