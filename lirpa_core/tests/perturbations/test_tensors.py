"""Tensors and parameters that carry a perturbation behave like ordinary ones."""

from __future__ import annotations

import copy
import io
import math
import pickle

import pytest
import torch
from torch import nn

from lirpa_core.errors import PerturbationError
from lirpa_core.perturbations import PerturbationLpNorm
from lirpa_core.perturbations.tensors import BoundedParameter, BoundedTensor

PTB = PerturbationLpNorm(norm=math.inf, eps=0.1)


def test_operations_give_plain_tensors() -> None:
    x = BoundedTensor(torch.randn(2, 3), PTB)
    assert isinstance(x, torch.Tensor)
    assert x.ptb is PTB
    results = [
        x + 1,
        x[0],
        x.reshape(3, 2),
        x.T,
        torch.cat([x, x]),
        nn.Linear(3, 4)(x),
        x.sum(),
        x.data,
        *x.split(1),
    ]
    assert all(type(r) is torch.Tensor for r in results)
    assert type(x.plain()) is torch.Tensor
    assert x.plain().data_ptr() == x.data_ptr()
    assert x.shape == (2, 3)
    assert len(x) == 2


@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x.to(torch.float64),
        lambda x: x.to("cpu"),
        lambda x: x.to(device="cpu", dtype=torch.float64, copy=True),
        lambda x: x.to(torch.zeros(1)),
        lambda x: x.to(memory_format=torch.channels_last),
        lambda x: x.cpu(),
        lambda x: x.double(),
        lambda x: x.float(),
        lambda x: x.clone(),
        lambda x: x.clone(memory_format=torch.contiguous_format),
        lambda x: x.detach(),
        lambda x: x.requires_grad_(),
        lambda x: x.double().requires_grad_().detach(),
        copy.copy,
        copy.deepcopy,
        lambda x: pickle.loads(pickle.dumps(x)),
    ],
)
def test_conversions_keep_the_perturbation(convert) -> None:  # type: ignore[no-untyped-def]
    x = BoundedTensor(torch.randn(1, 2, 3, 3), PerturbationLpNorm(torch.tensor([0.1])))
    y = convert(x)
    assert type(y) is BoundedTensor
    torch.testing.assert_close(y.plain().double(), x.plain().double(), check_stride=False)
    assert y.ptb.eps.item() == pytest.approx(0.1)
    assert y.ptb.eps.dtype == y.dtype
    assert y.dtype == x.dtype or y.dtype == torch.float64


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_moves_the_perturbation() -> None:
    x = BoundedTensor(torch.randn(1, 2), PerturbationLpNorm(torch.tensor([0.1]))).cuda()
    assert x.is_cuda
    assert x.ptb.eps.is_cuda


def test_pickle_keeps_everything() -> None:
    x = BoundedTensor(torch.randn(2), PTB).requires_grad_()
    y = pickle.loads(pickle.dumps(x))
    assert type(y) is BoundedTensor
    assert y.requires_grad
    assert repr(y.ptb) == repr(PTB)
    buffer = io.BytesIO()
    torch.save(x, buffer)
    buffer.seek(0)
    assert torch.load(buffer).ptb.eps == 0.1
    pair = copy.deepcopy([x, x])
    assert pair[0] is pair[1]
    assert pair[0].is_leaf


def test_gradients_flow_to_the_nominal_value() -> None:
    leaf = torch.randn(3, requires_grad=True)
    BoundedTensor(leaf, PTB).mul(2).sum().backward()
    assert leaf.grad.tolist() == [2, 2, 2]
    own = BoundedTensor(torch.randn(3), PTB).requires_grad_()
    assert own.is_leaf
    (own * 3).sum().backward()
    assert own.grad.tolist() == [3, 3, 3]
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(BoundedTensor(leaf * 2, PTB))


def test_wrapping_again_replaces_the_perturbation() -> None:
    other = PerturbationLpNorm(norm=2, eps=0.5)
    x = BoundedTensor(BoundedTensor(torch.zeros(2), PTB), other)
    assert x.ptb is other
    assert type(x + 1) is torch.Tensor


