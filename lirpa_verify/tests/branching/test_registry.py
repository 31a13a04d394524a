"""Heuristics are found by name, those of plugins through the hook."""

from __future__ import annotations

import pytest
import torch
from lirpa_verify.branching import (
    FSB,
    BranchingRegistry,
    Heuristics,
    OpenBoxes,
    OpenNeurons,
    Smart,
    heuristics,
    hookimpl,
)
from lirpa_verify.branching.registry import collect
from lirpa_verify.errors import BranchingError
from torch import Tensor


class First:
    def choose(self, boxes: OpenBoxes) -> Tensor:
        return torch.zeros(len(boxes.lower), dtype=torch.long)


class FirstNeuron:
    def choose(self, neurons: OpenNeurons) -> Tensor:
        return neurons.splittable.long().argmax(1)


class Plugin:
    @hookimpl
    def lirpa_register_branching(self, registry: BranchingRegistry) -> None:
        registry.input_splitting("first", First)
        registry.neuron_splitting("first neuron", FirstNeuron)


class Greedy:
    @hookimpl
    def lirpa_register_branching(self, registry: BranchingRegistry) -> None:
        registry.neuron_splitting("smart", FirstNeuron)


def test_a_plugin_adds_heuristics() -> None:
    found = collect(Plugin())
    assert isinstance(found.inputs()["first"](), First)
    assert isinstance(found.neurons()["first neuron"](), FirstNeuron)
    assert {"longest", "sensitivity", "smart"} < set(found.inputs())
    assert {"babsr", "fsb", "gain", "widest"} < set(found.neurons())


def test_a_name_can_be_taken_once() -> None:
    with pytest.raises(BranchingError, match="'smart'"):
        collect(Greedy())


def test_names_are_looked_up() -> None:
    assert heuristics("smart") == Heuristics(inputs=Smart())
    assert heuristics("fsb") == Heuristics(neurons=FSB())
    with pytest.raises(BranchingError, match="longest, sensitivity, smart for boxes"):
        heuristics("smrat")
