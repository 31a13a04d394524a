"""The certified loss: a function, and an `nn.Module` for loops, `DistributedDataParallel` and `torchrun`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from lirpa_core import BoundedModule, Perturbation
from lirpa_core.errors import InputError, NonFiniteBoundError, OptionError
from lirpa_training.expressive import Certified, Objective
from lirpa_training.inputs import perturb
from lirpa_training.margins import check_labels
from lirpa_training.regularizers import WarmupRegularizer
from lirpa_training.sharding import hold_parameters
from lirpa_training.step import BoundLoss, Statistics, Step

Reduction: TypeAlias = Literal["mean", "sum", "none"]


_REDUCTIONS: Mapping[Reduction, Callable[[Tensor], Tensor]] = {
    "mean": Tensor.mean,
    "sum": Tensor.sum,
    "none": lambda loss: loss,
}


class LossParts(NamedTuple):
    """What a step's loss is made of.

    Attributes:
        loss: The loss to minimise, reduced; the only one with a gradient.
        clean: Cross entropy of the clean examples `[B]`.
        robust: The robust loss of each example `[B]`; the clean one where its weight is zero.
        scores: Clean class scores `[B, K]`.
    """

    loss: Tensor
    clean: Tensor
    robust: Tensor
    scores: Tensor


class CertifiedLoss(nn.Module):
    """The loss of certified training, in a loop like any other.

    `κ · clean + (1 - κ) · robust`, where `robust` is by default an upper bound of the cross entropy over the
    perturbation set (Gowal et al. 2018 for IBP; Zhang et al. 2020 for CROWN-IBP, its κ and β). The model's
    parameters are this module's, so give either to the optimiser. To train on many devices, wrap this module in
    `DistributedDataParallel`, or shard its parameters by `fully_shard(criterion)` (FSDP2); layers that you shard one by one
    before that stay whole from a step's beginning to its gradient.

    In training mode, batch norm uses the statistics of the clean batch and dropout one mask for the clean
    pass, attacks and bounds; running statistics are updated once a call.

    Args:
        model: From inputs to class scores `[B, K]`. It is captured at the first call with each mode (training,
            evaluation), once; a `BoundedModule` is taken as it is.
        method: How the output is bounded, as for `BoundedModule.compute_bounds`.
        fusion: Loss fusion (Xu et al. 2020, section 3.3): one row stands for all margins, so that the cost does
            not grow with the number of classes.
        objective: `Certified()`, or `Adversarial`, `SABR`, `MTLIBP`, `CCIBP` with their options.
        kappa: Weight of the clean loss, from 0 to 1.
        beta: Weight of the method's bounds against interval bounds, from 0 to 1.
        statistics: Whether the gradient flows through the batch's mean and variance (`"differentiable"`) or
            takes them for constants (`"constant"`).
        regularizer: Added to the loss; `WarmupRegularizer` keeps bounds tight while the radius grows.
        checkpoint: Compute inner values of the bounds again for the gradient instead of storing them.
        reduction: `"mean"`, `"sum"` or `"none"` over the examples.
        check_finite: Whether a loss that is infinite or NaN is an error that names the layer whose bounds
            grew too large; waits for the device once a call.

    Raises:
        OptionError: For a wrong option.

    Example:
        >>> import torch
        >>> from lirpa_core import PerturbationLpNorm
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> criterion = CertifiedLoss(model, method="CROWN-IBP", fusion=True)
        >>> x, y = torch.rand(5, 4), torch.tensor([0, 1, 2, 1, 0])
        >>> loss = criterion(x, y, PerturbationLpNorm(eps=0.1))
        >>> loss.backward()
    """

    _bounded: BoundedModule | None

    def __init__(
        self,
        model: nn.Module,
        *,
        method: str = "CROWN-IBP",
        fusion: bool = False,
        objective: Objective | None = None,
        kappa: float = 0.0,
        beta: float = 1.0,
        statistics: Statistics = "differentiable",
        regularizer: WarmupRegularizer | None = None,
        checkpoint: bool = False,
        reduction: Reduction = "mean",
        check_finite: bool = True,
    ) -> None:
        super().__init__()
        self.model = model
        self.__dict__["_bounded"] = model if isinstance(model, BoundedModule) else None
        self.bound = BoundLoss(method, fusion, beta, checkpoint)
        self.objective = objective or Certified()
        self.regularizer = regularizer
        self.kappa = _weight("kappa", kappa)
        self.statistics = _one_of("statistics", statistics, get_args(Statistics))
        self.reduction = _one_of("reduction", reduction, get_args(Reduction))
        self.check_finite = check_finite

    def forward(
        self,
        x: Any,
        labels: Tensor,
        perturbation: Perturbation | None = None,
        *,
        kappa: float | None = None,
        beta: float | None = None,
        regularization: float = 1.0,
        parts: bool = False,
    ) -> Tensor | LossParts:
        """The loss of a batch.

        Args:
            x: The model's input, or a tuple of its positional inputs.
            labels: Right classes, whole numbers `[B]`.
            perturbation: The set around the first floating point input that is not already a
                `BoundedTensor`; None where one is, or where weights are perturbed.
            kappa: This step's weight of the clean loss; default: the module's.
            beta: This step's weight of the method's bounds; default: the module's.

            regularization: This step's factor on the regulariser.
            parts: Whether to return what the loss is made of, for logs, instead of the loss alone.

        Returns:
            A scalar, or `[B]` without reduction; with `parts`, a `LossParts`.

        Raises:
            InputError: For labels that are out of range, or inputs that do not fit.
            NonFiniteBoundError: If the loss is infinite or NaN; names the layer.
            LirpaError: As `BoundedModule.compute_bounds`.
        """
        kappa = self.kappa if kappa is None else _weight("kappa", kappa)
        bound = self.bound
        if beta is not None:
            bound = BoundLoss(bound.method, bound.fusion, beta, bound.checkpoint)
        hold_parameters(self)
        inputs = perturb(x, perturbation)
        model = self.bounded(inputs)
        scores, state = model.clean_pass(*inputs)
        _check_scores(scores)
        check_labels(labels, scores.shape[0], scores.shape[1])
        clean = robust = F.cross_entropy(scores, labels, reduction="none")
        extra: Tensor | None = None
        if kappa < 1:
            state = state if self.statistics == "differentiable" else state.detach()
            robust, bounds = self.objective(Step(model, inputs, labels, state, bound))
            if self.check_finite and bounds is not None:
                bounds.refuse_non_finite(robust)
            if bounds is not None and self.regularizer is not None and regularization > 0:
                extra = regularization * self.regularizer(bounds)
        mixed = clean if kappa == 1 else robust if kappa == 0 else kappa * clean + (1 - kappa) * robust
        loss = _REDUCTIONS[self.reduction](mixed)
        loss = loss if extra is None else loss + extra
        if self.check_finite and not bool(loss.detach().isfinite().all()):
            raise NonFiniteBoundError(
                "the loss is infinite or NaN, and so are the clean scores or those of an attack: the weights "
                "have grown too large or are NaN. Use a smaller learning rate, or clip gradients."
            )
        return LossParts(loss, clean.detach(), robust.detach(), scores.detach()) if parts else loss

    def bounded(self, inputs: tuple[Any, ...]) -> BoundedModule:
        """The bounded model; made from these inputs, as an example, at the first call."""
        if self._bounded is None:
            self.__dict__["_bounded"] = BoundedModule(self.model, inputs)
        found = self._bounded
        assert found is not None
        return found


def certified_loss(
    model: nn.Module,
    x: Any,
    labels: Tensor,
    perturbation: Perturbation | None = None,
    *,
    method: str = "CROWN-IBP",
    fusion: bool = False,
    objective: Objective | None = None,
    kappa: float = 0.0,
    beta: float = 1.0,
    checkpoint: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
    """Upper bound of the cross entropy over a perturbation set, ready for `backward()`.

    `CertifiedLoss` is the same as a module.

    Args:
        model: A `BoundedModule`. An ordinary module works too, but is captured at each call, which takes
            seconds; a warning says so.
        x: As for `CertifiedLoss.forward`.
        labels: Likewise.
        perturbation: Likewise.
        method: As for `CertifiedLoss`.
        fusion: Likewise.
        objective: Likewise.
        kappa: Likewise.
        beta: Likewise.
        checkpoint: Likewise.
        reduction: Likewise.

    Raises:
        LirpaError: As `CertifiedLoss`.

    Example:
        >>> import torch
        >>> from lirpa_core import BoundedModule, PerturbationLpNorm
        >>> x, y = torch.rand(5, 4), torch.tensor([0, 1, 2, 1, 0])
        >>> model = BoundedModule(torch.nn.Linear(4, 3), x)
        >>> certified_loss(model, x, y, PerturbationLpNorm(eps=0.1), fusion=True).shape
        torch.Size([])
    """
    if not isinstance(model, BoundedModule):
        warnings.warn(
            "certified_loss captures an ordinary module at each call, which takes seconds. Wrap it once with "
            "BoundedModule(model, x), or use CertifiedLoss(model, ...).",
            stacklevel=2,
        )
    criterion = CertifiedLoss(
        model, method=method, fusion=fusion, objective=objective, kappa=kappa, beta=beta,
        checkpoint=checkpoint, reduction=reduction,
    )  # fmt: skip
    loss: Tensor = criterion(x, labels, perturbation)
    return loss


def _check_scores(scores: Any) -> None:
    if not isinstance(scores, Tensor) or scores.dim() != 2 or scores.shape[1] < 2:
        given = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise InputError(
            f"the model must return class scores [B, K] with K of at least 2; it returned {given}."
        )


def _weight(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise OptionError(f"{name}={value!r}: expected a weight from 0 to 1.")
    return value


def _one_of(name: str, value: Any, allowed: tuple[Any, ...]) -> Any:
    if value not in allowed:
        raise OptionError(f"{name}={value!r}: expected one of {', '.join(map(repr, allowed))}.")
    return value


__all__ = ["CertifiedLoss", "LossParts", "certified_loss"]
