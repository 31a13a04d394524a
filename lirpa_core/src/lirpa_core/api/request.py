"""What one call of `compute_bounds` asks for, validated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lirpa_core.api.outputs import OutputName
from lirpa_core.errors import OptionError
from lirpa_core.methods.methods import Method, find_method


@dataclass(frozen=True, eq=False)
class Request:
    """The arguments of `BoundedModule.compute_bounds` besides the inputs.

    Raises:
        OptionError: If nothing is asked for, or linear bounds of a method that has none.
    """

    method: Method
    C: Tensor | None = None
    lower: bool = True
    upper: bool = True
    return_A: bool = False
    needed_A_dict: Mapping[str, Sequence[str] | set[str]] | None = None
    interm_bounds: Mapping[str, Any] | None = None
    output: OutputName = None

    def __post_init__(self) -> None:
        if not (self.lower or self.upper):
            raise OptionError("bound_lower and bound_upper are both False, so there is nothing to compute.")
        if self.return_A and self.method.final in ("interval", "optimized"):
            raise OptionError(
                f"return_A=True: method {self.method.name!r} returns no linear bounds; use another method."
            )


def requested_method(method: str | None, *, IBP: bool = False, forward: bool = False) -> Method:
    """The method that a name and the two flags of the reference system mean together.

    There, `IBP=True` and `forward=True` choose how inner nodes are bounded, and `method=None` means
    that the output is bounded the same way.

    >>> requested_method(None, IBP=True).name
    'IBP'
    >>> requested_method("backward", IBP=True).name
    'CROWN-IBP'

    Raises:
        OptionError: For an unknown method, both flags, or no method at all.
    """
    if IBP and forward:
        raise OptionError("IBP=True and forward=True: inner nodes are bounded one way; choose one of them.")
    inner = "IBP" if IBP else "forward" if forward else None
    if method is None:
        if inner is None:
            raise OptionError("method=None: name a method, such as method='CROWN'.")
        return find_method(inner)
    found = find_method(method)
    if inner is None or found.name in (inner, f"CROWN-{inner}"):
        return found
    if found.name != "CROWN":
        raise OptionError(f"{inner}=True does not go with method={method!r}; give the method alone.")
    return find_method(f"{inner}+backward")
