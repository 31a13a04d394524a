"""The frozen result: which rule, decomposition, kernel and perturbation holds, and who brought it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from operator import methodcaller
from types import FunctionType, MappingProxyType, ModuleType
from typing import Any

from lirpa_core.errors import OptionError, PluginError
from lirpa_core.linear.coefficients.base import Coefficients, Kernel
from lirpa_core.methods.base import Method
from lirpa_core.plugins.entries import (
    AllowanceEntry,
    Contribution,
    DecompositionEntry,
    FusionEntry,
    KernelEntry,
    LeafModuleEntry,
    MethodEntry,
    OperatorEntry,
    PatternEntry,
    PerturbationEntry,
    PluginFailure,
    PluginInfo,
    ReaderEntry,
    RuleFactory,
)
from lirpa_core.plugins.loading import Failed, check_names, from_object, load
from lirpa_core.plugins.merge import CORE, merge
from lirpa_core.plugins.operator_names import Operator, resolve_operator
from lirpa_core.plugins.operators import OperatorRegistry
from lirpa_core.rules.allowances import Allowance
from lirpa_core.rules.base import Rule
from lirpa_core.rules.evaluated import operator_name
from lirpa_core.rules.leaf_modules import LeafModule, LeafModuleKey


@dataclass(frozen=True, eq=False)
class _Tables:
    """Plain dicts, because Dynamo does not trace look-ups in a mapping proxy keyed by operators."""

    operators: dict[Operator, OperatorEntry]
    leaf_modules: dict[Any, LeafModuleEntry]
    decompositions: dict[Operator, DecompositionEntry]
    as_executed: dict[Operator, DecompositionEntry]
    allowances: dict[Operator, AllowanceEntry]
    fusions: dict[Operator, FusionEntry]
    kernels: dict[tuple[Any, type[Coefficients]], KernelEntry]
    perturbations: dict[str, PerturbationEntry]
    methods: dict[str, MethodEntry]
    readers: dict[str, ReaderEntry]
    patterns: dict[str, PatternEntry]


@dataclass(frozen=True, eq=False, repr=False)
class Registry:
    """Everything that plugins registered, conflicts resolved. It never changes.

    `build_registry` and `default_registry` make one; `with_rules`, `extended` and `without` derive
    others from it, for one model. Copying gives the same object. Pickling stores how the registry
    was made, not what is in it: unpickling loads the plugins installed there.

    Attributes:
        failures: Plugins that could not be loaded, and why.
        disabled: Plugins that are installed but were disabled by name.
    """

    failures: tuple[PluginFailure, ...]
    disabled: tuple[PluginInfo, ...]
    _contributions: tuple[Contribution, ...]
    _tables: _Tables
    _origin: Callable[[], Registry]

    @classmethod
    def assemble(
        cls,
        contributions: Iterable[Contribution],
        origin: Callable[[], Registry],
        failures: Iterable[PluginFailure] = (),
        disabled: Iterable[PluginInfo] = (),
    ) -> Registry:
        """Merge what plugins contributed.

        Args:
            contributions: One a plugin.
            origin: Makes this registry again, after unpickling; must itself be picklable.
            failures: Plugins that could not be loaded.
            disabled: Plugins that were disabled.

        Raises:
            PluginConflictError: Two plugins register the same thing.
        """
        parts = tuple(contributions)
        tables = _Tables(
            operators=merge(parts, lambda c: c.operators, "a rule for operator"),
            leaf_modules=merge(parts, lambda c: c.leaf_modules, "a rule for"),
            decompositions=merge(parts, lambda c: c.decompositions, "a decomposition of operator"),
            as_executed=merge(parts, lambda c: c.as_executed, "how it is executed of operator"),
            allowances=merge(parts, lambda c: c.allowances, "an allowance of operator"),
            fusions=merge(parts, lambda c: c.fusions, "a fusion of operator"),
            kernels=merge(parts, lambda c: c.kernels, "a kernel of"),
            perturbations=merge(parts, lambda c: c.perturbations, "perturbation"),
            methods=merge(parts, lambda c: c.methods, "method"),
            readers=merge(parts, lambda c: c.readers, "reader"),
            patterns=merge(parts, lambda c: c.patterns, "pattern"),
        )
        return cls(tuple(failures), tuple(disabled), parts, tables, origin)

    @property
    def real(self) -> bool:
        """Bounds of these rules are about real arithmetic."""
        return True

    @property
    def operators(self) -> Mapping[Operator, OperatorEntry]:
        """Operators that have a rule, sorted by name."""
        return MappingProxyType(self._tables.operators)

    @property
    def leaf_modules(self) -> Mapping[LeafModuleKey, LeafModuleEntry]:
        """Classes of modules and functions that have a rule, sorted by name."""
        return MappingProxyType(self._tables.leaf_modules)

    @property
    def decompositions(self) -> Mapping[Operator, DecompositionEntry]:
        """Operators that a plugin says how to take apart, whether or not they have a rule."""
        return MappingProxyType(self._tables.decompositions)

    @property
    def fusions(self) -> Mapping[Operator, FusionEntry]:
        """Operators that may become another one together with what they read."""
        return MappingProxyType(self._tables.fusions)

    @property
    def kernels(self) -> Mapping[tuple[Any, type[Coefficients]], KernelEntry]:
        """Kernels by operator key and structure."""
        return MappingProxyType(self._tables.kernels)

    @property
    def perturbations(self) -> Mapping[str, PerturbationEntry]:
        """Perturbations by name."""
        return MappingProxyType(self._tables.perturbations)

    @property
    def methods(self) -> tuple[MethodEntry, ...]:
        """Methods, the core's first, each once."""
        found = {id(entry.method): entry for entry in self._tables.methods.values()}
        order = {info.name: i for i, info in enumerate(self.plugins)}
        rank = {
            id(registration.entry.method): i
            for c in self._contributions
            for i, registration in enumerate(c.methods)
        }
        return tuple(sorted(found.values(), key=lambda e: (order.get(e.plugin, 0), rank[id(e.method)])))

    def find_method(self, name: object) -> Method:
        """Look a method up by any of its names, in any case.

        Raises:
            OptionError: Listing the methods there are, with the plugin that brings each.
        """
        entry = self._tables.methods.get(name.strip().lower()) if isinstance(name, str) else None
        if entry is None:
            listed = ", ".join(
                "' = '".join((e.method.name, *e.method.aliases)).join("''")
                + ("" if e.plugin == CORE else f" (plugin {e.plugin})")
                for e in self.methods
            )
            if isinstance(name, type) and issubclass(name, Method):
                raise OptionError(
                    f"{name.__name__} is the class of a method; give an object: {name.__name__}()."
                )
            raise OptionError(f"unknown method {name!r}. The methods are {listed}.")
        return entry.method

    @property
    def readers(self) -> tuple[ReaderEntry, ...]:
        """Readers, those of plugins before the core's, so that they may be more particular."""
        return tuple(sorted(self._tables.readers.values(), key=lambda e: (e.plugin == CORE, e.reader.name)))

    @property
    def patterns(self) -> Mapping[str, PatternEntry]:
        """Patterns by name."""
        return MappingProxyType(self._tables.patterns)

    @property
    def plugins(self) -> tuple[PluginInfo, ...]:
        """The plugins that are loaded, the core first."""
        return tuple(contribution.plugin for contribution in self._contributions)

    @property
    def conformance_hooks(self) -> tuple[tuple[PluginInfo, Callable[..., Any]], ...]:
        """The hook of each plugin that declares cases for its tests; `lirpa_testing` calls it as `hook(cases=...)`."""
        return tuple((c.plugin, c.conformance) for c in self._contributions if c.conformance is not None)

    def rule_for(self, op: object) -> Rule | None:
        """The rule of an operator, or of a module or function kept whole; None where there is none."""
        if isinstance(op, LeafModule):
            whole = self._tables.leaf_modules.get(op.key)
            return None if whole is None else whole.rule_of(op)
        entry = self._tables.operators.get(op)  # type: ignore[call-overload]
        return None if entry is None else entry.rule

    def plugin_of(self, op: object) -> str | None:
        """Name of the plugin that the rule of an operator, a module or a function came with, if there is one."""
        if isinstance(op, LeafModule):
            whole = self._tables.leaf_modules.get(op.key)
            return None if whole is None else whole.plugin
        entry = self._tables.operators.get(op)  # type: ignore[call-overload]
        return None if entry is None else entry.plugin

    def decomposition_table(self) -> dict[Operator, Callable[..., Any]]:
        """The registered decompositions that apply, those of operators without a rule.

        Returns:
            A new dict, in the form that `ExportedProgram.run_decompositions` takes.
        """
        tables = self._tables
        return {op: e.function for op, e in tables.decompositions.items() if op not in tables.operators}

    def decompositions_as_executed(self) -> dict[Operator, Callable[..., Any]]:
        """The decompositions that apply, those of kernels as they are executed where some plugin knows them."""
        known = self._tables.as_executed
        return {
            op: known[op].function(f) if op in known else f for op, f in self.decomposition_table().items()
        }

    @property
    def known_as_executed(self) -> frozenset[str]:
        """Names of the operators that fall apart and of which some plugin knows how they are executed."""
        return frozenset(map(operator_name, self._tables.as_executed))

    def allowance_for(self, op: object) -> Allowance | None:
        """What a plugin says that an operator's kernel may be off by, if one does."""
        entry = self._tables.allowances.get(op)  # type: ignore[call-overload]
        return None if entry is None else entry.allowance

    def find_kernel(self, op_key: object, structure_type: type[Coefficients]) -> Kernel | None:
        """The kernel for exactly this operator key, and for the structure or its nearest base class."""
        for base in structure_type.__mro__:
            entry = self._tables.kernels.get((op_key, base))
            if entry is not None:
                return entry.kernel
        return None

    def with_rules(
        self, rules: Mapping[Any, Rule | RuleFactory] | None = None, /, **by_name: Rule
    ) -> Registry:
        """A registry in which the given rules replace whatever the plugins registered.

        Args:
            rules: Rules by operator (in any form that `OperatorRegistry.register` accepts), by class of
                modules (see `OperatorRegistry.module`), or by function (see `OperatorRegistry.function`).
            **by_name: Rules by an operator's name, as in `**{"aten.relu.default": rule}`.

        Raises:
            PluginError: An operator is not known, or a rule is not one.
        """
        given: dict[Any, Any] = dict(rules or {})
        given.update(by_name)
        layer = 1 + max((c.layer for c in self._contributions), default=0)
        info = PluginInfo(f"with_rules-{layer}", source="Registry.with_rules")
        collected = OperatorRegistry(info.name)
        for op, rule in given.items():
            if isinstance(op, FunctionType):
                collected.function(op, rule)
            elif isinstance(op, type):
                collected.module(op, rule)
            else:
                collected.register(op, rule)
        contribution = replace(collected.contribution(info), layer=layer)
        portable: dict[Any, Any] = {
            str(registration.key): registration.entry.rule for registration in contribution.operators
        }
        portable |= {registration.key: registration.entry.rule for registration in contribution.leaf_modules}
        return self._derived((*self._contributions, contribution), methodcaller("with_rules", portable))

    def extended(self, plugin: object, *, name: str | None = None) -> Registry:
        """A registry with one more plugin, as if it were installed.

        Args:
            plugin: A module or object with hooks and `LIRPA_API_VERSION`.
            name: Its name; by default its `__name__`, or that of its type.

        Raises:
            PluginError: The plugin cannot be loaded.
            PluginConflictError: It registers what another one has and does not say `override=True`, or
                a plugin of that name is loaded already.
        """
        candidate = from_object(plugin, name)
        check_names([*self.plugins, candidate.info])
        outcome = load(candidate)
        if isinstance(outcome, Failed):
            raise outcome.raised() from outcome.cause
        portable = portable_plugin(plugin)
        return self._derived((*self._contributions, outcome), methodcaller("extended", portable, name=name))

    def without(self, plugin_name: str) -> Registry:
        """A registry without what one plugin registered.

        Raises:
            PluginError: No plugin of that name is loaded.
        """
        names = [info.name for info in self.plugins]
        if plugin_name not in names:
            loaded = ", ".join(names) or "none"
            raise PluginError(f"no plugin '{plugin_name}' is loaded; loaded are: {loaded}")
        kept = tuple(c for c in self._contributions if c.plugin.name != plugin_name)
        return self._derived(kept, methodcaller("without", plugin_name))

    def without_form(self, form: str) -> Registry:
        """A registry without the kernels of one form, so that their coefficients stay dense."""
        kept = tuple(
            replace(c, kernels=tuple(k for k in c.kernels if k.entry.form != form))
            for c in self._contributions
        )
        return self._derived(kept, methodcaller("without_form", form))

    def without_fusion(self, op: Operator) -> Registry:
        """A registry in which one operator is never fused."""
        kept = tuple(
            replace(c, fusions=tuple(f for f in c.fusions if f.key != op)) for c in self._contributions
        )
        return self._derived(kept, partial(_without_fusion, op=str(op)))

    def without_patterns(self) -> Registry:
        """A registry that takes models as they are written."""
        kept = tuple(replace(c, patterns=()) for c in self._contributions)
        return self._derived(kept, methodcaller("without_patterns"))

    def made_by(self, origin: Callable[[], Registry]) -> Registry:
        """The same registry, which unpickling makes by calling `origin`."""
        return replace(self, _origin=origin)

    def __repr__(self) -> str:
        t, names = self._tables, ", ".join(info.name for info in self.plugins)
        return (
            f"<Registry of {len(t.operators) + len(t.leaf_modules)} rules, {len(t.decompositions)} decompositions, "
            f"{len(t.kernels)} kernels, {len(t.perturbations)} perturbations from: {names or 'no plugin'}>"
        )

    def __copy__(self) -> Registry:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Registry:
        return self

    def __reduce__(self) -> tuple[Callable[[], Registry], tuple[()]]:
        return self._origin, ()

    def _derived(self, contributions: tuple[Contribution, ...], step: Callable[[Any], Any]) -> Registry:
        return Registry.assemble(contributions, partial(step, self), self.failures, self.disabled)


def _without_fusion(registry: Registry, op: str) -> Registry:
    return registry.without_fusion(resolve_operator(op))


class _ModuleByName:
    """Stands for a module inside a pickle; what comes out is the module itself."""

    def __init__(self, module: ModuleType) -> None:
        self._name = module.__name__

    def __reduce__(self) -> tuple[Callable[..., ModuleType], tuple[str]]:
        return importlib.import_module, (self._name,)


def portable_plugin(plugin: object) -> object:
    """The plugin in a form that can be pickled: modules by name, other objects as they are."""
    return _ModuleByName(plugin) if isinstance(plugin, ModuleType) else plugin
