"""The operator that a layer calls gives the layer's numbers; what the table does not cover is not guessed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lirpa_core.capture.layers import LAYERS, called_by

#: Layers, with a shape that they take.
COVERED: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(3, 2), (2, 3)),
    "linear without a bias": (nn.Linear(3, 2, bias=False), (2, 3)),
    "conv1d": (nn.Conv1d(2, 4, 3, stride=2, padding=1, dilation=2, groups=2), (1, 2, 9)),
    "conv2d": (nn.Conv2d(2, 4, (3, 2), stride=(1, 2), padding=(1, 0), bias=False), (1, 2, 5, 6)),
    "conv2d, same": (nn.Conv2d(2, 3, 3, padding="same"), (1, 2, 5, 5)),
    "conv3d": (nn.Conv3d(1, 2, 2), (1, 1, 3, 3, 3)),
    "batch norm 1d": (nn.BatchNorm1d(3, eps=0.1), (2, 3)),
    "batch norm 2d": (nn.BatchNorm2d(3, affine=False), (2, 3, 2, 2)),
    "batch norm 3d": (nn.BatchNorm3d(3), (2, 3, 2, 2, 2)),
    "dropout": (nn.Dropout(0.3), (2, 3)),
    "flatten": (nn.Flatten(2, -1), (2, 3, 2, 2)),
    "max pool": (nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True), (1, 2, 6, 6)),
    "average pool": (nn.AvgPool2d((2, 3), count_include_pad=False, padding=1), (1, 2, 6, 6)),
    "relu": (nn.ReLU(), (2, 3)),
    "relu in place": (nn.ReLU(inplace=True), (2, 3)),
    "leaky relu": (nn.LeakyReLU(0.3), (2, 3)),
    "elu": (nn.ELU(0.7, inplace=True), (2, 3)),
    "silu": (nn.SiLU(), (2, 3)),
    "gelu": (nn.GELU(), (2, 3)),
    "sigmoid": (nn.Sigmoid(), (2, 3)),
    "tanh": (nn.Tanh(), (2, 3)),
    "softplus": (nn.Softplus(2.0, 1.5), (2, 3)),
}


class _Subclass(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1


NOT_COVERED: dict[str, nn.Module] = {
    "a subclass": _Subclass(2, 2),
    "circular padding": nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"),
    "indices": nn.MaxPool2d(2, return_indices=True),
    "batch statistics": nn.BatchNorm1d(3, track_running_stats=False),
    "training": nn.BatchNorm1d(3).train(),
    "random": nn.Dropout(0.3).train(),
    "cumulative statistics": nn.BatchNorm1d(3, momentum=None),
    "gelu by tanh": nn.GELU(approximate="tanh"),
    "another layer": nn.LSTM(2, 2),
}


@pytest.mark.parametrize("name", COVERED)
def test_the_operator_gives_the_numbers_of_the_layer(name: str) -> None:
    layer, shape = COVERED[name]
    layer = layer.eval()
    torch.manual_seed(1)
    for tensor in layer.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 2.0)  # statistics of batch norms that are not zero and one
    call, x = called_by(layer), torch.randn(shape)
    assert call is not None
    given = [getattr(layer, t) if t is not None else None for t in call.tensors]
    with torch.no_grad():
        assert torch.equal(call.target(x.clone(), *given, *call.rest), layer(x.clone()))


def test_every_layer_of_the_table_is_tried() -> None:
    assert {type(layer) for layer, _ in COVERED.values()} == set(LAYERS)


@pytest.mark.parametrize("name", NOT_COVERED)
def test_what_the_table_does_not_cover_is_not_guessed(name: str) -> None:
    layer = NOT_COVERED[name]
    assert called_by(layer if name in ("training", "random") else layer.eval()) is None


def test_a_class_with_another_forward_is_not_pytorchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, x: x)
    assert called_by(nn.ReLU()) is None
