"""Cases of certified training: a step is the certified loss of a batch and its gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from benchmarks.cases import Case, Pair, Work
from lirpa_core import PerturbationLpNorm
from lirpa_training import CertifiedLoss

#: The most that a step of CROWN-IBP with loss fusion may cost of a step of IBP.
FUSION_TARGET = 1.5
#: The most that a step with checkpoints may cost of one without; it should take half the memory.
CHECKPOINT_TARGET = 1.4


def _network(size: int) -> nn.Module:
    """Four convolutions with batch norm and two linear layers, for `size` × `size` images with 3 channels."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((3, 16, 1), (16, 16, 2), (16, 32, 1), (32, 32, 2)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
    head = [nn.Flatten(), nn.Linear(32 * (size // 4) ** 2, 128), nn.ReLU(), nn.Linear(128, 10)]
    return nn.Sequential(*layers, *head)


def _step(
    device: torch.device,
    method: str,
    *,
    fusion: bool = True,
    checkpoint: bool = False,
    batch: int = 32,
    size: int = 16,
) -> Work:
    model = _network(size).to(device).train()
    criterion = CertifiedLoss(model, method=method, fusion=fusion, checkpoint=checkpoint)
    x, y = torch.rand(batch, 3, size, size, device=device), torch.randint(0, 10, (batch,), device=device)
    ball = PerturbationLpNorm(eps=1 / 255)

    def work() -> None:
        model.zero_grad(set_to_none=True)
        criterion(x, y, ball).backward()

    criterion(x[:2], y[:2], ball)  # captures the model, with little memory
    return work


def _pair(
    subject: Callable[[torch.device], Work], plain: Callable[[torch.device], Work]
) -> Callable[[torch.device], Pair]:
    return lambda device: Pair(subject(device), plain(device))


STEPS: tuple[Case, ...] = (
    Case(
        "train-fusion", "step of CROWN-IBP with loss fusion / step of IBP; CNN with batch norm, batch 32",
        _pair(lambda d: _step(d, "CROWN-IBP"), lambda d: _step(d, "IBP", fusion=False)), target=FUSION_TARGET,
    ),
    Case(
        "train-checkpoint", "step of CROWN-IBP with loss fusion, checkpointed / not; the same",
        _pair(lambda d: _step(d, "CROWN-IBP", checkpoint=True), lambda d: _step(d, "CROWN-IBP")),
        target=CHECKPOINT_TARGET,
    ),
)  # fmt: skip
