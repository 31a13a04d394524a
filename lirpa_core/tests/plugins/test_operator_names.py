"""Every way to name an operator."""

from __future__ import annotations

import pytest
import torch

from lirpa_core.errors import PluginError
from lirpa_core.plugins import resolve_operator

RELU = torch.ops.aten.relu.default


@torch.library.custom_op("lirpa_test_resolve::twice", mutates_args=())
def twice(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


@pytest.mark.parametrize(
    "named",
    [RELU, torch.ops.aten.relu, "aten.relu.default", "aten::relu", "aten.relu", "aten::relu.default"],
    ids=str,
)
def test_every_spelling_means_the_same_overload(named: object) -> None:
    assert resolve_operator(named) is RELU


@pytest.mark.parametrize("named", [twice, torch.ops.lirpa_test_resolve.twice, "lirpa_test_resolve::twice"])
def test_custom_operators(named: object) -> None:
    assert resolve_operator(named) is torch.ops.lirpa_test_resolve.twice.default


@pytest.mark.parametrize(("name", "variant"), [("relu", "out"), ("sin", "float")])
def test_variants_that_no_graph_holds_do_not_make_a_packet_ambiguous(name: str, variant: str) -> None:
    packet = getattr(torch.ops.aten, name)
    assert variant in packet.overloads()
    assert resolve_operator(packet) is packet.default


def test_a_packet_without_any_overload_for_tensors() -> None:
    with pytest.raises(PluginError, match=r"aten\.floordiv has no overload that takes tensors and returns"):
        resolve_operator("aten.floordiv")


@pytest.mark.parametrize("named", [torch.ops.aten.clamp, "aten.clamp"], ids=str)
def test_an_ambiguous_packet_lists_its_overloads(named: object) -> None:
    with pytest.raises(PluginError, match=r"2 overloads.*aten\.clamp\.default, aten\.clamp\.Tensor$"):
        resolve_operator(named)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("aten.rleu.default", r'no operator "aten.rleu.default" is loaded; .*import the module'),
        ("no_such_namespace::op", r'no operator "no_such_namespace::op" is loaded'),
        ("aten.relu.nope", r'aten\.relu has no overload "nope"; it has: default, out'),
        ("relu", r'"relu" is not the name of an operator; write "namespace\.name"'),
        ("aten.relu.default.more", "is not the name of an operator"),
        ("aten..relu", "is not the name of an operator"),
        (torch.relu, r"expected an operator .* got .* of type builtin_function_or_method"),
        (None, "expected an operator .* got None of type NoneType"),
    ],
)
def test_what_is_no_operator_is_refused(named: object, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        resolve_operator(named)
