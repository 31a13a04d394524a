"""Constant folding computes what the model computes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import functional
from lirpa_core.errors import InputError
from lirpa_core.graph import NodeKind
from lirpa_core.plugins import default_registry
from lirpa_core.problem.evaluation import StateReader, evaluate, parameter_leaves
from lirpa_core.rules import Const


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.layer = nn.Embedding(5, 3), nn.Linear(3, 2)
        self.register_buffer("offset", torch.tensor([1.0, -1.0]))

    def forward(self, ids: Tensor) -> Tensor:
        return torch.tanh(self.layer(self.table(ids))) + self.offset


def test_the_graph_computes_what_the_model_computes() -> None:
    model, ids = Model(), torch.tensor([0, 3, 4])
    graph = functional.capture(model, ids, batch_dims=(0,)).graph(default_registry())
    leaves = parameter_leaves(graph, model)
    (name,) = graph.inputs
    values = evaluate(graph.nodes, {**leaves, name: Const(ids.unsqueeze(1), batched=True)})
    (out,) = graph.outputs
    assert out is not None
    torch.testing.assert_close(values[out].value.reshape(3, 2), model(ids))
    assert values[out].batched
    with pytest.raises(InputError, match="out of range"):
        evaluate(graph.nodes, {**leaves, name: Const(torch.tensor([[7]]), batched=True)})


def test_state_is_read_from_the_live_module_unless_something_stands_in() -> None:
    model, ids = Model(), torch.tensor([0])
    graph = functional.capture(model, ids, batch_dims=(0,)).graph(default_registry())
    reader = StateReader.of(graph, model)
    paths = {n.path for n in graph.nodes if n.kind in (NodeKind.PARAMETER, NodeKind.BUFFER)}
    assert paths == {path for _, path, _, _ in reader.owners} == {*dict(model.named_parameters()), "offset"}
    buffer = next(n.name for n in graph.nodes if n.path == "offset")
    model.offset = torch.tensor([5.0, 5.0])
    assert torch.equal(reader.read({})[buffer], model.offset)
    other = Const(torch.zeros(2))
    assert reader.read({"offset": other})[buffer] is other
