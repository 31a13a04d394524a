"""Make a case that fails smaller, and write it as a script."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch

from lirpa_testing.fuzz.balls import Numbers
from lirpa_testing.fuzz.case import Case
from lirpa_testing.fuzz.program import Program, Step
from lirpa_testing.fuzz.sets import SetSpec

#: Attempts at most.
_ATTEMPTS = 150


def shrink(case: Case, fails: Callable[[Case], bool]) -> Case:
    """A smaller case that still fails, by taking away steps, then by simpler numbers.

    Args:
        case: A case that fails.
        fails: Whether a case fails in the same manner.
    """
    left, again = _ATTEMPTS, True
    while again and left > 0:
        again = False
        for smaller in _smaller(case):
            left -= 1
            if left <= 0:
                break
            if fails(smaller):
                case, again = smaller, True
                break
    return case


def _smaller(case: Case) -> Iterator[Case]:
    program, n = case.program, len(case.program.steps)
    if n > 1:
        yield replace(case, program=replace(program, steps=program.steps[:-1]))
    for i in range(n):
        shorter = _without(program, i)
        if shorter is not None:
            yield replace(case, program=shorter)
    if case.own:
        yield replace(case, own=False)
    if case.weight is not None:
        yield replace(case, weight=None)
    for region in case.region.smaller():
        yield replace(case, region=region)
    for i, step in enumerate(program.steps):
        if step.operator == "linear" and len(step.parameters[0]) > 1 and i == n - 1:
            weight, bias = step.parameters
            for k in range(len(bias)):
                row = Step("linear", step.operands, ([weight[k]], [bias[k]]))
                yield replace(case, program=replace(program, steps=(*program.steps[:-1], row)))
        for k, value in enumerate(step.parameters):
            for simpler in _simpler(value):
                parameters = (*step.parameters[:k], simpler, *step.parameters[k + 1 :])
                steps = (*program.steps[:i], replace(step, parameters=parameters), *program.steps[i + 1 :])
                yield replace(case, program=replace(program, steps=steps))
    if isinstance(case.region, SetSpec) and case.region.lower is None:
        for simpler in _simpler(list(case.x)):
            yield replace(case, x=tuple(simpler))


def _without(program: Program, i: int) -> Program | None:
    """The program with each reading of step i replaced by its first operand; None where widths do not fit."""
    first = program.steps[i].operands[0]

    def moved(k: int) -> int:
        return first if k == i + 1 else k - (k > i + 1)

    rest = program.steps[:i] + tuple(
        replace(s, operands=tuple(map(moved, s.operands))) for s in program.steps[i + 1 :]
    )
    shorter = Program(program.width, rest)
    try:
        shorter.widths()
    except ValueError:
        return None
    return shorter if rest else None


def _simpler(value: Numbers) -> Iterator[Numbers]:
    """Zeros, ones, and numbers of fewer digits, one array at a time."""
    for f in (lambda _: 0.0, lambda _: 1.0, lambda v: float(round(v, 1)), lambda v: float(f"{v:.1g}")):
        simpler = _map(value, f)
        if simpler != value and _size(simpler) <= _size(value):
            yield torch.tensor(simpler, dtype=torch.float32).double().tolist()


def _map(value: Numbers, f: Callable[[float], float]) -> Numbers:
    return [_map(v, f) for v in value] if isinstance(value, list) else f(value)


def _size(value: Numbers) -> int:
    return sum(map(_size, value)) if isinstance(value, list) else len(repr(value))


def fewest(cases: Sequence[Case], fails: Callable[[Sequence[Case]], bool]) -> list[Case]:
    """Few cases of a group that fail together, by taking away halves, quarters, and so on.

    Args:
        cases: A group that fails.
        fails: Whether some of it fail in the same manner.
    """
    left, size = list(cases), len(cases) // 2
    while size:
        start = 0
        while start < len(left) and len(left) > size:
            fewer = left[:start] + left[start + size :]
            if fails(fewer):
                left = fewer
            else:
                start += size
        size //= 2
    return left


def script(cases: Sequence[Case], method: str, detail: str) -> str:
    """A script that shows what fails.

    Args:
        cases: The cases; of most findings one.
        method: The method's name.
        detail: What was found; goes into a comment.
    """
    case = cases[0]
    dtype = f"torch.{case.dtype}"
    texts = "".join(f'    Case.from_json(r"""{each.to_json()}"""),\n' for each in cases)
    sets = f"ptb = {case.region.source(dtype)}  # of the first\n"
    return f'''"""{detail}"""
import torch
from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_testing.fuzz.case import Case, batch, parameters, perturbation
from lirpa_testing.fuzz.check import check_group
from lirpa_testing.fuzz.methods import method_of
from lirpa_testing.fuzz.plugin_sets import PluginSet


{case.program.source(case.torch_dtype, own=case.own)}

cases = [
{texts}]
x, ptb = batch(cases, {dtype}), perturbation(cases, {dtype})
{sets if len(cases) == 1 else ""}own = parameters(cases, {dtype}) if cases[0].own else []
bounded = BoundedModule(cases[0].model({dtype}), (x[:1], *[p[:1] for p in own]), {{"optimize_bound_args": {{"iteration": 2}}}})
method = method_of({method!r})
print(bounded.compute_bounds(x=(BoundedTensor(x, ptb), *own), method=method))

print(check_group(cases, [method]))
'''
