"""What there is to try: an item for each case of everything that plugins register, and one for what has none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from lirpa_core.errors import OptionError
from lirpa_core.plugins import KernelEntry, LeafModuleEntry, OperatorEntry, PatternEntry, Registry, key_label
from lirpa_testing.conformance.cases import AnyCase, CoefficientsCase, ModelCase, RuleCase, SetCase
from lirpa_testing.conformance.declarations import conformance_cases
from lirpa_testing.conformance.defaults import default_case
from lirpa_testing.conformance.kernels import Terms
from lirpa_testing.conformance.methods import Networks
from lirpa_testing.conformance.outcome import Key


@dataclass(frozen=True, eq=False)
class KernelCase:
    """A kernel, with the calls and the structures to try it on."""

    entry: KernelEntry
    calls: tuple[RuleCase, ...]
    terms: Terms
    structures: tuple[CoefficientsCase, ...]
    name: str = "dense"


@dataclass(frozen=True, eq=False)
class MethodCase:
    """A method, for random networks; it needs no declaration."""

    method: str
    networks: Networks
    name: str = "random networks"


@dataclass(frozen=True, eq=False)
class PatternCase:
    """A pattern, tried on itself; it needs no declaration."""

    entry: PatternEntry
    name: str = ""


@dataclass(frozen=True)
class NoCase:
    """Something that is registered, but that no case tries.

    Attributes:
        remedy: What to declare.
    """

    remedy: str
    name: str = ""


#: What an item runs.
ItemCase: TypeAlias = AnyCase | KernelCase | MethodCase | PatternCase | NoCase


@dataclass(frozen=True, eq=False)
class Item:
    """One thing to run.

    Attributes:
        plugin: Who registers what is checked.
        kind: See `Outcome.kind`.
        subject: What is checked, in words.
        case: What it is tried on.
        turn: Its position among the cases of the subject, and how many there are.
    """

    plugin: str
    kind: str
    subject: str
    case: ItemCase
    turn: tuple[int, int] = (0, 1)

    @property
    def key(self) -> Key:
        """What tells it from others."""
        return self.plugin, self.kind, self.subject, self.case.name

    def __str__(self) -> str:
        case = f"[{self.case.name}]" if self.case.name else ""
        return f"{self.plugin}::{'' if self.kind == 'rule' else self.kind + ' '}{self.subject}{case}"


@dataclass(frozen=True, eq=False)
class Suite:
    """Everything to try for some plugins of a registry."""

    registry: Registry
    items: tuple[Item, ...]

    @classmethod
    def of(cls, registry: Registry, plugins: Collection[str] | None = None) -> Suite:
        """All items of some plugins.

        Args:
            registry: Where they are registered. Cases that other plugins declare count as well.
            plugins: Their names; None for all.

        Raises:
            PluginError: A plugin's cases cannot be declared.
            OptionError: The plugins register nothing.
        """
        wanted = {info.name for info in registry.plugins} if plugins is None else set(plugins)
        found = [item for item in _Collection(registry, wanted).items() if item.plugin in wanted]
        if not found:
            raise OptionError(f"nothing is registered by: {', '.join(sorted(wanted))}")
        return cls(registry, tuple(found))

    def matching(self, keyword: str | None) -> Suite:
        """The items whose name contains a word.

        Raises:
            OptionError: There is none.
        """
        if keyword is None:
            return self
        found = tuple(item for item in self.items if keyword.lower() in str(item).lower())
        if not found:
            raise OptionError(f"nothing that is registered has '{keyword}' in its name")
        return Suite(self.registry, found)


class _Collection:
    """Sorts the declared cases by what they are for; looks for cases of what some plugins register."""

    def __init__(self, registry: Registry, wanted: Collection[str]) -> None:
        self.registry = registry
        self.wanted = wanted
        self.rules: dict[Any, list[RuleCase]] = defaultdict(list)
        self.sets: dict[type, list[SetCase]] = defaultdict(list)
        self.structures: dict[type, list[CoefficientsCase]] = defaultdict(list)
        self.models: list[ModelCase] = []
        for case in conformance_cases(registry):
            if isinstance(case, RuleCase):
                self.rules[case.key].append(case)
            elif isinstance(case, SetCase):
                self.sets[type(case.perturbation)].append(case)
            elif isinstance(case, CoefficientsCase):
                self.structures[case.structure].append(case)
            else:
                self.models.append(case)

    def items(self) -> Iterator[Item]:
        yield from self.rule_items()
        yield from self.stray_items()
        yield from self.structure_items()
        yield from self.kernel_items()
        yield from self.model_items()
        yield from self.fusion_items()
        yield from self.perturbation_items()
        yield from self.method_items()
        yield from self.pattern_items()

    def rule_items(self) -> Iterator[Item]:
        entries: dict[Any, OperatorEntry | LeafModuleEntry] = {
            **self.registry.operators,
            **self.registry.leaf_modules,
        }
        covered = {op for model in self.models for op in model.covers}
        for key, entry in entries.items():
            if entry.plugin not in self.wanted:
                continue
            cases: Sequence[ItemCase] = self.rules.get(key, [])
            if not cases and key not in covered:
                default = default_case(key, entry.plugin)
                cases = [default or NoCase(f'cases.add("…", Call.of({_code(key)}, …))')]
            for i, case in enumerate(cases):
                yield Item(entry.plugin, "rule", subject_of(key), case, (i, len(cases)))

    def stray_items(self) -> Iterator[Item]:
        """Cases for operators that nobody registers."""
        known = {*self.registry.operators, *self.registry.leaf_modules}
        for key, cases in self.rules.items():
            if key not in known:
                yield Item(cases[0].plugin, "rule", subject_of(key), cases[0])

    def structure_items(self) -> Iterator[Item]:
        packages = {info.source.partition(".")[0]: info.name for info in reversed(self.registry.plugins)}
        owners: dict[type, str] = {}  # the plugin whose package has the type, else who declares or uses it
        for structure, declared in self.structures.items():
            owners[structure] = packages.get(structure.__module__.partition(".")[0], declared[0].plugin)
        for (_, structure), entry in self.registry.kernels.items():
            owners.setdefault(structure, entry.plugin)
        for structure, plugin in owners.items():
            cases: Sequence[ItemCase] = self.structures.get(structure) or [
                NoCase(f'cases.coefficients("…", {structure.__name__}, …)')
            ]
            for case in cases:
                yield Item(plugin, "structure", structure.__name__, case)

    def kernel_items(self) -> Iterator[Item]:
        terms = Terms(self.registry)
        every = [case for cases in self.rules.values() for case in cases]
        for (key, structure), entry in self.registry.kernels.items():
            if entry.plugin not in self.wanted:
                continue
            calls = every if isinstance(key, type) else self.rules.get(key, [])
            if not isinstance(key, type) and not calls:
                default = default_case(key, entry.plugin)
                calls = [] if default is None else [default]
            offered = [
                m for cases in self.structures.values() for m in cases if issubclass(m.structure, structure)
            ]
            case = KernelCase(entry, tuple(calls), terms, tuple(offered))
            yield Item(entry.plugin, "kernel", f"{key_label(key)} for {structure.__name__}", case)

    def model_items(self) -> Iterator[Item]:
        for model in self.models:
            yield Item(model.plugin, "model", model.name, model)

    def fusion_items(self) -> Iterator[Item]:
        fused = {op for model in self.models for op in model.fuses}
        for op, entry in self.registry.fusions.items():
            if op not in fused:
                case = NoCase(f'cases.model("…", …, fuses=[{_code(op)}])')
                yield Item(entry.plugin, "fusion", subject_of(op), case)

    def perturbation_items(self) -> Iterator[Item]:
        for name, entry in self.registry.perturbations.items():
            cases: Sequence[ItemCase] = self.sets.get(entry.cls) or [
                NoCase(f'cases.perturbation("…", {entry.cls.__name__}(…), x)')
            ]
            for case in cases:
                yield Item(entry.plugin, "perturbation", name, case)

    def method_items(self) -> Iterator[Item]:
        networks = Networks(self.registry)
        for entry in self.registry.methods:
            yield Item(entry.plugin, "method", entry.method.name, MethodCase(entry.method.name, networks))

    def pattern_items(self) -> Iterator[Item]:
        for name, entry in self.registry.patterns.items():
            yield Item(entry.plugin, "pattern", name, PatternCase(entry))


def subject_of(key: Any) -> str:
    """What a rule is registered for, in words."""
    if isinstance(key, type):
        return f"module {key.__module__}.{key.__qualname__}"
    return f"function {key_label(key)}" if not hasattr(key, "_schema") else str(key)


def _code(key: Any) -> str:
    name = getattr(key, "__qualname__", None) if not hasattr(key, "_schema") else None
    return name or f"torch.ops.{key}"
