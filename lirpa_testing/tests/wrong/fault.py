"""What a gallery says about each wrong rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lirpa_core.rules.call import Call


@dataclass(frozen=True)
class Fault:
    """A wrong rule, the call to try it on, and how it must be found out.

    Attributes:
        rule: The rule.
        call: Makes the call.
        checks: Checks that may find it.
        says: What the message must contain, a regular expression.
        options: Of `check_rule`.
    """

    rule: Any
    call: Callable[[], Call]
    checks: tuple[str, ...]
    says: str
    options: dict[str, Any] = field(default_factory=dict)
