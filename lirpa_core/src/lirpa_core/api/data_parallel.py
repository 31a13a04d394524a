"""`BoundDataParallel`, a name that users of the reference system look for."""

from __future__ import annotations

from typing import Any

from lirpa_core.errors import OptionError


class BoundDataParallel:
    """Exists to say what does its work: PyTorch's own `DistributedDataParallel`.

    A certified loss is an `nn.Module` whose `forward` computes bounds, so `DistributedDataParallel` needs
    nothing special:

        criterion = DistributedDataParallel(lirpa_training.CertifiedLoss(model, method="CROWN-IBP", fusion=True))
        loss = criterion(x, y, PerturbationLpNorm(eps=0.1))
        loss.backward()

    Raises:
        OptionError: Always, with this explanation.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise OptionError(
            "BoundDataParallel is not needed: a loss made of bounds is an nn.Module, so PyTorch's own data "
            "parallelism drives it. Wrap lirpa_training.CertifiedLoss(model, ...) in "
            "torch.nn.parallel.DistributedDataParallel and start the program with torchrun; for a loss of your "
            "own, write a module whose forward() calls compute_bounds, and wrap that."
        )
