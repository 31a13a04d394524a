"""Readers are asked in turn, and what nobody reads is refused with a list of what can be read."""

from __future__ import annotations

import itertools
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.capture import ModuleReader
from lirpa_core.errors import CaptureError, PluginConflictError, PluginError
from lirpa_core.plugins import LiveModel, ReaderRegistry, default_registry, hookimpl


class WidthReader(ModuleReader):
    """Reads a tuple of widths as a network of fully connected layers."""

    name = "widths"
    summary = "a tuple of widths"

    def accepts(self, source: object) -> bool:
        return isinstance(source, tuple)

    def open(self, source: Any) -> LiveModel:
        torch.manual_seed(0)
        return LiveModel(nn.Sequential(*(nn.Linear(a, b) for a, b in itertools.pairwise(source))).eval())


def plugin(name: str, reader: Any) -> ModuleType:
    module = ModuleType(name)

    @hookimpl
    def lirpa_register_readers(registry: ReaderRegistry) -> None:
        registry.register(reader)

    vars(module).update(LIRPA_API_VERSION=1, lirpa_register_readers=lirpa_register_readers)
    return module


def test_a_source_of_a_new_kind_has_the_bounds_of_its_module() -> None:
    registry = default_registry().extended(plugin("widths", WidthReader()))
    x = torch.randn(2, 4)
    point = BoundedTensor(x, PerturbationLpNorm(eps=0.1))
    bounded = BoundedModule((4, 8, 2), x, registry=registry)
    plain = BoundedModule(WidthReader().open((4, 8, 2)).module, x, registry=registry)
    for one, other in zip(bounded.compute_bounds(x=point), plain.compute_bounds(x=point), strict=True):
        assert torch.equal(one, other)


def test_what_nobody_reads_is_refused() -> None:
    with pytest.raises(CaptureError, match=r"nn\.Module"):
        BoundedModule((4, 8, 2), torch.zeros(1, 4))


def test_wrong_readers_are_refused() -> None:
    with pytest.raises(PluginError, match=r"lirpa_core\.plugins\.Reader"):
        default_registry().extended(plugin("wrong", WidthReader))
    registry = default_registry().extended(plugin("widths", WidthReader()))
    with pytest.raises(PluginConflictError, match=r"widths.*again|again.*widths"):
        registry.extended(plugin("again", WidthReader()))
