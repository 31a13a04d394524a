"""Errors of lirpa come first and alone: nothing of torch's is printed, and nothing of the model's is lost."""

from __future__ import annotations

import logging
import subprocess
import sys
import traceback

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule
from lirpa_core.capture.quiet import quiet
from lirpa_core.errors import CaptureError, DataDependentBranchError, DataDependentShapeError

PROGRAM = """
import sys, torch
from lirpa_core import BoundedModule
class Branching(torch.nn.Module):
    def forward(self, x):
        print("the model's own words", file=sys.stderr)
        return x if x.sum() > 0 else -x
BoundedModule(Branching(), torch.ones(2, 3))
"""


def test_the_error_comes_first_and_alone() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], text=True, capture_output=True, check=False)
    lines = [line for line in done.stderr.splitlines() if line != "the model's own words"]
    assert done.returncode == 1 and len(lines) < len(done.stderr.splitlines())
    assert lines[0].startswith("Traceback") and lines[-1].startswith(
        "lirpa_core.errors.DataDependentBranchError"
    )
    assert done.stderr.count("Traceback") == 1 and "aten" not in done.stderr


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Picking(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x * 2
        y[y < 0] *= 0.1
        return y


class Refused(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(x.detach().numpy())


@pytest.mark.parametrize(
    ("model", "error"),
    [
        (Branching(), DataDependentBranchError),
        (Picking(), DataDependentShapeError),
        (Refused(), CaptureError),
    ],
)
def test_torchs_own_error_is_not_shown(
    model: nn.Module, error: type[CaptureError], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(error) as caught:
        BoundedModule(model, torch.ones(2, 3))
    shown = "".join(traceback.format_exception(caught.value))
    assert shown.count("Traceback") == 1
    assert capfd.readouterr().err == ""


def test_loggers_are_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("torch.export")
    with quiet():
        assert logger.disabled
    assert not logger.disabled
    monkeypatch.setenv("TORCH_LOGS", "dynamic")
    with quiet():
        assert not logger.disabled
