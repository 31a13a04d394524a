"""From an entry point or an object to what the plugin behind it registers, or to why it cannot."""

from __future__ import annotations

import importlib
import importlib.metadata
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import pluggy

from lirpa_core.errors import LirpaError, PluginConflictError, PluginError
from lirpa_core.plugins import hookspecs
from lirpa_core.plugins.entries import Contribution, PluginFailure, PluginInfo
from lirpa_core.plugins.hookspecs import GROUP, LIRPA_API_VERSION, SUPPORTED_API_VERSIONS
from lirpa_core.plugins.merge import CORE
from lirpa_core.plugins.methods import MethodRegistry
from lirpa_core.plugins.operators import OperatorRegistry
from lirpa_core.plugins.patterns import PatternRegistry
from lirpa_core.plugins.perturbations import PerturbationRegistry
from lirpa_core.plugins.readers import ReaderRegistry

CORE_MODULE = "lirpa_core.plugin"
CORE_DISTRIBUTION = "lirpa-core"

_HOOKS = (
    "lirpa_register_operators",
    "lirpa_register_perturbations",
    "lirpa_register_methods",
    "lirpa_register_readers",
    "lirpa_register_patterns",
    "lirpa_conformance_cases",
)
_HOOK_PREFIXES = ("lirpa_register_", "lirpa_conformance_")


@dataclass(frozen=True, eq=False)
class Candidate:
    """A plugin that has been found but not imported."""

    info: PluginInfo
    load: Callable[[], object]


@dataclass(frozen=True, eq=False)
class Failed:
    """A candidate that could not be loaded, with the exception for whoever wants to chain it."""

    failure: PluginFailure
    cause: BaseException

    def raised(self) -> PluginError:
        """The failure as an error to raise."""
        return PluginError(self.failure.message)


def installed() -> list[Candidate]:
    """The core's own plugin, then every installed one, sorted by name.

    Raises:
        PluginConflictError: Another distribution's plugin is called "core".
    """
    found = [_from_entry_point(point) for point in importlib.metadata.entry_points(group=GROUP)]
    core = [c for c in found if c.info.name == CORE]
    for candidate in core:
        if candidate.info.source != CORE_MODULE:
            raise PluginConflictError(
                f"distribution '{candidate.info.distribution}' calls its plugin '{CORE}', a name that is "
                f"reserved for lirpa itself: rename the entry point, or uninstall the distribution"
            )
    if not core:  # running from source, without the metadata of an installation
        info = PluginInfo(CORE, None, CORE_DISTRIBUTION, CORE_MODULE)
        core = [Candidate(info, lambda: importlib.import_module(CORE_MODULE))]
    others = [c for c in found if c.info.name != CORE]
    return core[:1] + sorted(others, key=lambda c: (c.info.name, c.info.distribution or ""))


def from_object(plugin: object, name: str | None = None) -> Candidate:
    """A candidate from a module or object in memory.

    Args:
        plugin: The module or object.
        name: Its name; by default its `__name__`, or that of its type.
    """
    kind = type(plugin)
    own = getattr(plugin, "__name__", None)
    module = own if isinstance(plugin, ModuleType) else f"{kind.__module__}.{kind.__qualname__}"
    if name is None:
        name = CORE if module == CORE_MODULE else own if isinstance(own, str) else kind.__qualname__
    version = getattr(plugin, "__version__", None)
    info = PluginInfo(name, version if isinstance(version, str) else None, None, str(module))
    return Candidate(info, lambda: plugin)


def check_names(plugins: Iterable[PluginInfo]) -> None:
    """Refuse two plugins of one name.

    Raises:
        PluginConflictError: Naming where both come from.
    """
    seen: dict[str, PluginInfo] = {}
    for info in plugins:
        first = seen.setdefault(info.name, info)
        if first is not info:
            raise PluginConflictError(
                f"two plugins are called '{info.name}': {_origin(first)} and {_origin(info)}; "
                f"rename or uninstall one, or disable both with LIRPA_DISABLE_PLUGINS={info.name}"
            )


def load(candidate: Candidate) -> Contribution | Failed:
    """Import a plugin and run its hooks. All of it counts, or nothing does."""
    info, stage = candidate.info, "import"
    try:
        plugin = candidate.load()
        stage = "api version"
        info = replace(info, api_version=_api_version(plugin))
        stage = "register"
        return _run_hooks(plugin, info)
    except (Exception, SystemExit) as error:  # noqa: BLE001  a plugin is foreign code, it may raise anything
        failure = PluginFailure(info.name, info.distribution, stage, describe(error), info.version)
        return Failed(failure, error)


