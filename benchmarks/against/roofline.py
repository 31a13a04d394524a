"""What a call computes and moves, and what the machine could do at most (the roofline of Williams et al. 2009)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


@dataclass(frozen=True)
class Machine:
    """The most that was measured.

    Attributes:
        flops: Floating-point operations a second of a large matrix product.
        bytes: Bytes a second that a large copy reads and writes.
    """

    flops: float
    bytes: float

    def least_seconds(self, flops: float, moved: float) -> float:
        """The least time of a call that computes and moves so much, with full overlap of the two."""
        return max(flops / self.flops, moved / self.bytes)


_SMALL = torch.ops.aten._slow_conv2d_forward


class _Moved(TorchDispatchMode):
    """Adds up operations, and the bytes of operands and results of all operators that are not views.

    Not PyTorch's `FlopCounterMode`: that one hooks into modules, so that the model counts as changed.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if func._overloadpacket is _SMALL:  # PyTorch's own formula takes other arguments
            self.flops += 2 * out.numel() * args[1][0].numel()
        elif count is not None:
            self.flops += count(*args, **(kwargs or {}), out_val=out)
        aliases = [r.alias_info for r in func._schema.returns]
        if not any(alias is not None and not alias.is_write for alias in aliases):
            tensors = {id(t): t for t in tree_leaves((args, kwargs, out)) if isinstance(t, Tensor)}
            self.bytes += sum(
                min(t.numel() * t.element_size(), t.untyped_storage().nbytes()) for t in tensors.values()
            )
        return out


def work_of(call: Callable[[], object]) -> tuple[int, int]:
    """Operations of matrix products and convolutions in a call, and bytes that its operators read and write.

    The bytes are those of the operators one by one: a program that fuses them moves fewer, and what fits a cache
    does not reach the memory.
    """
    with _Moved() as moved:
        call()
    return moved.flops, moved.bytes


def measure_machine(device: torch.device | None = None, size: int = 1024, numbers: int = 2**25) -> Machine:
    """Measure a matrix product and a copy in float32.

    Args:
        device: Where; the CPU by default.
        size: Of the square matrices.
        numbers: How many are copied.
    """
    where = device or torch.device("cpu")
    a, b = torch.rand(size, size, device=where), torch.rand(size, size, device=where)
    source, to = torch.rand(numbers, device=where), torch.empty(numbers, device=where)
    return Machine(
        2 * size**3 / _least(lambda: a @ b, where), 8 * numbers / _least(lambda: to.copy_(source), where)
    )


def _least(work: Callable[[], object], device: torch.device, repeat: int = 7) -> float:
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times)
