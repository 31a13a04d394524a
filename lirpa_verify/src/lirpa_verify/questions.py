"""Questions and how they are answered: `verify` for modules, `verify_files` for files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from lirpa_core import Perturbation
from lirpa_verify.answers import Result, Statistics, Status
from lirpa_verify.bounding import Bounder
from lirpa_verify.clock import Clock
from lirpa_verify.errors import PropertyError
from lirpa_verify.ladder.climb import StepRecord, climb
from lirpa_verify.ladder.progress import Progress
from lirpa_verify.ladder.standard import AUTO, standard_ladder
from lirpa_verify.ladder.steps import Context, Report, State, Step, silent
from lirpa_verify.network import from_module
from lirpa_verify.properties.property import Specification
from lirpa_verify.region import Region
from lirpa_verify.task import Task


def verify(
    model: nn.Module,
    x: Tensor | Sequence[Tensor],
    perturbation: Perturbation | None = None,
    specification: Specification | None = None,
    *,
    timeout: float = math.inf,
    seed: int = 0,
    branching: str = AUTO,
    ladder: Sequence[Step] | None = None,
    report: Report = silent,
) -> Result:
    """Prove or refute that a network has a property for all inputs of a set.

    Args:
        model: The network, in evaluation mode; it takes batches.
        x: One example, `[1, *S]`, or a sequence with one for each input; `BoundedTensor`s carry their own set.
        perturbation: The set around every input that carries none.
        specification: What must hold, such as `robust(label)`.
        timeout: Seconds after which the answer is *unknown*; looked at between computations.
        seed: Fixes everything that is random.
        branching: Name of a branching heuristic; `"auto"`: the one that fits.
        ladder: Steps to climb instead of the standard ones.
        report: Told how a search stands.

    Returns:
        The answer. It is about real arithmetic, but a counterexample has been confirmed by `model` itself.

    Raises:
        LirpaError: Of the class that fits: a property that the network does not fit, a network in training mode or
            with weights that are not finite, an operator without a rule.

    Example:
        >>> import torch
        >>> from lirpa_core import PerturbationLpNorm
        >>> from lirpa_verify import robust, verify
        >>> model = torch.nn.Linear(2, 2).eval()
        >>> _ = model.weight.data.copy_(torch.eye(2)), model.bias.data.zero_()
        >>> x = torch.tensor([[1.0, 0.0]])
        >>> verify(model, x, PerturbationLpNorm(eps=0.4), robust(0)).status
        <Status.PROVED: 'proved'>
        >>> verify(model, x, PerturbationLpNorm(eps=0.6), robust(0)).status
        <Status.REFUTED: 'refuted'>
    """
    if specification is None:
        raise PropertyError(
            "verify: no property is given; pass robust(label), output_in_box(…), … or a Property"
        )
    clock = Clock(timeout)
    inputs = (x,) if isinstance(x, Tensor) else tuple(x)
    region = Region.around(inputs, perturbation)
    with torch.no_grad():
        plain = [t.as_subclass(Tensor) for t in inputs]
        network = from_module(model, plain)
    task = Task.of(network, region, specification.property_for(network.outputs))
    steps = standard_ladder(branching) if ladder is None else tuple(ladder)
    return answer([task], steps, clock, seed, report)


def verify_files(
    network: str | Path,
    query: str | Path,
    *,
    timeout: float = math.inf,
    seed: int = 0,
    branching: str = AUTO,
    report: Report = silent,
) -> Result:
    """Prove or refute the property of a VNN-LIB file for the network of an ONNX file.

    The file describes what must not happen: *refuted* means that an input leads there ("sat"), *proved* that
    none does ("unsat").

    Args:
        network: `.onnx`, or gzipped.
        query: `.vnnlib`, version 1.0 or 2.0, or gzipped.
        timeout: Seconds after which the answer is *unknown*; looked at between computations.
        seed: Fixes everything that is random.
        branching: Name of a branching heuristic; `"auto"`: the one that fits.
        report: Told how a search stands.

    Raises:
        LirpaError: Of the class that fits: `PropertyError`, `NetworkError`, `OptionError`, or one of the core's.
    """
    from lirpa_verify.onnx import load_onnx
    from lirpa_verify.vnnlib import read_vnnlib

    clock = Clock(timeout)
    steps = standard_ladder(branching)
    asked = read_vnnlib(query)
    loaded = load_onnx(network)
    if asked.outputs > loaded.outputs:
        raise PropertyError(
            f"{query} is about {asked.outputs} outputs, but {network} has {loaded.outputs}; use the network that "
            f"it was written for"
        )
    tasks = [Task.of(loaded, Region.of_box(c.box, loaded.shapes), c.property) for c in asked.cases]
    return answer(tasks, steps, clock, seed, report)


def answer(
    tasks: Sequence[Task],
    steps: Sequence[Step],
    clock: Clock,
    seed: int = 0,
    report: Report = silent,
    bounder: Bounder | None = None,
) -> Result:
    """Prove all tasks, or refute one.

    Where there are several, the first step is taken for all of them before the others, so that a counterexample
    that is easily found in the last one need not wait for a proof of the first.

    Args:
        tasks: The tasks.
        steps: The ladder.
        clock: The time there is.
        seed: Fixes everything that is random.
        report: Told how a search stands.
        bounder: That of the first task, or what has bounded the same network for other tasks, so that it is not
            captured again.
    """
    trace: list[State] = []

    def record(state: State) -> None:
        trace.append(state)
        report(state)

    progress = [Progress.start(task) for task in tasks]
    records: list[StepRecord] = []
    rounds = [steps] if len(tasks) == 1 else [steps[:1], steps[1:]]
    refuted: Progress | None = None
    for part in rounds:
        for i, task in enumerate(tasks):
            if bounder is None or bounder.task is not task:
                bounder = Bounder(task, bounder)
            progress[i], done = climb(progress[i], part, Context(bounder, clock, seed, record))
            records += done
            if progress[i].counterexample is not None:
                refuted = progress[i]
                break
        if refuted is not None:
            break
    if refuted is not None:
        status = Status.REFUTED
    else:
        status = Status.UNKNOWN if any(p.open for p in progress) else Status.PROVED
    statistics = Statistics(clock.elapsed, tuple(records), tuple(trace))
    found = None if refuted is None else refuted.counterexample
    return Result(status, found, tuple(p.margins for p in progress), statistics)
