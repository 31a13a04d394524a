"""Certified accuracy of a data set: every example a question of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lirpa_core import Perturbation, PerturbationLpNorm
from lirpa_core.errors import InputError
from lirpa_core.plugins import default_registry
from lirpa_verify.answers.accuracy import Certificate, Verdict
from lirpa_verify.bounding import Bounder
from lirpa_verify.clock import Clock
from lirpa_verify.errors import NetworkError
from lirpa_verify.ladder.standard import AUTO, standard_ladder
from lirpa_verify.network import from_module, in_evaluation
from lirpa_verify.properties import robust
from lirpa_verify.questions import answer
from lirpa_verify.region import Region
from lirpa_verify.task import Task

#: Names under which files have inputs and labels.
_INPUTS = ("x", "X", "images", "inputs", "data")
_LABELS = ("y", "Y", "labels", "targets")


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
        LirpaError: As `verify`; `InputError` if labels and examples do not fit.
    """
    if y.shape != x.shape[:1]:
        raise InputError(
            f"certify: {x.shape[0]} examples with labels of shape {list(y.shape)}; give one an example"
        )
    _try_out(model, x)
    network = from_module(model, (x[:1],))
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < network.outputs:
        raise InputError(
            f"certify: labels reach from {int(y.min())} to {int(y.max())}, but the network has {network.outputs} classes"
        )
    steps = standard_ladder(branching)
    bounder: Bounder | None = None
    for i in range(len(x)):
        clock = Clock(timeout)
        label = int(y[i])
        if int(network.original((x[i],)).argmax()) != label:
            yield Certificate(i, Verdict.WRONG, clock.elapsed, None)
            continue
        region = Region.around((x[i : i + 1],), perturbation)
        task = Task.of(network, region, robust(label).property_for(network.outputs))
        bounder = Bounder(task, bounder)
        result = answer([task], steps, clock, seed, bounder=bounder)
        yield Certificate(i, Verdict(str(result.status)), clock.elapsed, result.statistics.decided_by)


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


def load_data(path: str | Path) -> tuple[Tensor, Tensor]:
    """Examples and labels from an `.npz` file.

    Raises:
        InputError: If it cannot be read, or lacks one of them; says which names it has.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, AttributeError) as error:
        raise InputError(f"cannot read the data set {path}: {error}; expected an .npz file") from error
    found = []
    for what, names in (("inputs", _INPUTS), ("labels", _LABELS)):
        name = next((n for n in names if n in arrays), None)
        if name is None:
            raise InputError(
                f"{path} has no {what}: expected one of {', '.join(names)}, found {', '.join(arrays)}"
            )
        found.append(torch.from_numpy(arrays[name]))
    x, y = found
    if not bool(x.isfinite().all()):
        raise InputError(f"{path}: some inputs are NaN or infinite")
    return (x if x.is_floating_point() else x.float()), y.long()


def load_model(path: str | Path) -> nn.Module:
    """A model from a file, in evaluation mode: saved with `torch.export.save`, or whatever an installed reader reads.

    Raises:
        CaptureError: If it cannot be read.
    """
    for entry in default_registry().readers:
        if entry.reader.accepts(path):
            return in_evaluation(entry.reader.open(path).module)
    try:
        program = torch.export.load(path)
    except Exception as error:  # torch raises whatever unpacking raises
        raise NetworkError(
            f"cannot read the model {path}: {error}; expected a file of torch.export.save, or an ONNX file"
        ) from error
    return in_evaluation(program.module())


def around(norm: float, eps: float, low: float | None, high: float | None) -> PerturbationLpNorm:
    """The ball of a norm around each example, cut to the limits of valid inputs."""
    return PerturbationLpNorm(eps=eps, norm=norm, x_L=low, x_U=high)
