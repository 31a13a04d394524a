"""What a registry is made of: small frozen records."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from lirpa_core.bounds.linear_map.base import Kernel, LinearMap
from lirpa_core.capture.graph import Node
from lirpa_core.registry.resolve import Operator
from lirpa_core.rules.base import Rule

#: `(node, nodes before it by name) -> the node that computes the same`, or None to leave it.
Fusion: TypeAlias = Callable[[Node, Mapping[str, Node]], Node | None]

K = TypeVar("K", bound=Hashable)
E = TypeVar("E")


class PluginWarning(UserWarning):
    """A plugin was left out, or could not be disabled because it is not there."""


@dataclass(frozen=True)
class PluginInfo:
    """Who a plugin is.

    Attributes:
        name: Its name: that of the entry point, or the one under which it was passed in.
        version: Version of its distribution, where known.
        distribution: Distribution that it came with; None for an object passed in.
        source: The entry point's value, or the module or type of an object passed in.
        api_version: `LIRPA_API_VERSION` as the plugin states it; None where it was not loaded.
    """

    name: str
    version: str | None = None
    distribution: str | None = None
    source: str = ""
    api_version: int | None = None

    def __str__(self) -> str:
        return f"'{self.name}'" + (f" ({self.distribution})" if self.distribution else "")


@dataclass(frozen=True)
class PluginFailure:
    """Why a plugin is not in the registry.

    Attributes:
        name: The plugin's name.
        distribution: Distribution that it came with, where known.
        stage: What failed: `"import"`, `"api version"` or `"register"`.
        error: The error in words, with the place in the plugin's own code where there is one.
        version: Version of the distribution, where known.
    """

    name: str
    distribution: str | None
    stage: str
    error: str
    version: str | None = None

    @property
    def message(self) -> str:
        """One line for a human."""
        origin = f" of distribution '{self.distribution}'" if self.distribution else ""
        return f"plugin '{self.name}'{origin} was not loaded, it failed at stage '{self.stage}': {self.error}"


@dataclass(frozen=True, eq=False)
class OperatorEntry:
    """The rule of an operator, and the name of the plugin that it came with."""

    op: Operator
    rule: Rule
    plugin: str


@dataclass(frozen=True, eq=False)
class DecompositionEntry:
    """How an operator falls apart where it has no rule, and the plugin that said so."""

    op: Operator
    function: Callable[..., Any]
    plugin: str


@dataclass(frozen=True, eq=False)
class FusionEntry:
    """How an operator and what it reads become one operator, and the plugin that said so."""

    op: Operator
    function: Fusion
    plugin: str


@dataclass(frozen=True, eq=False)
class KernelEntry:
    """How coefficients of one structure are pulled through one operator, and whose kernel it is."""

    op_key: Any
    structure: type[LinearMap]
    kernel: Kernel
    plugin: str


@dataclass(frozen=True, eq=False)
class PerturbationEntry:
    """A perturbation under its public name, and the plugin that it came with."""

    name: str
    cls: type[Any]
    plugin: str


@dataclass(frozen=True, eq=False)
class Claim(Generic[K, E]):
    """One registration: `entry` wants to be what is found under `key`."""

    key: K
    entry: E
    override: bool = False


@dataclass(frozen=True, eq=False)
class Contribution:
    """Everything that one plugin registered.

    Attributes:
        plugin: Who registered.
        layer: Claims of a higher layer replace those below without being asked; plugins are
            layer zero, rules given for one model lie above.
    """

    plugin: PluginInfo
    operators: tuple[Claim[Operator, OperatorEntry], ...] = ()
    decompositions: tuple[Claim[Operator, DecompositionEntry], ...] = ()
    fusions: tuple[Claim[Operator, FusionEntry], ...] = ()
    kernels: tuple[Claim[tuple[Any, type[LinearMap]], KernelEntry], ...] = ()
    perturbations: tuple[Claim[str, PerturbationEntry], ...] = ()
    layer: int = 0
