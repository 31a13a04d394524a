"""Terms, each made once: what is equal is the same object."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Symbol:
    """A number that a pattern leaves open, times a number that it does not."""

    name: str
    factor: float = 1.0


#: A number in a term; open only in the term of a pattern.
Scalar: TypeAlias = float | Symbol


@dataclass(frozen=True)
class Dims:
    """Dimensions that a reduction runs over.

    Attributes:
        of: Negative numbers in ascending order, or the parameter of a pattern that stands for them; None: all of them, in a pattern.
        every: Whether they are all that there are.
    """

    of: tuple[int, ...] | str | None
    every: bool = False


class Counted:
    """The dimensions of a sum, and how many terms it has."""

    def __init__(self, dims: Dims, count: int | None) -> None:
        self.dims, self.count = dims, count

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counted) and self.dims == other.dims

    def __hash__(self) -> int:
        return hash(self.dims)


@dataclass(frozen=True, eq=False, repr=False)
class Term:
    """What a node computes.

    Attributes:
        op: `"sum"` and `"product"` (see `algebra`), `"number"`, `"variable"` (of a pattern), `"node"` (of which no more is
            said), `"reshape"`, or the name of an operator.
        operands: The terms that it is made of.
        attributes: Everything else: numbers, dimensions, names.
    """

    op: str
    operands: tuple[Term, ...] = ()
    attributes: Any = None

    def __repr__(self) -> str:
        """Two levels: a term of a deep network has more parts than fit in memory, written out."""
        return self._written(2)

    def _written(self, levels: int) -> str:
        inner = [term._written(levels - 1) if levels else "…" for term in self.operands]
        return (
            f"{self.op}({', '.join([*inner, *([] if self.attributes is None else [str(self.attributes)])])})"
        )


@dataclass(frozen=True, eq=False, repr=False)
class Terms:
    """All terms of one program or pattern."""

    _known: dict[Hashable, Term] = field(default_factory=dict)

    def make(self, op: str, operands: tuple[Term, ...] = (), attributes: Hashable = None) -> Term:
        """The term; the same object for the same arguments."""
        key = (op, tuple([id(t) for t in operands]), attributes, type(attributes))
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Term(op, operands, attributes)
        return found

    def number(self, value: Scalar) -> Term:
        """A number."""
        return self.make("number", (), value if isinstance(value, Symbol) else float(value))
