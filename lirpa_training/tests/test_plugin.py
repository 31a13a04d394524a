"""The package can be loaded as a plugin, and has the names that users look for."""

from __future__ import annotations

import pytest
import torch

import lirpa_core
import lirpa_training
from lirpa_core.errors import CompatibilityWarning
from lirpa_core.plugins import OperatorRegistry, PerturbationRegistry
from lirpa_training import plugin


def test_states_the_interface_version_it_was_written_for() -> None:
    assert plugin.LIRPA_API_VERSION == 1


def test_registers_nothing() -> None:
    perturbations = PerturbationRegistry("training")
    plugin.lirpa_register_operators(OperatorRegistry("training"))
    plugin.lirpa_register_perturbations(perturbations)
    assert not list(perturbations.registrations())


def test_bound_data_parallel_says_what_does_its_work() -> None:
    assert lirpa_training.BoundDataParallel is lirpa_core.BoundDataParallel
    bounded = lirpa_core.BoundedModule(torch.nn.Linear(2, 2), torch.zeros(1, 2))
    with pytest.warns(CompatibilityWarning, match="DistributedDataParallel"):
        lirpa_core.BoundDataParallel(bounded, device_ids=["cpu", "cpu"])
