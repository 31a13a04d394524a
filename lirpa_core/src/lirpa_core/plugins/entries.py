"""What a registry is made of: small frozen records."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from lirpa_core.errors import PluginError
from lirpa_core.graph import Node
from lirpa_core.linear.coefficients.base import Coefficients, Kernel
from lirpa_core.methods.base import Method
from lirpa_core.plugins.operator_names import Operator
from lirpa_core.plugins.pattern import Pattern
from lirpa_core.plugins.reader import Reader
from lirpa_core.rules.allowances import Allowance
from lirpa_core.rules.base import Rule
from lirpa_core.rules.leaf_modules import LeafModule, LeafModuleKey

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


#: Makes the rule for one module from the module.
RuleFactory: TypeAlias = Callable[[Any], Rule | None]


@dataclass(frozen=True, eq=False)
class LeafModuleEntry:
    """The rule of a class of modules or of a function, and the plugin that it came with.

    Attributes:
        key: The class, or the function.
        rule: The rule, or (for a class) a function that makes it from the module; the latter may return
            None for a module that is better taken apart.
        plugin: Name of the plugin.
    """

    key: LeafModuleKey
    rule: Rule | RuleFactory
    plugin: str

    def rule_of(self, whole: LeafModule) -> Rule | None:
        """The rule for one module, or for the function.

        Raises:
            PluginError: What makes the rule returned something else.
        """
        if isinstance(self.rule, Rule):
            return self.rule
        made: object = self.rule(whole.module)
        if made is not None and not isinstance(made, Rule):
            raise PluginError(
                f"plugin '{self.plugin}', {whole}: expected a rule (or None) for it, got {made!r} of type "
                f"{type(made).__qualname__}, which is no subclass of lirpa_core.rules.Rule"
            )
        return made


@dataclass(frozen=True, eq=False)
class DecompositionEntry:
    """How an operator falls apart where it has no rule, and the plugin that said so."""

    op: Operator
    function: Callable[..., Any]
    plugin: str


@dataclass(frozen=True, eq=False)
class AllowanceEntry:
    """What an operator's kernel may be off by in the model's own type, and the plugin that said so."""

    op: Operator
    allowance: Allowance
    plugin: str


@dataclass(frozen=True, eq=False)
class FusionEntry:
    """How an operator and what it reads become one operator, and the plugin that said so."""

    op: Operator
    function: Fusion
    plugin: str


@dataclass(frozen=True, eq=False)
class KernelEntry:
    """How coefficients of one structure go through one operator backward, and whose kernel it is.

    Attributes:
        form: The word by which an option leaves the kernel out, such as `"patches"`; None: always used.
    """

    op_key: Any
    structure: type[Coefficients]
    kernel: Kernel
    plugin: str
    form: str | None = None


@dataclass(frozen=True, eq=False)
class PerturbationEntry:
    """A perturbation under its public name, and the plugin that it came with."""

    name: str
    cls: type[Any]
    plugin: str


@dataclass(frozen=True, eq=False)
class MethodEntry:
    """A method, and the plugin that it came with."""

    method: Method
    plugin: str


@dataclass(frozen=True, eq=False)
class ReaderEntry:
    """A reader, and the plugin that it came with."""

    reader: Reader
    plugin: str


@dataclass(frozen=True, eq=False)
class PatternEntry:
    """A pattern, and the plugin that it came with."""

    pattern: Pattern
    plugin: str


@dataclass(frozen=True, eq=False)
class Registration(Generic[K, E]):
    """One registration: `entry` wants to be what is found under `key`."""

    key: K
    entry: E
    override: bool = False


@dataclass(frozen=True, eq=False)
class Contribution:
    """Everything that one plugin registered.

    Attributes:
        plugin: Who registered.
        conformance: Declares the cases that its rules are tried on, if it has any; called as `hook(cases=...)`.
        layer: Claims of a higher layer replace those below without being asked; plugins are
            layer zero, rules given for one model lie above.
    """

    plugin: PluginInfo
    operators: tuple[Registration[Operator, OperatorEntry], ...] = ()
    leaf_modules: tuple[Registration[Any, LeafModuleEntry], ...] = ()
    decompositions: tuple[Registration[Operator, DecompositionEntry], ...] = ()
    as_executed: tuple[Registration[Operator, DecompositionEntry], ...] = ()
    allowances: tuple[Registration[Operator, AllowanceEntry], ...] = ()
    fusions: tuple[Registration[Operator, FusionEntry], ...] = ()
    kernels: tuple[Registration[tuple[Any, type[Coefficients]], KernelEntry], ...] = ()
    perturbations: tuple[Registration[str, PerturbationEntry], ...] = ()
    methods: tuple[Registration[str, MethodEntry], ...] = ()
    readers: tuple[Registration[str, ReaderEntry], ...] = ()
    patterns: tuple[Registration[str, PatternEntry], ...] = ()
    conformance: Callable[..., Any] | None = None
    layer: int = 0
