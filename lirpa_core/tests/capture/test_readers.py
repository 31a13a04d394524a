"""The core's readers: a module and an exported program of it have the same bounds."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.capture.readers import ExportedProgramReader, LiveModelReader, ModuleReader
from lirpa_core.errors import CaptureError
from lirpa_core.plugins import default_registry


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_program_has_the_bounds_of_its_module(dynamic: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    shapes = ({0: torch.export.Dim("batch")},) if dynamic else None
    program = torch.export.export(model, (torch.zeros(2 if dynamic else 1, 3),), dynamic_shapes=shapes)
    assert ExportedProgramReader().accepts(program) and not ExportedProgramReader().accepts(model)
    assert ModuleReader().accepts(model) and not ModuleReader().accepts(program)
    live = ExportedProgramReader().open(program)
    assert live.fixed_mode and live.fixed_batch is not dynamic
    x = torch.randn(3 if dynamic else 1, 3)
    point = BoundedTensor(x, PerturbationLpNorm(eps=0.1))
    for a, b in zip(
        BoundedModule(program, x).compute_bounds(x=point),
        BoundedModule(model, x).compute_bounds(x=point),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_the_core_registers_them() -> None:
    readers = {type(entry.reader): entry.plugin for entry in default_registry().readers}
    assert readers[ModuleReader] == readers[ExportedProgramReader] == readers[LiveModelReader] == "core"


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_modules_of_torch_jit_are_refused_by_name(inside: bool) -> None:
    traced = torch.jit.trace(nn.Linear(3, 2), torch.zeros(1, 3))
    with pytest.raises(
        CaptureError,
        match=("module '0'" if inside else "the model") + r" \(Linear\) is compiled by torch.jit",
    ):
        BoundedModule(nn.Sequential(traced) if inside else traced, torch.zeros(1, 3))
