"""Work that the processes of `torchrun` share."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together; alone, it is the first of one."""

    rank: int = 0
    world: int = 1

    @classmethod
    def current(cls) -> Ranks:
        """As the process group says."""
        return cls(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else cls()

    @property
    def first(self) -> bool:
        """Whether this is the process that prints and writes files."""
        return self.rank == 0

    def share(self, index: Tensor) -> Tensor:
        """This process's part of some examples; parts differ by at most one in length."""
        return index[self.rank :: self.world]

    def total(self, values: Tensor) -> Tensor:
        """Sum over all processes; every process has to call it."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give parameters that no `DistributedDataParallel` holds the mean of all processes' gradients."""
        if self.world == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)
            parameter.grad /= self.world


@contextmanager
def process_group(device: str) -> Iterator[str]:
    """Join the other processes of `torchrun`, if there are any; gives the device of this one."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or "RANK" not in os.environ:
        yield device
        return
    cuda = device.startswith("cuda")
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else device
    finally:
        dist.destroy_process_group()
