"""An ONNX file is a source for `BoundedModule`, by its path alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lirpa_verify.reader import OnnxReader

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import CaptureError


def test_a_path_is_bounded(absolute_onnx: Path) -> None:
    x = torch.tensor([[0.5, -0.5], [2.0, 0.0]])
    for source in (absolute_onnx, str(absolute_onnx)):
        bounded = BoundedModule(source, x)
        # y = (|x₀| + |x₁|, x₀), and no sign changes in the first box.
        lower, upper = bounded.compute_bounds(x=BoundedTensor(x, PerturbationLpNorm(eps=0.25)))
        expected = torch.tensor([[0.5, 0.25], [1.75, 1.75]]), torch.tensor([[1.5, 0.75], [2.5, 2.25]])
        assert torch.allclose(lower, expected[0], atol=1e-5)
        assert torch.allclose(upper, expected[1], atol=1e-5)


def test_other_names_are_left_to_other_readers() -> None:
    accepts = OnnxReader().accepts
    assert accepts("a.onnx")
    assert accepts(Path("a.onnx.gz"))
    assert not accepts("a.pt2")
    assert not accepts(torch.nn.Linear(1, 1))


def test_what_is_no_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"cannot read the network file .*missing\.onnx"):
        BoundedModule(tmp_path / "missing.onnx", torch.zeros(1, 2))
