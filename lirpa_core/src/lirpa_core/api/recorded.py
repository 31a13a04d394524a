"""Bounds of one kind, computed again and again: `BoundedModule.compiled`."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lirpa_core.api.bound_call import BoundCall, Question
from lirpa_core.api.outputs import structured
from lirpa_core.api.recording import BACKENDS, Backend, Function, record, runner
from lirpa_core.api.results import BoundsResult
from lirpa_core.devices import full_precision
from lirpa_core.errors import OptionError
from lirpa_core.graph import Graph
from lirpa_core.perturbations.base import Perturbation
from lirpa_core.problem.binding import read_inputs, validate_sets
from lirpa_core.problem.inputs import PerturbedInput, joint_inputs

#: Recordings kept, for other shapes and other numbers that are no tensors.
_KEPT = 8


class RecordedBounds(NamedTuple):
    """Bounds from a recording.

    Attributes:
        lower: As `BoundsResult.lower`.
        upper: As `BoundsResult.upper`.
    """

    lower: Any
    upper: Any


@dataclass(frozen=True, eq=False)
class _Recording:
    """One computation for inputs of one kind.

    Attributes:
        run: From the inputs' tensors to bounds in their order, and two flags `[2]`: whether they are in doubt, and whether
            a weight is no longer what it was.
        sides: Which of the bounds each output has: `(number, "lower" or "upper")`.
        holds: What the key refers to by its identity.
    """

    run: Function
    sides: tuple[tuple[int, str], ...]
    holds: Any


@dataclass(eq=False)
class Compiled:
    """Bounds of one method, recorded at the first call for inputs of a kind, replayed at every other one.

    Made by `BoundedModule.compiled`. Bounds are those of `compute_bounds`, up to rounding, without gradients. A change of
    the model's weights or structure, other shapes, and another number in a set that is no tensor (`eps=0.1`; give
    `eps=torch.tensor(0.1)` if it varies) are noticed, and recorded anew. Weights are compared with what they were, number
    for number, because PyTorch does not count all changes (`weight.data.mul_(2)`).

    Attributes:
        question: What is asked, with the model's options and rules as they are now.
        eager: The ordinary computation, for what a recording leaves open.
        backend: How recordings are run.
    """

    question: Callable[[], Question]
    eager: Callable[[Any, Mapping[str, Any] | None], BoundsResult]
    backend: Backend
    _known: dict[object, tuple[BoundCall, _Recording]] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(
        cls,
        question: Callable[[], Question],
        eager: Callable[[Any, Mapping[str, Any] | None], BoundsResult],
        backend: Backend,
    ) -> Compiled:
        """Nothing recorded yet.

        Raises:
            OptionError: For an unknown backend, or a method that searches slopes.
        """
        if backend not in BACKENDS:
            raise OptionError(f"backend={backend!r}: expected one of {', '.join(map(repr, BACKENDS))}.")
        method = question().method
        if method.optimises_slopes:
            raise OptionError(
                f"compiled(method={method.name!r}): a search decides by values and cannot be recorded; use compute_bounds."
            )
        return cls(question, eager, backend)

    def __call__(self, x: Any, *, kwargs: Mapping[str, Any] | None = None) -> RecordedBounds:
        """Guaranteed bounds of the output.

        Args:
            x: Positional inputs, as for `compute_bounds`.
            kwargs: Keyword inputs.

        Raises:
            LirpaError: As `compute_bounds`.
            OptionError: If something on the way is decided by values, so that the computation cannot be recorded.
        """
        with torch.inference_mode(False), torch.no_grad(), full_precision():
            return self._bounds(x, kwargs)

    def _bounds(self, x: Any, kwargs: Mapping[str, Any] | None) -> RecordedBounds:
        question = self.question()
        inputs = question.captured.flatten(x, kwargs)
        graph = question.graph(inputs)
        members, _ = read_inputs(graph, inputs)
        key, holds = _key(question, graph, inputs, members)
        known = self._known.get(key)
        if known is None:
            call = _call(question, graph, inputs)
            found = self.eager(x, kwargs)  # with all checks, and their errors
            self._known[key] = call, self._record(call, holds)
            if len(self._known) > _KEPT:
                self._known.pop(next(iter(self._known)))
            return RecordedBounds(found.lower, found.upper)
        call, recording = known
        question.captured.refuse_autocast(inputs)
        joint = joint_inputs(members)
        validate_sets(graph, members, joint)
        *bounds, flags = recording.run(*_tensors(members))
        doubt, stale = flags.tolist()
        if doubt and not stale:  # the ordinary way says what is wrong, or knows better
            found = self.eager(x, kwargs)
            return RecordedBounds(found.lower, found.upper)
        if stale:
            del self._known[key]
            return self._bounds(x, kwargs)
        by_side: dict[str, dict[int, Tensor]] = {"lower": {}, "upper": {}}
        for (number, side), value in zip(recording.sides, bounds, strict=True):
            by_side[side][number] = value
        lower, upper = by_side.values()
        given = dataclasses.replace(call.problem, inputs=members, joint=joint)
        now = dataclasses.replace(call, inputs=inputs, problem=given)
        now.watch({number: (lower.get(number), upper.get(number)) for number, _ in recording.sides})
        sides = [structured(ends, graph, question.output) if ends else None for ends in (lower, upper)]
        return RecordedBounds(*sides)

    def _record(self, call: BoundCall, holds: tuple[list[Tensor], Any]) -> _Recording:
        problem, computation = call.problem, call.computation()
        weights = [name for name in problem.inputs if name not in problem.graph.inputs]
        if weights:
            raise OptionError(
                f"compiled(): parameter '{problem.graph[weights[0]].path}' is perturbed, and sets of weights cannot be recorded; "
                "use compute_bounds."
            )
        live = [t.detach() for t in holds[0]]
        copies = [t.clone() for t in live]
        sides: list[tuple[int, str]] = []

        def bounds(*arguments: Tensor) -> tuple[Tensor, ...]:
            tensors, present = arguments[:count], arguments[count:]
            members = _replaced(problem.inputs, tensors)
            given = dataclasses.replace(problem, inputs=members, joint=joint_inputs(members))
            computed = computation.run(given)
            values: list[Tensor] = []
            sides.clear()
            for number, ends in computed.found.items():
                for side, value in zip(("lower", "upper"), ends, strict=True):
                    if value is not None and (computation.lower if side == "lower" else computation.upper):
                        sides.append((number, side))
                        values.append(value)
            doubt = torch.stack([v.isnan().any() for v in values]).any()  # what is refused is not a number
            changed = [_differ(a, b) for a, b in zip(present, copies, strict=True)]
            stale = torch.stack(changed).any() if changed else torch.zeros_like(doubt)
            return (*values, torch.stack([doubt, stale]))

        tensors = [t.clone() for t in _tensors(problem.inputs)]
        count = len(tensors)
        module = record(bounds, tensors, live)
        return _Recording(runner(module, tensors, self.backend), tuple(sides), (holds, problem))


def _call(question: Question, graph: Graph, inputs: Sequence[Any]) -> BoundCall:
    """What is recorded.

    Raises:
        OptionError: The model is in training mode.
    """
    if question.captured.takes_state(graph):
        raise OptionError("compiled() is for models in evaluation mode; call model.eval().")
    return question.of(inputs, graph)


def _key(
    question: Question, graph: Graph, inputs: Sequence[Any], members: Mapping[str, PerturbedInput]
) -> tuple[object, tuple[list[Tensor], Any]]:
    """What a recording depends on besides the numbers that it is given, and objects to keep for it.

    Graph, options and rules count by their identity: others take their place when something changes.
    """
    module = question.captured.live.module
    fixed = () if question.C is None else (question.C,)  # it may change in place
    leaves = [*module.parameters(), *module.buffers(), *graph.constants.values(), *fixed]
    kinds: list[object] = [
        (name, _kind(m.x), _described(m.perturbation), m.batch_dim) for name, m in members.items()
    ]
    given: list[object] = [graph, question.options, question.registry]
    for value in inputs:
        if not isinstance(value, Tensor):
            given.append(value)
        elif not getattr(value, "has_set", False):
            leaves.append(value)
    places = tuple([(id(t), t.data_ptr()) for t in leaves])
    return (places, tuple(kinds), tuple([id(o) for o in given])), (leaves, given)


def _differ(a: Tensor, b: Tensor) -> Tensor:
    """Whether two tensors differ somewhere, `[]`; what is not a number is equal to the same."""
    apart = a != b
    if a.is_floating_point():
        apart = apart & ~(a.isnan() & b.isnan())
    return apart.any()


def _kind(x: Tensor) -> tuple[object, ...]:
    return tuple(x.shape), x.dtype, x.device


def _described(value: Any) -> object:
    """A part of a set as part of a key: tensors by their kind, numbers and words as they are, sets by what they hold.

    Raises:
        OptionError: For anything else, of which nobody could tell whether it has changed.
    """
    if isinstance(value, Tensor):
        return _kind(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return type(value).__name__, repr(value)  # 0.0 equals -0.0
    if type(value) in (tuple, list):
        return type(value).__name__, tuple([_described(v) for v in value])
    if type(value) is dict:
        return "dict", tuple([(repr(k), _described(v)) for k, v in value.items()])
    if isinstance(value, Perturbation):
        return type(value), tuple([(k, _described(v)) for k, v in sorted(vars(value).items())])
    raise OptionError(
        f"compiled(): a set holds a {type(value).__qualname__}, of which a recording could not tell whether it has changed; "
        "use compute_bounds."
    )


def _tensors(members: Mapping[str, PerturbedInput]) -> list[Tensor]:
    """The tensors of perturbed inputs, those of their sets included, in an order."""
    found: list[Tensor] = []

    def note(t: Tensor) -> Tensor:
        found.append(t.detach())
        return t

    for member in members.values():
        note(member.x)
        _mapped(member.perturbation, note)
    return found


def _replaced(members: Mapping[str, PerturbedInput], tensors: Sequence[Tensor]) -> dict[str, PerturbedInput]:
    """The same perturbed inputs with other tensors, in the order of `_tensors`."""
    left = iter(tensors)
    return {
        name: dataclasses.replace(
            member, x=next(left), perturbation=_mapped(member.perturbation, lambda _: next(left))
        )
        for name, member in members.items()
    }


def _mapped(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """A value with other tensors in it: a set is copied as it is, since its constructor would look at their values."""
    if isinstance(value, Tensor):
        return function(value)
    if type(value) in (tuple, list):
        return type(value)([_mapped(v, function) for v in value])
    if type(value) is dict:
        return {k: _mapped(v, function) for k, v in value.items()}
    if isinstance(value, Perturbation):
        found = copy.copy(value)
        for name, old in sorted(vars(value).items()):
            object.__setattr__(found, name, _mapped(old, function))
        return found
    return value
