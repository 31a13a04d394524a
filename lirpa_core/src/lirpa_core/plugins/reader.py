"""What a reader is: it turns something that a user has into a live module, and the live module into graphs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from lirpa_core.graph import Graph
from lirpa_core.progress import Monitor
from lirpa_core.rules.base import Rule


class CaptureRules(Protocol):
    """What capture asks a registry: what stays in one piece, and how everything else falls apart."""

    @property
    def operators(self) -> Mapping[Any, Any]:
        """Operators that have a rule."""

    @property
    def leaf_modules(self) -> Mapping[Any, Any]:
        """Classes of modules and functions that have a rule."""

    @property
    def fusions(self) -> Mapping[Any, Any]:
        """Operators that may become another one together with what they read."""

    @property
    def real(self) -> bool:
        """Whether bounds are about real arithmetic, in which the same computation has the same result."""

    @property
    def patterns(self) -> Mapping[str, Any]:
        """Ways of writing a function, each with what takes its place."""

    def rule_for(self, op: object) -> Rule | None:
        """The rule of an operator, or of a module or function kept in one piece; None where there is none."""

    def decomposition_table(self) -> dict[Any, Callable[..., Any]]:
        """How operators without a rule fall apart."""


@dataclass(frozen=True, eq=False)
class LiveModel:
    """A model that runs, and whose parameters are read at every computation of bounds.

    Attributes:
        module: The module.
        fixed_batch: Whether it takes batches of one only.
        fixed_mode: Whether it cannot be put in training mode.
        monitor: What is told how far its capture is; None: nobody asked.
        straight: Whether it runs the same operators whatever its inputs are, as what is converted from a file does, and its
            code is not worth showing in messages. One run then says what it is, which is several times faster than an export.
    """

    module: nn.Module
    fixed_batch: bool = False
    fixed_mode: bool = False
    monitor: Monitor | None = None
    straight: bool = False


class Reader(ABC):
    """Turns one kind of source into a live module, and the live module into graphs.

    Attributes:
        name: The name by which it is listed.
        summary: What it reads, in one line.
    """

    name: str
    summary: str = ""

    @abstractmethod
    def accepts(self, source: object) -> bool:
        """Whether this reader reads such a source; looks at its type or its file name only."""

    @abstractmethod
    def open(self, source: Any) -> LiveModel:
        """The live model.

        Raises:
            CaptureError: If the source cannot be read; says why and what to do.
        """

    @abstractmethod
    def graph(
        self,
        live: LiveModel,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        registry: CaptureRules,
        batch_dims: Sequence[int | None] | str | None,
    ) -> Graph:
        """The graph of one example of the live model as it is now.

        Args:
            live: From `open`.
            args: Positional example inputs.
            kwargs: Keyword example inputs.
            registry: Which operators have rules, and so stay in one piece.
            batch_dims: See `BoundedModule`.

        Raises:
            CaptureError: If the model cannot be captured as one graph.
        """
