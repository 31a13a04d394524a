"""Who has a rule for an operator, and the message for one that has none."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase
from types import ModuleType
from typing import Any

import pytest
import torch

from lirpa_core.graph import Argument, Node, NodeKind, Ref, SourceLocation
from lirpa_core.plugins import PluginFailure, PluginInfo, build_registry, provider_of, unsupported_message
from lirpa_core.plugins.providers import PROVIDERS, advice

VISION = """
    convolution conv1d conv2d conv3d conv_transpose2d max_pool2d max_pool2d_with_indices avg_pool1d
    adaptive_avg_pool2d _adaptive_avg_pool2d adaptive_max_pool2d batch_norm
    _native_batch_norm_legit_no_training group_norm native_group_norm instance_norm
    upsample_nearest2d upsample_bilinear2d pixel_shuffle
"""
NLP = """
    softmax _softmax log_softmax _log_softmax layer_norm native_layer_norm
    scaled_dot_product_attention _scaled_dot_product_flash_attention_for_cpu embedding embedding_bag
    lstm gru rnn_tanh rnn_relu lstm_cell
"""


@pytest.mark.parametrize(
    ("name", "provider"),
    [(name, "lirpa-ops-vision") for name in VISION.split()]
    + [(name, "lirpa-ops-nlp") for name in NLP.split()]
    + [(name, None) for name in ("relu", "linear", "mm", "sum", "glu", "sort")],
)
def test_providers_of_aten_operators(name: str, provider: str | None) -> None:
    packet = getattr(torch.ops.aten, name)  # a misspelt name fails here
    overload = getattr(packet, packet.overloads()[0])
    assert provider_of(overload) == provider
    assert provider_of(packet) == provider
    assert provider_of(f"aten::{name}") == provider


def test_other_namespaces_and_callables_have_no_provider() -> None:
    assert provider_of("mylib::convolution") is None
    assert provider_of("convolution") is None
    assert provider_of(math.floor) is None


@pytest.mark.parametrize("pattern", [p for _, patterns in PROVIDERS for p in patterns])
def test_every_pattern_matches_an_operator_that_exists(pattern: str) -> None:
    known = {name.partition("::")[2].partition(".")[0] for name in torch._C._dispatch_get_all_op_names()}
    assert any(fnmatchcase(name, pattern) for name in known)


@pytest.fixture
def node() -> Node:
    return Node(
        "conv2d",
        NodeKind.OPERATOR,
        (1, 8, 6, 6),
        torch.float32,
        target=torch.ops.aten.conv2d.default,
        arguments=(
            Argument("input", Ref("x")),
            Argument("weight", Ref("w")),
            Argument("stride", (1, 1)),
        ),
        source=SourceLocation("net.py", 12, "self.conv(x)", "stem.conv", "Conv2d"),
    )


def test_the_message_says_all(node: Node) -> None:
    registry = build_registry(entry_points=False)
    assert unsupported_message(node, registry, [(1, 3, 8, 8), (8, 3, 3, 3)]).splitlines() == [
        "no rule for operator aten.conv2d.default",
        "  at: net.py:12 `self.conv(x)` in module 'stem.conv' (Conv2d)",
        "  argument shapes: input [1, 3, 8, 8], weight [8, 3, 3, 3]",
        "  provider: lirpa-ops-vision: pip install lirpa-ops-vision",
        "  to register a rule of your own for one model:",
        "    registry = lirpa_core.plugins.default_registry().with_rules({'aten.conv2d.default': rule})",
        "    BoundedModule(model, example, registry=registry)",
    ]


def test_the_message_with_less_to_say(node: Node) -> None:
    registry = build_registry(entry_points=False)
    bare = replace(node, target=torch.ops.aten.sort.default, source=SourceLocation())
    lines = unsupported_message(bare, registry).splitlines()
    assert lines[1:4] == ["  at: unknown source line", "  argument shapes: unknown", "  provider: none known"]
    assert "  argument shapes: [2]" in unsupported_message(bare, registry, [(2,)]).splitlines()


def test_the_hint_of_the_message_works(node: Node, fake_rule: Callable[..., Any]) -> None:
    registry = build_registry(entry_points=False)
    hint = next(line for line in unsupported_message(node, registry).splitlines() if "with_rules" in line)
    expression = hint.partition("= ")[2].replace("lirpa_core.plugins.default_registry()", "registry")
    made = eval(expression, {"registry": registry, "rule": fake_rule()})
    assert made.rule_for(node.target) == fake_rule()


def test_advice_where_the_provider_is_installed(make_plugin: Callable[..., ModuleType]) -> None:
    op = torch.ops.aten.conv2d.default
    empty = build_registry(entry_points=False)
    info = PluginInfo("vision", "0.1", "lirpa-ops-vision", "lirpa_ops_vision.plugin", 1)
    failure = PluginFailure("vision", "lirpa-ops-vision", "import", "ImportError: no")
    other = PluginFailure("other", "other", "import", "ImportError: no")
    broken = replace(empty, failures=(other, failure))
    assert advice(op, broken) == f"lirpa-ops-vision, which is installed but broken: {failure.message}"
    disabled = replace(empty, disabled=(PluginInfo("other"), info))
    assert advice(op, disabled) == "lirpa-ops-vision, which is installed but disabled (plugin 'vision')"
    loaded = build_registry([make_plugin("vision")], entry_points=False)
    contribution = replace(loaded._contributions[0], plugin=info)
    old = replace(loaded, _contributions=(contribution,))
    assert advice(op, old).startswith("lirpa-ops-vision, whose version 0.1 is installed but has no rule")
