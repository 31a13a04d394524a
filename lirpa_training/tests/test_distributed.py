"""Two processes get the gradients of one: with `DistributedDataParallel`, and with parameters sharded by FSDP2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import InputError
from lirpa_testing.ranks import in_processes
from lirpa_training import CertifiedLoss

needs_groups = pytest.mark.skipif(not dist.is_available(), reason="no torch.distributed in this build")
AROUND = PerturbationLpNorm(eps=0.1)


def loss() -> CertifiedLoss:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    return CertifiedLoss(model, method="CROWN-IBP", fusion=True)


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(6, 4, generator=generator).double(), torch.randint(0, 3, (6,), generator=generator)


def trained(criterion: nn.Module, own: slice) -> list[list[Tensor]]:
    """The gradients of three steps, which change the parameters."""
    x, y = data()
    optimizer = torch.optim.SGD(criterion.parameters(), lr=0.5)
    steps = []
    for _ in range(3):
        optimizer.zero_grad()
        criterion(x[own], y[own], AROUND).backward()
        steps.append([whole(p.grad).clone() for p in criterion.parameters()])
        optimizer.step()
    return steps


def whole(x: Any) -> Tensor:
    return x.full_tensor() if hasattr(x, "full_tensor") else x  # type: ignore[no-any-return]


def in_parallel(criterion: CertifiedLoss) -> nn.Module:
    from torch.nn.parallel import DistributedDataParallel

    return DistributedDataParallel(criterion)


def sharded(criterion: CertifiedLoss) -> nn.Module:
    from torch.distributed.fsdp import fully_shard

    return fully_shard(criterion)


def sharded_by_layers(criterion: CertifiedLoss) -> nn.Module:
    from torch.distributed.fsdp import fully_shard

    for layer in criterion.model:  # type: ignore[union-attr]
        if isinstance(layer, nn.Linear):
            fully_shard(layer)  # which lets parameters go at the end of its forward
    return fully_shard(criterion)


KINDS: tuple[Callable[[CertifiedLoss], nn.Module], ...] = (in_parallel, sharded, sharded_by_layers)


def message(work: Callable[[], Any]) -> str:
    try:
        work()
    except InputError as error:
        return str(error)
    return ""


def in_each() -> tuple[dict[str, list[list[Tensor]]], str, str]:
    own = slice(dist.get_rank(), None, 2)
    found = {kind.__name__: trained(kind(loss()), own) for kind in KINDS}
    criterion = loss()
    parallel = sharded_by_layers(criterion)
    assert all(p.to_local().numel() < p.numel() for p in parallel.parameters() if p.shape[0] > 1)  # type: ignore[operator]
    x, _ = data()
    point = BoundedTensor(x, AROUND)
    capture = message(lambda: BoundedModule(criterion.model, x))
    apart = [module for module in parallel.modules() if hasattr(module, "unshard")]
    for module in apart:
        module.unshard()  # type: ignore[operator]
    bounded = BoundedModule(criterion.model, x)
    bounded.compute_bounds(point)
    for module in apart:
        module.reshard()  # type: ignore[operator]
    return found, capture, message(lambda: bounded.compute_bounds(point))


@needs_groups
def test_two_processes_get_the_gradients_of_one() -> None:
    wanted = trained(loss(), slice(None))
    assert not torch.equal(wanted[0][0], wanted[2][0])
    for found, *refusals in in_processes(
        in_each, imports=["torch.distributed.fsdp", "torch.distributed.tensor"]
    ):
        for kind in KINDS:
            for got, gradients in zip(found[kind.__name__], wanted, strict=True):
                for a, b in zip(got, gradients, strict=True):
                    torch.testing.assert_close(a, b)
        for refusal in refusals:
            assert "parameter '0.weight' is sharded" in refusal and "unshard()" in refusal
