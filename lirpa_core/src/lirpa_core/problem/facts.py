"""What follows from which operands of a graph are perturbed, whatever their values are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from lirpa_core.graph import Graph
from lirpa_core.linear.rounding import Accuracy
from lirpa_core.problem.inputs import PerturbedInput
from lirpa_core.problem.work import Work, work_of
from lirpa_core.rules.base import Rule
from lirpa_core.rules.call import Call
from lirpa_core.rules.precision import bounds_dtype


@dataclass(frozen=True, eq=False)
class Facts:
    """What follows from which operands are perturbed, whatever their values are.

    Attributes:
        reversed_order: Names of the perturbed operators, the last one first.
        needs_interval: By operator, for each operand whether its relaxation reads the operand's interval.
        users: By perturbed node, the perturbed operators that read it.
        affine_operators: Operators that are affine in their perturbed operands.
        affine: Nodes whose value is an affine function of the perturbed inputs.
        interval_exact: Affine nodes on which interval propagation loses nothing, so that no method does better: the
            inputs whose set is a box, what merely rearranges them, and one linear operator behind that.
        tightened: By operator, the operands whose intervals its rule reads and a method may make better: numbers of the
            slots, and names of the nodes.
        widest: Elements of one example of the largest perturbed node.
        dtypes: Element type of the bounds of each perturbed node: float64 where the node or the inputs are, else float32.
        coarsest: By operator, the type with the largest roundoff among those of the node and its operands: coefficients
            change theirs there.
        accuracy: How accurately the rule of each operator computes.
        free_of_rounding: Affine operators that merely rearrange one type of numbers, each for at most one reader, so that
            coefficients pass them as they are; unless there is a bias.
        charged_operands: By nonlinear operator, the operands whose rounding it accounts for.
        charged_by_users: Affine operators that only nonlinear ones read: the lines of those account for the rounding
            of coefficients at these.
        work: How much work a row over each operator's output is.
    """

    reversed_order: tuple[str, ...]
    needs_interval: Mapping[str, tuple[bool, ...]]
    users: Mapping[str, tuple[str, ...]]
    affine_operators: frozenset[str]
    affine: frozenset[str]
    interval_exact: frozenset[str]
    tightened: Mapping[str, tuple[tuple[int, str], ...]]
    widest: int
    dtypes: Mapping[str, torch.dtype]
    coarsest: Mapping[str, torch.dtype]
    accuracy: Mapping[str, Accuracy]
    free_of_rounding: frozenset[str]
    charged_operands: Mapping[str, tuple[str, ...]]
    charged_by_users: frozenset[str]
    work: Mapping[str, Work]


def facts_of(
    graph: Graph, inputs: Mapping[str, PerturbedInput], calls: Mapping[str, Call], rules: Mapping[str, Rule]
) -> Facts:
    """What follows from which operands of these calls are perturbed."""
    precision = next(iter(inputs.values())).x.dtype
    dtypes = {name: bounds_dtype(graph.by_name[name].dtype, precision) for name in (*inputs, *calls)}
    users: dict[str, list[str]] = {}
    needs: dict[str, tuple[bool, ...]] = {}
    affine_operators, affine = set(), set(inputs)
    source = {name: name for name, member in inputs.items() if member.is_box}
    exact = set(source)
    for name, call in calls.items():
        rule = rules[name]
        needs[name] = rule.needs_interval(call)
        for operand in call.operands:
            users.setdefault(operand, []).append(name)
        if not rule.is_affine(call):
            continue
        affine_operators.add(name)
        if affine.issuperset(call.operands):
            affine.add(name)
        origins = [source.get(o) for o in call.operands]
        # Two operands from one input vary together, which interval arithmetic does not know.
        if None in origins or len(set(origins)) < len(origins):
            continue
        exact.add(name)
        if rule.selects and len(origins) == 1:
            source[name] = str(origins[0])
    accuracy = {name: rules[name].accuracy(call) for name, call in calls.items()}
    charged = frozenset(n for n in affine_operators if n in users and affine_operators.isdisjoint(users[n]))
    free = [
        name
        for name in affine_operators
        if accuracy[name].relative_to == "exact"
        and len(users.get(name, ())) <= 1
        and all([dtypes[o] == dtypes[name] for o in calls[name].operands])
    ]
    return Facts(
        reversed_order=tuple(reversed(list(calls))),
        needs_interval=needs,
        users={name: tuple(readers) for name, readers in users.items()},
        affine_operators=frozenset(affine_operators),
        affine=frozenset(affine),
        interval_exact=frozenset(exact),
        tightened={
            name: tuple(
                [
                    (i, o)
                    for i, o in enumerate(call.operands)
                    if needs[name][i] and o not in exact and o not in inputs
                ]
            )
            for name, call in calls.items()
        },
        widest=max([math.prod(graph.by_name[name].shape) for name in (*calls, *inputs)]),
        dtypes=dtypes,
        coarsest={
            name: _coarsest([dtypes[o] for o in (name, *call.operands)]) for name, call in calls.items()
        },
        accuracy=accuracy,
        free_of_rounding=frozenset(free),
        charged_operands={
            name: tuple([o for o in call.operands if o in charged])
            for name, call in calls.items()
            if name not in affine_operators
        },
        charged_by_users=charged,
        work=work_of(calls, affine_operators, accuracy),
    )


def _coarsest(dtypes: list[torch.dtype]) -> torch.dtype:
    return max(dtypes, key=lambda dtype: torch.finfo(dtype).eps)
