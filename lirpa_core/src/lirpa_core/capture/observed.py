"""Which operators run, with what, and whether they run again: two programs that both look like one are told apart by what they do.

Numbers at one example say little of a branch that the example does not take, or of a limit that it does not reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode  # documented, though its module is not public


@dataclass(frozen=True)
class OperatorRun:
    """One operator that ran.

    Attributes:
        target: The operator.
        given: Its arguments; of tensors the shape and the type.
        result: What it gave.
    """

    target: Any
    given: object
    result: Any

    @classmethod
    def of(cls, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> OperatorRun:
        """Run an operator."""
        given = (_described(args), {name: _described(value) for name, value in kwargs.items()})
        return cls(target, given, target(*args, **kwargs))

    def same(self, other: OperatorRun) -> bool:
        """Whether two runs are of one operator, with the same arguments and the same numbers out."""
        return (
            self.target is other.target
            and self.given == other.given
            and same_numbers(self.result, other.result)
        )


class Observed(TorchDispatchMode):
    """Keeps what runs while it is open.

    Attributes:
        runs: The operators, in order.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.runs: list[OperatorRun] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # a mode is hidden from the compiler by importing it; nothing is compiled here

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        run = OperatorRun.of(func, args, kwargs or {})
        self.keep(run)
        return run.result

    def keep(self, run: OperatorRun) -> None:
        """Note a run."""
        self.runs.append(run)


class Compared(Observed):
    """Compares what runs while it is open with what ran before; results need not be kept a second time.

    Attributes:
        before: What ran before.
        repeats: Whether all has been the same so far.
    """

    def __init__(self, before: Sequence[OperatorRun]) -> None:
        super().__init__()
        self.before, self.repeats, self._count = before, True, 0

    def keep(self, run: OperatorRun) -> None:
        """Compare a run with the one that was in its place."""
        place, self._count = self._count, self._count + 1
        self.repeats = self.repeats and place < len(self.before) and run.same(self.before[place])

    @property
    def is_same(self) -> bool:
        """Whether the same operators ran, and no fewer."""
        return self.repeats and self._count == len(self.before)


def same_numbers(a: Any, b: Any) -> bool:
    """Whether two results are the same, tensors element by element; NaN equals NaN."""
    if isinstance(a, tuple | list):
        return type(a) is type(b) and len(a) == len(b) and all(map(same_numbers, a, b))
    if not isinstance(a, Tensor):
        return type(a) is type(b) and bool(a == b)
    if not isinstance(b, Tensor) or a.shape != b.shape or a.dtype != b.dtype:
        return False
    return torch.equal(a, b) or torch.allclose(a, b, rtol=0.0, atol=0.0, equal_nan=True)


def _described(value: Any) -> object:
    """An argument, with the shape and the type of each tensor in its place."""
    if isinstance(value, Tensor):
        return value.shape, value.dtype
    return [_described(v) for v in value] if isinstance(value, list | tuple) else value


__all__ = ["Compared", "Observed", "OperatorRun", "same_numbers"]
