"""Capture: structure of inputs and outputs, live parameters, and refusals that say where and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lirpa_core.capture.capture import capture
from lirpa_core.capture.replay import input_leaves
from lirpa_core.errors import (
    CaptureError,
    DataDependentBranchError,
    DataDependentShapeError,
    InputError,
    ReplayError,
    TrainingModeError,
    UnsupportedOperatorError,
)
from lirpa_core.graph import Graph, NodeKind
from lirpa_core.plugins import default_registry
from lirpa_core.problem.evaluation import evaluate, parameter_leaves


def captured(model: nn.Module, *args: Any, batch_dims: Any = "auto", **kwargs: Any) -> Graph:
    return capture(model, args, kwargs, registry=default_registry(), batch_dims=batch_dims)


class Function(nn.Module):
    """A module around a plain function."""

    def __init__(self, function: Any, **children: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, child in children.items():
            setattr(self, name, child)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(self, *args, **kwargs)


def operators(graph: Graph) -> list[str]:
    return [str(n.target) for n in graph.nodes if n.kind is NodeKind.OPERATOR]


class TestStructure:
    def test_operators_with_a_rule_stay_whole(self) -> None:
        graph = captured(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.randn(5, 3))
        assert operators(graph) == ["aten.linear.default", "aten.relu.default", "aten.linear.default"]

    def test_shapes_are_those_of_one_example(self) -> None:
        graph = captured(nn.Linear(3, 4), torch.randn(5, 3))
        assert graph["linear"].shape == (1, 4)

    def test_dropout_in_evaluation_and_copies_disappear(self) -> None:
        model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(), nn.ReLU()).eval()
        graph = captured(
            Function(lambda m, x: m.net(x.clone()).contiguous().detach(), net=model).eval(), torch.randn(2, 3)
        )
        assert operators(graph) == ["aten.linear.default", "aten.relu.default"]

    def test_what_no_output_needs_disappears(self) -> None:
        def forward(m: nn.Module, x: Tensor) -> Tensor:
            torch.exp(x)
            return x + 1

        assert operators(captured(Function(forward), torch.randn(2, 3))) == ["aten.add.Tensor"]

    def test_each_output_of_a_split_is_a_node(self) -> None:
        graph = captured(Function(lambda m, x: [p * 2 for p in x.split(2, dim=1)]), torch.randn(2, 4))
        splits = [n for n in graph.nodes if "split" in str(n.target)]
        assert [n.output for n in splits] == [0, 1] and all(n.shape == (1, 2) for n in splits)

    def test_a_product_with_itself_becomes_a_square(self) -> None:
        graph = captured(Function(lambda m, x: x * x), torch.randn(2, 4))
        assert operators(graph) == ["aten.pow.Tensor_Scalar"]

    def test_nested_outputs_keep_their_structure(self) -> None:
        graph = captured(Function(lambda m, x: {"a": x + 1, "b": (x * 2, [x.flatten(1)])}), torch.randn(2, 3))
        values = torch.utils._pytree.tree_unflatten(list(graph.outputs), graph.output_spec)
        assert isinstance(values, Mapping) and len(values["b"]) == 2 and isinstance(values["b"][1], list)

    def test_keyword_and_integer_inputs(self) -> None:
        def forward(m: nn.Module, x: Tensor, *, labels: Tensor, mask: Tensor) -> Tensor:
            return (x * mask).gather(1, labels)

        graph = captured(
            Function(forward),
            torch.randn(2, 3),
            labels=torch.tensor([[0], [2]]),
            mask=torch.ones(2, 3, dtype=torch.bool),
        )
        assert graph.input_batch_dims == (0, 0, 0)

    def test_inputs_of_another_leading_size_are_shared(self) -> None:
        graph = captured(Function(lambda m, x, y: x + y), torch.randn(2, 3), torch.randn(3))
        assert graph.input_batch_dims == (0, None)

    def test_batch_dimension_may_lie_elsewhere(self) -> None:
        model = Function(lambda m, x: m.l(x).transpose(0, 1), l=nn.Linear(3, 4))
        graph = captured(model, torch.randn(5, 2, 3), batch_dims=(1,))
        assert graph.input_batch_dims == (1,) and graph.output_batch_dims == (0,)

    def test_batch_may_be_folded_into_another_dimension(self) -> None:
        model = Function(lambda m, x: m.l(x).reshape(-1, 4), l=nn.Linear(3, 4))
        graph = captured(model, torch.randn(2, 5, 3))
        assert graph.output_batch_dims == (0,) and graph[str(graph.outputs[0])].shape == (5, 4)

    def test_no_batch_dimension_at_all(self) -> None:
        graph = captured(nn.Linear(3, 4), torch.randn(3), batch_dims=None)
        assert graph[str(graph.outputs[0])].shape == (4,)

    def test_module_paths_name_nodes(self) -> None:
        inner = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
        graph = captured(nn.Sequential(inner, nn.Linear(3, 1)), torch.randn(2, 3))
        assert graph.by_module["0"] == graph.by_module["0.1"] == "relu"
        found = graph.find("0.0")
        assert found is not None and found.name == "linear"

    def test_source_lines_are_the_users(self) -> None:
        def forward(m: nn.Module, x: Tensor) -> Tensor:
            return x.exp() + 1  # this very line

        node = captured(Function(forward), torch.randn(2, 3))["exp"]
        assert node.source.file == __file__ and "this very line" in str(node.source)

    def test_shared_and_aliased_parameters(self) -> None:
        layer = nn.Linear(3, 3)
        graph = captured(nn.Sequential(layer, nn.ReLU(), layer), torch.randn(2, 3))
        assert operators(graph).count("aten.linear.default") == 2


class TestLive:
    def test_parameters_are_read_when_used(self) -> None:
        model = nn.Linear(3, 4)
        x = torch.randn(2, 3)
        graph = captured(model, x)
        with torch.no_grad():
            model.weight.mul_(3)
        values = evaluate(graph.nodes, {**parameter_leaves(graph, model), **input_leaves(graph, (x,))})
        assert torch.allclose(values["linear"].value.squeeze(1), model(x))

    @pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
    def test_export_leaves_recurrent_modules_intact(self, kind: Any) -> None:
        model = kind(3, 4, batch_first=True)
        x = torch.randn(2, 5, 3)
        before = model(x)[0]
        captured(Function(lambda m, x: m.rnn(x)[0], rnn=model), x)
        assert torch.equal(model(x)[0], before)
        assert all(isinstance(w, nn.Parameter) for w in model._flat_weights)


class TestRefusals:
    def test_branch_on_data(self) -> None:
        def forward(m: nn.Module, x: Tensor) -> Tensor:
            if x.sum() > 0:  # the guilty line
                return x
            return -x

        with pytest.raises(DataDependentBranchError, match=r"the guilty line(.|\n)*torch\.where"):
            captured(Function(forward), torch.randn(2, 3))

    def test_branch_through_a_python_number(self) -> None:
        def forward(m: nn.Module, x: Tensor) -> Tensor:
            return x * 2 if float(x.max()) > 0 else x

        with pytest.raises(DataDependentBranchError):
            captured(Function(forward), torch.randn(2, 3))

    @pytest.mark.parametrize(
        "function", [lambda m, x: x[x > 0], lambda m, x: torch.nonzero(x), lambda m, x: x.unique()]
    )
    def test_a_size_that_depends_on_values(self, function: Any) -> None:
        with pytest.raises(DataDependentShapeError, match=r"test_capture\.py:\d+(.|\n)*torch\.where\(mask"):
            captured(Function(function), torch.randn(1, 3))

    def test_examples_that_influence_each_other(self) -> None:
        with pytest.raises(ReplayError, match="influence one another"):
            captured(Function(lambda m, x: x - x.mean(0, keepdim=True)), torch.zeros(2, 3))

    def test_output_without_a_batch(self) -> None:
        with pytest.raises(ReplayError, match="batch"):
            captured(Function(lambda m, x: x.sum()), torch.randn(2, 3))

    def test_a_frozen_batch_size(self) -> None:
        with pytest.raises(ReplayError, match="batch_dims"):
            captured(Function(lambda m, x: x.view(2, 3)), torch.randn(2, 3))

    def test_state_that_changes(self) -> None:
        calls = []

        def forward(m: nn.Module, x: Tensor) -> Tensor:
            calls.append(None)
            return x * len(calls)

        with pytest.raises(ReplayError, match="Python values"):
            captured(Function(forward), torch.randn(2, 3))

    @pytest.mark.parametrize(
        "layer",
        [
            nn.AlphaDropout(), nn.BatchNorm1d(3, track_running_stats=False), nn.SyncBatchNorm(3),
            nn.LSTM(3, 3, 2, dropout=0.5),
        ],
    )  # fmt: skip
    def test_training_mode_is_refused_by_name(self, layer: nn.Module) -> None:
        with pytest.raises(TrainingModeError, match=rf"'layer' \({type(layer).__name__}"):
            captured(Function(lambda m, x: x, layer=layer), torch.randn(2, 3))

    def test_functional_dropout_is_refused_with_its_line(self) -> None:
        def forward(m: nn.Module, x: Tensor) -> Tensor:
            return nn.functional.dropout(x, 0.5)  # here

        with pytest.raises(TrainingModeError, match="# here"):
            captured(Function(forward), torch.randn(2, 3))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.complex64])
    def test_other_dtypes_are_refused_by_name(self, dtype: torch.dtype) -> None:
        with pytest.raises(InputError, match=str(dtype)):
            captured(Function(lambda m, x: x), torch.zeros(2, 3, dtype=dtype))

    def test_control_flow_operators(self) -> None:
        def forward(m: nn.Module, x: Tensor) -> Tensor:
            return torch.cond(x.sum() > 0, lambda x: x * 2, lambda x: x + 1, (x,))

        with pytest.raises((UnsupportedOperatorError, CaptureError)):
            captured(Function(forward), torch.randn(2, 3))

    def test_no_tensor_output(self) -> None:
        with pytest.raises(CaptureError, match="no tensor"):
            captured(Function(lambda m, x: 3), torch.randn(2, 3))

    @pytest.mark.parametrize(
        ("dims", "message"), [((0, 0), "2 entries"), ((5,), "not a dimension"), ("first", "'auto'")]
    )
    def test_wrong_batch_dims(self, dims: Any, message: str) -> None:
        with pytest.raises(InputError, match=message):
            captured(nn.Linear(3, 3), torch.randn(2, 3), batch_dims=dims)


def test_products_with_one_and_sums_with_zero_leave_no_node() -> None:
    graph = captured(Function(lambda _, x: ((x * 1.0 + 0) / 1 - 0.0) ** 1 + torch.relu(x)), torch.rand(2, 3))
    assert [n.origin for n in graph.nodes if n.kind is NodeKind.OPERATOR] == ["relu", "add"]


def test_rounding_where_large_numbers_cancel_is_no_difference_from_the_model() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).eval().requires_grad_(False)
    model[0].bias.add_(1e4)
    model[1].running_mean.fill_(1e4)
    captured(model, torch.rand(2, 4))


def test_a_difference_beyond_that_rounding_is_one() -> None:
    torch.manual_seed(0)
    shift = torch.rand(4)

    def mixes(_: nn.Module, x: Tensor) -> Tensor:
        return (x + 1e4) - (1e4 + 0.1 * x.mean(0, keepdim=True)) + shift

    with pytest.raises(ReplayError, match="influence one another"):
        captured(Function(mixes), torch.rand(2, 4))