def _from_entry_point(point: importlib.metadata.EntryPoint) -> Candidate:
    dist = point.dist
    info = PluginInfo(point.name, dist.version if dist else None, dist.name if dist else None, point.value)
    return Candidate(info, point.load)


def _api_version(plugin: object) -> int:
    stated = getattr(plugin, "LIRPA_API_VERSION", None)
    if stated is None:
        raise PluginError(
            f"it does not state the API version it was written for; add the line "
            f"`LIRPA_API_VERSION = {LIRPA_API_VERSION}` to it"
        )
    if not isinstance(stated, int) or isinstance(stated, bool):
        raise PluginError(f"its LIRPA_API_VERSION must be an integer, got {stated!r}")
    if stated > max(SUPPORTED_API_VERSIONS):
        raise PluginError(
            f"it was written for API version {stated}, this lirpa-core offers {LIRPA_API_VERSION}; "
            f"upgrade lirpa-core (pip install --upgrade lirpa-core)"
        )
    if stated not in SUPPORTED_API_VERSIONS:
        raise PluginError(
            f"it was written for API version {stated}, which this lirpa-core ({LIRPA_API_VERSION}) "
            f"no longer supports; upgrade the plugin"
        )
    return stated


def _run_hooks(plugin: object, info: PluginInfo) -> Contribution:
    _check_hook_names(plugin)
    manager = pluggy.PluginManager(GROUP)  # one a plugin, so that no error crosses over
    manager.add_hookspecs(hookspecs)
    manager.register(plugin, name=info.name)
    manager.check_pending()
    operators, perturbations = OperatorRegistry(info.name), PerturbationRegistry(info.name)
    methods, readers = MethodRegistry(info.name), ReaderRegistry(info.name)
    patterns = PatternRegistry(info.name)
    try:
        manager.hook.lirpa_register_operators(registry=operators)
        manager.hook.lirpa_register_perturbations(registry=perturbations)
        manager.hook.lirpa_register_methods(registry=methods)
        manager.hook.lirpa_register_readers(registry=readers)
        manager.hook.lirpa_register_patterns(registry=patterns)
    finally:
        for collector in (operators, perturbations, methods, readers, patterns):
            collector.close()
    hook = manager.hook.lirpa_conformance_cases if hasattr(plugin, "lirpa_conformance_cases") else None
    return replace(
        operators.contribution(info),
        perturbations=perturbations.registrations(),
        methods=methods.registrations(),
        readers=readers.registrations(),
        patterns=patterns.registrations(),
        conformance=hook,
    )


def _check_hook_names(plugin: object) -> None:
    for name in dir(plugin):
        if not name.startswith(_HOOK_PREFIXES):
            continue
        if name not in _HOOKS:
            raise PluginError(f"lirpa has no hook `{name}`; its hooks are {', '.join(_HOOKS)}")
        if not hasattr(getattr(plugin, name), f"{GROUP}_impl"):  # set by the marker, as pluggy documents
            raise PluginError(f"its `{name}` is not marked; decorate it with `@lirpa_core.plugins.hookimpl`")


def _origin(info: PluginInfo) -> str:
    return f"{info.source} of distribution '{info.distribution}'" if info.distribution else info.source


def describe(error: BaseException, machinery: Iterable[Path] = ()) -> str:
    """An error of a plugin in one line, with the innermost line of the plugin's own code that it passed through.

    Args:
        error: The error.
        machinery: Folders of whoever called the plugin, whose lines are not the plugin's.
    """
    text = " ".join(str(error).split())
    if not isinstance(error, PluginError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    where = _place(error, machinery)
    return f"{text} ({where})" if where else text


def _place(error: BaseException, machinery: Iterable[Path]) -> str | None:
    folders = (
        Path(__file__).parent,
        Path(pluggy.__file__).parent,
        Path(importlib.__file__).parent,
        *machinery,
    )
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<")]
    own = [f for f in frames if not _is_in(f.filename, folders)]
    if isinstance(error, LirpaError):  # which lirpa raises about what a plugin gave it
        own = [f for f in own if not _is_in(f.filename, (Path(__file__).parents[1],))] or own
    return f"{own[-1].filename}:{own[-1].lineno}" if own else None


def _is_in(file: str, folders: Iterable[Path]) -> bool:
    return any(Path(file).is_relative_to(folder) for folder in folders)
