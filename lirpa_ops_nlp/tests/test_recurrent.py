"""Recurrent layers and cells, end to end."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import LirpaError
from lirpa_core.plugins import default_registry

pytestmark = pytest.mark.slow


class Last(nn.Module):
    """A recurrent layer, and a linear head on everything that it returns."""

    def __init__(self, layer: nn.RNNBase, features: int) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(features, 2)

    def forward(self, x: Tensor) -> Tensor:
        if not self.layer.batch_first:
            x = x.transpose(0, 1)
        out, state = self.layer(x)
        out = out if self.layer.batch_first else out.transpose(0, 1)
        state = state if isinstance(state, tuple) else (state,)
        return self.head(out[:, -1]) + sum(s.sum((0, 2)).unsqueeze(-1) for s in state)


class Cell(nn.Module):
    """Two steps of a cell."""

    def __init__(self, cell: nn.RNNCellBase) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for t in range(2):
            state = self.cell(x[:, t], state)
        return torch.cat(state, -1) if isinstance(state, tuple) else state


@pytest.mark.parametrize(
    ("make", "features"),
    [
        (lambda: nn.LSTM(3, 4, batch_first=True), 4),
        pytest.param(
            lambda: nn.LSTM(3, 4, num_layers=2, bidirectional=True, proj_size=2),
            4,
            marks=pytest.mark.thorough,
        ),
        (lambda: nn.LSTM(3, 4, bias=False, proj_size=3, batch_first=True), 3),
        pytest.param(
            lambda: nn.GRU(3, 4, bidirectional=True, batch_first=True), 8, marks=pytest.mark.thorough
        ),
        (lambda: nn.GRU(3, 4, num_layers=2, bias=False), 4),
        (lambda: nn.RNN(3, 4, batch_first=True), 4),
        (lambda: nn.RNN(3, 4, nonlinearity="relu", bidirectional=True), 8),
    ],
    ids=["lstm", "lstm-2-bi-proj", "lstm-nobias-proj", "gru-bi", "gru-2-nobias", "rnn-tanh", "rnn-relu-bi"],
)
def test_layers(make, features, check_in_turn) -> None:
    torch.manual_seed(0)
    check_in_turn(Last(make(), features), torch.randn(2, 2, 3))


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_cells(kind, check_in_turn) -> None:
    torch.manual_seed(1)
    check_in_turn(Cell(kind(3, 4)), torch.randn(2, 3, 3))


def test_boxes_of_all_sizes(check) -> None:
    torch.manual_seed(2)
    model = Last(nn.LSTM(3, 2, batch_first=True), 2)
    check(model, torch.randn(2, 2, 3), (1e-12, 1e3), gradients=False)


@pytest.mark.parametrize("make", [nn.LSTM, nn.GRU], ids=["lstm", "gru"])
def test_joint_planes_beat_separate_ones(make) -> None:
    torch.manual_seed(3)
    model, x = Last(make(3, 4, batch_first=True), 4).double().eval(), torch.randn(2, 2, 3).double()
    widths = []
    for registry in (default_registry(), default_registry().without("nlp")):
        bounded = BoundedModule(model, x, registry=registry)
        ball = BoundedTensor(x, PerturbationLpNorm(eps=0.1))
        widths.append(
            [
                float((ub - lb).detach().sum())
                for lb, ub in (bounded.compute_bounds(x=(ball,), method=m) for m in ("CROWN-IBP", "CROWN"))
            ]
        )
    assert all(joint < apart for joint, apart in zip(*widths, strict=True)), widths


def test_packed_sequences_are_refused_by_name() -> None:
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(3, 4, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            packed = nn.utils.rnn.pack_padded_sequence(x, torch.full((x.shape[0],), 3), batch_first=True)
            return self.rnn(packed)[1][0][0]

    with pytest.raises(LirpaError, match="packed sequences cannot be bounded"):
        BoundedModule(Packed().eval(), torch.randn(2, 3, 3))


def test_dropout_in_training_is_refused() -> None:
    model = Last(nn.LSTM(3, 4, num_layers=2, dropout=0.5, batch_first=True), 4)
    with pytest.raises(LirpaError, match="dropout"):
        BoundedModule(model, torch.randn(2, 3, 3))
