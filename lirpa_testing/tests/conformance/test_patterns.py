"""The check of patterns lets right ones pass, and names what is wrong with others."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lirpa_core.plugins import Pattern, PatternEntry, PatternRegistry, Registry, default_registry, hookimpl
from lirpa_testing.conformance.patterns import check_pattern
from lirpa_testing.report import Violation

pytestmark = pytest.mark.slow


def written(x: Tensor) -> Tensor:
    return torch.sin(x) / torch.cos(x)


def tangent(x: Tensor) -> Tensor:
    return torch.tan(x)


def another(x: Tensor) -> Tensor:
    return torch.tan(x) + 1e-3


def never(x: Tensor) -> bool:
    return False


def registry_with(pattern: Pattern) -> tuple[PatternEntry, Registry]:
    class Mine:
        LIRPA_API_VERSION = 1

        @hookimpl
        def lirpa_register_patterns(self, registry: PatternRegistry) -> None:
            registry.register(pattern.name, pattern.written, pattern.becomes, when=pattern.when)

    registry = default_registry().extended(Mine(), name="mine")
    return registry.patterns[pattern.name], registry


def test_a_right_pattern_passes() -> None:
    assert check_pattern(*registry_with(Pattern("tangent", written, tangent))) == 1


def test_another_function_is_named() -> None:
    with pytest.raises(Violation, match=r"differ by 0\.001"):
        check_pattern(*registry_with(Pattern("tangent", written, another)))


def test_a_condition_that_never_holds_is_named() -> None:
    with pytest.raises(Violation, match="no setting"):
        check_pattern(*registry_with(Pattern("tangent", written, tangent, never)))


def test_a_pattern_that_is_not_found_is_named() -> None:
    pattern = Pattern("tangent", written, tangent)
    with pytest.raises(Violation, match=r"not found in aten\.sin"):
        check_pattern(PatternEntry(pattern, "mine"), default_registry())


def test_every_pattern_of_ours_passes() -> None:
    """Of each way of writing the functions of one name one; conformance tries all."""
    registry = default_registry()
    first = {name.partition(":")[0]: entry for name, entry in reversed(registry.patterns.items())}
    assert len(first) > 15
    for entry in first.values():
        assert check_pattern(entry, registry) >= 1
