"""Where convolutions are sums of products."""

import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.devices import sums_products
from lirpa_core.errors import UnsupportedOperandError


def test_not_on_what_nothing_is_known_of(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not sums_products(torch.device("cuda")) and not sums_products(torch.device("mps"))
    with torch.backends.mkldnn.flags(enabled=False):
        assert not sums_products(torch.device("cpu"))
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert not sums_products(torch.device("cpu"))


def test_a_convolution_as_executed_is_refused_where_it_may_be_transformed() -> None:
    pytest.importorskip("lirpa_ops_vision", reason="the rules of convolutions")
    x = torch.rand(1, 1, 4, 4)
    bounded = BoundedModule(nn.Conv2d(1, 2, 3), x, bound_opts={"covers": "float"})
    ball = BoundedTensor(x, PerturbationLpNorm(eps=0.1))
    with torch.backends.mkldnn.flags(enabled=False), pytest.raises(UnsupportedOperandError, match="oneDNN"):
        bounded.compute_bounds(ball, method="IBP")