def test_prints() -> None:
    text = repr(BoundedTensor(torch.zeros(2), PTB))
    assert text == "BoundedTensor(tensor([0., 0.]), PerturbationLpNorm(norm=inf, eps=0.1))"
    assert "PerturbationLpNorm" in repr(BoundedParameter(torch.zeros(2), PTB))
    assert "tensor" in str(BoundedTensor(torch.zeros(2), PTB))
    assert f"{BoundedTensor(torch.tensor(1.5), PTB):.2f}" == "1.50"


@pytest.mark.parametrize(
    "convert",
    [torch.Tensor.double, torch.Tensor.cpu, torch.clone, copy.copy, copy.deepcopy, torch.Tensor.detach],
)
def test_a_tensor_without_a_set_is_an_ordinary_one_until_it_gets_one(convert) -> None:  # type: ignore[no-untyped-def]
    x = BoundedTensor(torch.zeros(2))
    y = convert(x)
    assert not x.has_set and y.tolist() == [0, 0] and not getattr(y, "has_set", False)
    assert repr(x) == "BoundedTensor(tensor([0., 0.]))"
    x.ptb = PTB
    assert x.has_set and x.ptb is PTB
    with pytest.raises(PerturbationError, match="instance"):
        x.ptb = PerturbationLpNorm  # type: ignore[assignment]
    assert x.ptb is PTB


@pytest.mark.parametrize("cls", [BoundedTensor, BoundedParameter])
def test_refusals(cls: type) -> None:
    if cls is BoundedParameter:  # a tensor may get its set later
        with pytest.raises(PerturbationError, match="ptb"):
            cls(torch.zeros(2), None)
        with pytest.raises(PerturbationError, match="ptb"):
            cls(torch.zeros(2))
    with pytest.raises(PerturbationError, match="instance"):
        cls(torch.zeros(2), PerturbationLpNorm)
    with pytest.raises(PerturbationError, match=r"ptb.*float"):
        cls(torch.zeros(2), 0.1)
    with pytest.raises(PerturbationError, match="int64"):
        cls(torch.zeros(2, dtype=torch.long), PTB)
    with pytest.raises(PerturbationError, match="tensor, not list"):
        cls([1.0], PTB)


def layer() -> nn.Linear:
    module = nn.Linear(3, 2)
    module.weight = BoundedParameter(module.weight, PerturbationLpNorm(torch.tensor([[0.1]])))
    return module


def test_parameter_in_a_module() -> None:
    module = layer()
    assert isinstance(module.weight, nn.Parameter)
    assert isinstance(module.weight, BoundedParameter)
    assert not isinstance(module.bias, BoundedParameter)
    assert dict(module.named_parameters())["weight"] is module.weight
    assert type(module(torch.ones(1, 3))) is torch.Tensor
    module.to(torch.float64)
    assert isinstance(module.weight, BoundedParameter)
    assert module.weight.dtype == torch.float64
    centre = module.weight.detach().unsqueeze(0)
    assert module.weight.ptb.aligned(None, 2).hull(centre).lower.dtype == torch.float64


def test_parameter_trains() -> None:
    module = layer()
    before = module.weight.detach().clone()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    assert not torch.equal(module.weight.detach(), before)
    assert isinstance(module.weight, BoundedParameter)


def test_parameter_state_and_copies() -> None:
    module = layer()
    state = module.state_dict()
    assert list(state) == ["weight", "bias"]
    twin = layer()
    twin.load_state_dict(state)
    assert torch.equal(twin.weight, module.weight)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    assert torch.equal(torch.load(buffer, weights_only=True)["weight"], module.weight)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert type(other.weight) is BoundedParameter
        assert torch.equal(other.weight, module.weight)
        assert other.weight.data_ptr() != module.weight.data_ptr()
        assert repr(other.weight.ptb) == repr(module.weight.ptb)
        assert other.weight.requires_grad
    frozen = BoundedParameter(torch.zeros(2), PTB, requires_grad=False)
    assert not copy.deepcopy(frozen).requires_grad
    shared = copy.deepcopy([module.weight, module.weight])
    assert shared[0] is shared[1]


def test_parameter_from_a_bounded_tensor_or_parameter() -> None:
    for source in (BoundedTensor(torch.ones(2), PTB), nn.Parameter(torch.ones(2)), layer().weight):
        parameter = BoundedParameter(source, PTB)
        assert type(parameter) is BoundedParameter
        assert parameter.is_leaf
        assert type(parameter * 2) is torch.Tensor
