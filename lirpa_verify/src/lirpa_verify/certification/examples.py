"""Certifying examples one after the other, in this process."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor, nn

from lirpa_core import Perturbation
from lirpa_core.errors import InputError
from lirpa_verify.answers.accuracy import Certificate, Verdict
from lirpa_verify.bounding import Bounder
from lirpa_verify.clock import Clock
from lirpa_verify.ladder.standard import AUTO, standard_ladder
from lirpa_verify.network import from_module
from lirpa_verify.properties import robust
from lirpa_verify.questions import answer
from lirpa_verify.region import Region
from lirpa_verify.task import Task


class Certifier:
    """Certifies examples of a data set; the network is captured once.

    Args:
        model: A classifier in evaluation mode that takes batches.
        x: Examples `[N, *S]`.
        y: Right classes `[N]`.
        timeout: Seconds for each example.
        seed: Fixes everything that is random.
        branching: Name of a branching heuristic.

    Raises:
        LirpaError: As `verify`; `InputError` if labels and examples do not fit.
    """

    def __init__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        timeout: float = math.inf,
        seed: int = 0,
        branching: str = AUTO,
    ) -> None:
        if y.shape != x.shape[:1]:
            raise InputError(
                f"certify: {x.shape[0]} examples with labels of shape {list(y.shape)}; give one an example"
            )
        _try_out(model, x)
        self._network = from_module(model, (x[:1],))
        outputs = self._network.outputs
        if len(y) and not 0 <= int(y.min()) <= int(y.max()) < outputs:
            raise InputError(
                f"certify: labels reach from {int(y.min())} to {int(y.max())}, but the network has {outputs} classes"
            )
        Clock(timeout)  # refuses a wrong one before anything runs
        self._x, self._y, self._timeout, self._seed = x, y, timeout, seed
        self._steps = standard_ladder(branching)
        self._bounder: Bounder | None = None

    def certify(self, index: int, perturbation: Perturbation) -> Certificate:
        """The certificate of one example.

        Args:
            index: Which one.
            perturbation: The set around each example; its tensors have one element an example, or none.
        """
        clock = Clock(self._timeout)
        label = int(self._y[index])
        if int(self._network.original((self._x[index],)).argmax()) != label:
            return Certificate(index, Verdict.WRONG, clock.elapsed, None)
        region = Region.around((self._x[index : index + 1],), perturbation)
        task = Task.of(self._network, region, robust(label).property_for(self._network.outputs))
        self._bounder = Bounder(task, self._bounder)
        result = answer([task], self._steps, clock, self._seed, bounder=self._bounder)
        return Certificate(index, Verdict(str(result.status)), clock.elapsed, result.statistics.decided_by)


def certify_examples(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    perturbation: Perturbation,
    *,
    timeout: float = math.inf,
    seed: int = 0,
    branching: str = AUTO,
) -> Iterator[Certificate]:
    """Certify each example of a data set, in order.

    Args:
        model: A classifier in evaluation mode that takes batches.
        x: Examples `[N, *S]`.
        y: Right classes `[N]`.
        perturbation: The set around each example; its tensors have one element an example, or none.
        timeout: Seconds for each example.
        seed: Fixes everything that is random.
        branching: Name of a branching heuristic.

    Raises:
        LirpaError: As `Certifier`.
    """
    certifier = Certifier(model, x, y, timeout=timeout, seed=seed, branching=branching)
    for i in range(len(x)):
        yield certifier.certify(i, perturbation)


def _try_out(model: nn.Module, x: Tensor) -> None:
    """Run the model on one example and on two, which is what a wrong shape or a fixed batch size shows first.

    Raises:
        InputError: With the shape, what the model said, and what to do.
    """
    for batch in (x[:1], x[:1].expand(2, *x.shape[1:])):
        try:
            model(batch)
        except (AssertionError, RuntimeError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"certify: the model fails on inputs of shape {list(batch.shape)}: {reason} Give examples of the shape "
                "that the model takes, and export it with the batch size left open (torch.export.Dim.AUTO)."
            ) from error
