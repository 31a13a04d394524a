"""`hold_parameters` keeps what bounds read; see test_distributed.py for the gradients of sharded losses."""

from __future__ import annotations

import pytest
from torch import nn

from lirpa_core.errors import InputError
from lirpa_training.sharding import hold_parameters


class Layer(nn.Linear):
    """As `fully_shard` makes it; notes what it is asked."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.asked: list[object] = []

    def unshard(self, async_op: bool = False) -> None:
        self.asked.append("unshard")

    def set_reshard_after_forward(self, reshard_after_forward: bool, recurse: bool = True) -> None:
        self.asked.append(reshard_after_forward)


class Loss(Layer):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model


def test_layers_are_gathered_and_kept_by_a_sharded_loss() -> None:
    layer = Layer()
    criterion = Loss(nn.Sequential(layer, nn.ReLU()))
    hold_parameters(criterion)
    assert layer.asked == [False, "unshard"] and criterion.asked == []


def test_a_loss_that_is_not_sharded_is_refused_only_if_layers_are() -> None:
    hold_parameters(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(InputError, match=r"fully_shard\(criterion\)"):
        hold_parameters(nn.Sequential(Layer()))
