"""What came out of one item: plain data, so that it travels between processes and into files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

#: `(plugin, kind, subject, case)`.
Key: TypeAlias = tuple[str, str, str, str]


@dataclass(frozen=True)
class ModeResult:
    """One mode of a rule, or one method on a model.

    Attributes:
        mode: Which, such as `"interval"`.
        tightest: Smallest mean gap between the bounds, relative to the scale of the values.
        loosest: Largest mean gap.
    """

    mode: str
    tightest: float
    loosest: float


@dataclass(frozen=True)
class Failure:
    """A promise that does not hold.

    Attributes:
        mode: The mode concerned; empty where it is all of them.
        check: Name of the promise.
        message: Everything needed to see it again: operator, shapes, the box, the offending value.
    """

    mode: str
    check: str
    message: str


@dataclass(frozen=True)
class Outcome:
    """What came out of one item.

    Attributes:
        plugin: Who registers what was checked.
        kind: `"rule"`, `"kernel"`, `"structure"`, `"perturbation"`, `"model"`, `"fusion"`, `"method"` or
            `"pattern"`.
        subject: What was checked, such as an operator.
        case: Name of the case; empty where there is none.
        examples: How many boxes (points, linear forms) were tried.
        proved: Elements of boxes on which everything is proved.
        sampled: Elements on which it is not refuted.
        refused: Boxes outside of the operator's domain.
        overflowed: Boxes on which the operator itself is not finite.
        modes: A result for each mode.
        failure: What is wrong, if anything is.
        seconds: CPU time that it took.
    """

    plugin: str
    kind: str
    subject: str
    case: str
    examples: int = 0
    proved: int = 0
    sampled: int = 0
    refused: int = 0
    overflowed: int = 0
    modes: tuple[ModeResult, ...] = ()
    failure: Failure | None = None
    seconds: float = 0.0

    @property
    def key(self) -> Key:
        """What tells it from others."""
        return self.plugin, self.kind, self.subject, self.case

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Outcome:
        """From JSON."""
        failure = data["failure"]
        modes = tuple(ModeResult(**mode) for mode in data["modes"])
        return cls(**{**data, "modes": modes, "failure": None if failure is None else Failure(**failure)})
