"""The captured graph: every node after those it reads, and nodes are found by name and by module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lirpa_core import functional
from lirpa_core.graph import NodeKind, Ref, iter_refs
from lirpa_core.plugins import default_registry


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 4), nn.ReLU())

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([self.body(x), y], dim=-1)


def test_order_names_and_modules() -> None:
    graph = functional.capture(Model(), (torch.zeros(2, 3), torch.zeros(2, 5))).graph(default_registry())
    seen: set[str] = set()
    for node in graph.nodes:
        assert set(node.inputs) <= seen
        seen.add(node.name)
        assert graph[node.name] is node
    (out,) = graph.outputs
    assert out is not None and graph[out].shape == (1, 9)
    relu = graph.find("body.1")
    assert relu is graph.find("body") and relu is not None and "relu" in str(relu.target)
    assert graph.find("nonsense") is None
    parameters = {n.path for n in graph.nodes if n.kind is NodeKind.PARAMETER}
    assert parameters == {"body.0.weight", "body.0.bias"}
    assert "test_graph.py" in str(graph[out]) and "cat" in str(graph[out])


def test_references_are_found_inside_lists() -> None:
    assert [r.name for r in iter_refs((Ref("a"), (1, Ref("b")), "c"))] == ["a", "b"]
