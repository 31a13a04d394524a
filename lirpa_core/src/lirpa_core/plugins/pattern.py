"""What a pattern is: a way of writing a function, and the operators that compute the same and have tight rules."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from torch import Tensor

from lirpa_core.errors import PluginError

#: What a pattern may stand for, by the annotation of a parameter: any tensor, one dimension, several, a number.
KINDS = (Tensor, int, tuple[int, ...], float)


@dataclass(frozen=True, eq=False)
class Pattern:
    """Two PyTorch functions that are the same function of real numbers, the one as people write it, the other as it is bounded best.

    Both have the same parameters, each annotated with what it stands for: `Tensor`, `int` (a dimension, which is given as a
    negative number), `tuple[int, ...]` (dimensions), or `float` (a number in the code).

    Attributes:
        name: By which it is listed.
        written: What is looked for: arithmetic, functions of torch and operators, no branches. Reductions keep their dimensions.
        becomes: What takes its place; it may look at the shapes of its tensors.
        when: Of the same parameters, whether `becomes` is the same function, where that hangs on shapes, types or numbers.
        as_executed: Whether both also round in the same way.
    """

    name: str
    written: Callable[..., Tensor]
    becomes: Callable[..., Tensor]
    when: Callable[..., bool] | None = None
    as_executed: bool = False

    def parameters(self) -> Mapping[str, Any]:
        """What each parameter stands for, one of `KINDS`.

        Raises:
            PluginError: If the functions are not of that form.
        """
        found = parameters_of(self.written)
        for other in (self.becomes, self.when):
            if other is not None and list(inspect.signature(other).parameters) != list(found):
                raise PluginError(
                    f"{other.__qualname__}{inspect.signature(other)} has to have the parameters of "
                    f"{self.written.__qualname__}, which are {', '.join(found)}"
                )
        return found


def parameters_of(written: Callable[..., Tensor]) -> Mapping[str, Any]:
    """The kind of each parameter of a function.

    Raises:
        PluginError: If a parameter has no annotation, or another one.
    """
    hints = get_type_hints(written)
    found = {name: hints.get(name) for name in inspect.signature(written).parameters}
    for name, kind in found.items():
        if kind not in KINDS:
            raise PluginError(
                f"parameter '{name}' of {written.__qualname__} is annotated {kind!r}; expected Tensor, int (a dimension), "
                "tuple[int, ...] (dimensions) or float (a number)"
            )
    if Tensor not in found.values():
        raise PluginError(f"{written.__qualname__} takes no tensor; annotate one parameter as Tensor")
    return found
