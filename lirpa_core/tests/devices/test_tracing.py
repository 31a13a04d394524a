"""Whether somebody follows the operators."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from lirpa_core.devices import is_traced, same_positions


def test_nobody_follows() -> None:
    assert not is_traced()


def test_while_something_is_recorded() -> None:
    seen: list[object] = []

    def function(x: Tensor) -> Tensor:
        seen.append(is_traced())
        positions = torch.arange(3)
        seen.append(same_positions(positions, torch.arange(3)))
        seen.append(same_positions(positions, torch.arange(3) + 1))
        return x + 1

    make_fx(function)(torch.ones(1))
    assert seen == [True, True, False]
    assert not is_traced()


def test_while_pytorch_compiles() -> None:
    def function(x: Tensor) -> Tensor:
        return x + 1 if is_traced() else x

    compiled = torch.compile(function, fullgraph=True, backend="eager")
    assert float(compiled(torch.zeros(()))) == 1.0
