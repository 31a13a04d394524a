"""A problem whose rows several processes share, after they have made sure that it is the same problem in all of them."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re

import torch
from torch import Tensor

from lirpa_core.api.computation import Computation
from lirpa_core.devices import Processes, fingerprint, refuse_gradient
from lirpa_core.errors import OptionError
from lirpa_core.linear.coefficients import Coefficients
from lirpa_core.linear.coefficients.dense import DenseCoefficients
from lirpa_core.problem.problem import Problem


def shared_problem(problem: Problem, computation: Computation, processes: Processes) -> Problem:
    """The problem, for methods to share its rows.

    Args:
        problem: The problem.
        computation: What is asked of it.
        processes: Those that share it.

    Raises:
        OptionError: The method chooses by time, which each process would do for itself.
        InputError: A gradient is recorded.
        ProcessesError: The processes have different models, inputs or questions.
    """
    method = computation.method
    if method.takes_time_budget:
        raise OptionError(
            f"method {method.name!r} chooses by the time that things take, which differs between processes; name the "
            "method, such as 'CROWN'."
        )
    values = _values(problem, computation)
    refuse_gradient(*values)
    sides = (computation.lower, computation.upper)
    outputs = [node.name for node in computation.nodes.values()]
    asked = f"{_anywhere(method)} of {outputs}, {sides}, {computation.memory_budget}"
    model = hashlib.sha256(_program(problem).encode()).hexdigest()[:16]
    sets = fingerprint([*_ends(problem), *_extremes(problem)])
    processes.agree(f"{asked}, of model {model} with values {fingerprint(values):x} on sets {sets:x}")
    return dataclasses.replace(problem, processes=processes)


def _anywhere(value: object) -> str:
    """A description that is the same in all processes: without places in memory, and numbers of devices."""
    return re.sub(r" at 0x[0-9a-fA-F]+|, index=\d+(?=\))", "", repr(value))


def _program(problem: Problem) -> str:
    """What the model computes, with all numbers of its code, but for its tensors."""
    lines = [f"{problem.batch} {problem.dtype} {problem.outward} {problem.graph.executed}"]
    for node in problem.graph.nodes:
        what = (
            node.name,
            node.kind.value,
            str(node.target),
            node.arguments,
            node.output,
            node.shape,
            node.dtype,
        )
        lines.append(_anywhere(what))
    return "\n".join(lines)


def _values(problem: Problem, computation: Computation) -> list[Tensor]:
    """All numbers that the bounds follow from, but for those of the sets."""
    given = computation.given or {}
    found = [member.x for member in problem.inputs.values()]
    found += [const.value for const in problem.constants.values()]
    found += [end for interval in given.values() for end in (interval.lower, interval.upper)]
    return found if computation.C is None else [*found, computation.C]


def _ends(problem: Problem) -> list[Tensor]:
    """The ends of the boxes around the sets."""
    return [end for box in problem.hulls().values() for end in (box.lower, box.upper)]


def _extremes(problem: Problem) -> list[Tensor]:
    """The least values of two sums over the sets, which tell sets in the same box apart."""
    rows: dict[str, Coefficients] = {}
    for name in problem.inputs:
        shape = problem.shape(name)
        places = torch.arange(2 * math.prod(shape), device=problem.device)
        weights = (places * 40503 % 1021 - 510).to(problem.dtype) / 1024  # exact in every type
        rows[name] = DenseCoefficients(weights.reshape(2, 1, *shape))
    found = problem.concretize(rows)
    return [] if found is None else [found]
