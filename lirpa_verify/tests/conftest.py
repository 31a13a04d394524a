"""Small networks and files that several tests use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn


@pytest.fixture
def relu_net() -> nn.Module:
    """Two inputs, two layers of ReLU, three outputs."""
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(2, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 3)).eval()


@pytest.fixture
def write_onnx(tmp_path: Path) -> Callable[..., Path]:
    """Writes an ONNX file: nodes, constants by name, and the shapes of `x` and `y`."""

    def write(
        nodes: list[onnx.NodeProto],
        constants: dict[str, Any],
        x_shape: list[Any],
        y_shape: list[Any],
        name: str = "net.onnx",
    ) -> Path:
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, x_shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, y_shape)],
            [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        path = tmp_path / name
        onnx.save(model, str(path))
        return path

    return write


@pytest.fixture
def absolute_onnx(write_onnx: Callable[..., Path]) -> Path:
    """`y = (|x₀| + |x₁|, x₀)` of an input `[1, 2]`, by four ReLUs."""
    W = np.array([[1, -1, 0, 0], [0, 0, 1, -1]], np.float32)
    V = np.array([[1, 1], [1, -1], [1, 0], [1, 0]], np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["h"], name="first"),
        helper.make_node("Relu", ["h"], ["r"], name="kinks"),
        helper.make_node("MatMul", ["r", "V"], ["y"], name="last"),
    ]
    return write_onnx(nodes, {"W": W, "V": V}, [1, 2], [1, 2], "absolute.onnx")


@pytest.fixture
def write_query(tmp_path: Path) -> Callable[..., Path]:
    """Writes a VNN-LIB 1.0 file over `[-1, 1]²` with two outputs and some more assertions."""

    def write(
        *assertions: str, name: str = "p.vnnlib", outputs: int = 2, box: tuple[float, float] = (-1, 1)
    ) -> Path:
        lines = [f"(declare-const X_{i} Real)" for i in range(2)]
        lines += [f"(declare-const Y_{i} Real)" for i in range(outputs)]
        for i in range(2):
            lines += [f"(assert (>= X_{i} {box[0]}))", f"(assert (<= X_{i} {box[1]}))"]
        path = tmp_path / name
        path.write_text("\n".join([*lines, *assertions]))
        return path

    return write
