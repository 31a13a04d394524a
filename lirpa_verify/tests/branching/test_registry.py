"""Heuristics are found by name, those of plugins through the hook."""

from __future__ import annotations

import pytest
import torch
from lirpa_verify.branching import BranchingRegistry, OpenBoxes, Smart, hookimpl, input_branching
from lirpa_verify.branching.registry import collect
from lirpa_verify.errors import BranchingError
from torch import Tensor


class First:
    def choose(self, boxes: OpenBoxes) -> Tensor:
        return torch.zeros(len(boxes.lower), dtype=torch.long)


class Plugin:
    @hookimpl
    def lirpa_register_branching(self, registry: BranchingRegistry) -> None:
        registry.input_splitting("first", First)


class Greedy:
    @hookimpl
    def lirpa_register_branching(self, registry: BranchingRegistry) -> None:
        registry.input_splitting("smart", First)


def test_a_plugin_adds_heuristics() -> None:
    found = collect(Plugin()).inputs()
    assert isinstance(found["first"](), First)
    assert {"longest", "sensitivity", "smart"} < set(found)


def test_a_name_can_be_taken_once() -> None:
    with pytest.raises(BranchingError, match="'smart'"):
        collect(Greedy())


def test_names_are_looked_up() -> None:
    assert input_branching("smart") == Smart()
    with pytest.raises(BranchingError, match="there are: longest, sensitivity, smart"):
        input_branching("smrat")
