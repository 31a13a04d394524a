"""A problem whose rows several processes share, after they have made sure that it is the same problem in all of them."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from lirpa_core.api.computation import Computation
from lirpa_core.devices import Processes, fingerprint, refuse_gradient
from lirpa_core.errors import OptionError
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
    asked = f"{method!r} of {[node.name for node in computation.nodes.values()]}, {sides}, {computation.memory_budget}"
    processes.agree(f"{asked}, with values {fingerprint([*values, *_ends(problem)]):x}")
    return dataclasses.replace(problem, processes=processes)


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
