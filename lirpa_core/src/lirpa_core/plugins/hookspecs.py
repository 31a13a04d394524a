"""The hooks a plugin implements, and the version of what they promise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pluggy

if TYPE_CHECKING:
    from lirpa_core.plugins.methods import MethodRegistry
    from lirpa_core.plugins.operators import OperatorRegistry
    from lirpa_core.plugins.patterns import PatternRegistry
    from lirpa_core.plugins.perturbations import PerturbationRegistry
    from lirpa_core.plugins.readers import ReaderRegistry

#: Name of the entry-point group and of the pluggy project.
GROUP: Final = "lirpa"

#: Version of the hooks and of what plugins build rules on. A plugin states the one it was written
#: for as a literal, `LIRPA_API_VERSION = 1`; importing this name instead would always agree.
LIRPA_API_VERSION: Final = 1

#: Versions that this lirpa-core can still load.
SUPPORTED_API_VERSIONS: Final = (1,)

hookspec = pluggy.HookspecMarker(GROUP)

#: Marks a function of a plugin as an implementation of the hook of the same name.
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def lirpa_register_operators(registry: OperatorRegistry) -> None:
    """Register rules, decompositions and kernels of operators.

    Args:
        registry: Collects what this plugin registers; open only while the hook runs.
    """


@hookspec
def lirpa_register_perturbations(registry: PerturbationRegistry) -> None:
    """Register perturbations under the names by which users and tools find them.

    Args:
        registry: Collects what this plugin registers; open only while the hook runs.
    """


@hookspec
def lirpa_register_methods(registry: MethodRegistry) -> None:
    """Register methods: ways to bound a graph, found by name in `compute_bounds`.

    Args:
        registry: Collects what this plugin registers; open only while the hook runs.
    """


@hookspec
def lirpa_register_readers(registry: ReaderRegistry) -> None:
    """Register readers: what turns something that a user has into a graph.

    Args:
        registry: Collects what this plugin registers; open only while the hook runs.
    """


@hookspec
def lirpa_register_patterns(registry: PatternRegistry) -> None:
    """Register patterns: ways in which people write a function that there is an operator with a tight rule for.

    Args:
        registry: Collects what this plugin registers; open only while the hook runs.
    """


@hookspec
def lirpa_conformance_cases(cases: Any) -> None:
    """Declare calls to try the rules on, for `lirpa check` and the conformance tests.

    Optional, and called only by the distribution lirpa-testing. So the cases belong into a module of their own that
    the hook imports, and that module may import `lirpa_testing`.

    Args:
        cases: The `lirpa_testing.ConformanceCases` that collects what this plugin declares; open only while the hook
            runs.
    """
