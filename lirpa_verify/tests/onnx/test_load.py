"""ONNX files become networks that compute the same, or are refused."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from lirpa_verify.errors import NetworkError
from lirpa_verify.onnx import load, load_onnx
from onnx import helper

from lirpa_core import BoundedModule

RNG = np.random.default_rng(0)
W = RNG.normal(size=(4, 3)).astype(np.float32)
GEMM = helper.make_node("MatMul", ["x", "W"], ["y"], name="product")


def test_a_file_becomes_a_network_for_batches(absolute_onnx: Path) -> None:
    network = load_onnx(absolute_onnx)
    assert (network.shapes, network.outputs, network.inputs) == (((2,),), 2, 2)
    x = torch.tensor([[0.5, -2.0], [-1.0, 0.0], [0.0, 3.0]])
    assert network.module(x).tolist() == [[2.5, 0.5], [1.0, -1.0], [3.0, 0.0]]
    assert network.original([x[0]]).tolist() == [2.5, 0.5]


def test_gzipped_files_are_read(absolute_onnx: Path, tmp_path: Path) -> None:
    path = tmp_path / "absolute.onnx.gz"
    path.write_bytes(gzip.compress(absolute_onnx.read_bytes()))
    assert load_onnx(path).outputs == 2


@pytest.mark.parametrize("shape", [[4], [1, 4], ["batch", 4]])
def test_any_way_to_state_the_batch_is_understood(
    write_onnx: Callable[..., Path], shape: list[object]
) -> None:
    network = load_onnx(write_onnx([GEMM], {"W": W}, shape, [3] if shape == [4] else [1, 3]))
    assert network.shapes == ((4,),)
    x = torch.rand(5, 4)
    assert torch.allclose(network.module(x), x @ torch.from_numpy(W), atol=1e-6)
    BoundedModule(network.computing_in(torch.float64), torch.zeros(1, 4, dtype=torch.float64))


def test_what_is_reshaped_to_a_batch_of_one_takes_any_batch(write_onnx: Callable[..., Path]) -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["f"]),
        helper.make_node("MatMul", ["f", "W"], ["y"]),
    ]
    path = write_onnx(nodes, {"W": W, "shape": np.array([1, -1])}, [1, 2, 2], [1, 3])
    network = load_onnx(path)
    x = torch.rand(3, 2, 2)
    assert torch.allclose(network.module(x), x.flatten(1) @ torch.from_numpy(W), atol=1e-6)


def test_a_layout_that_fails_is_not_described(
    write_onnx: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "torch.fx.graph_module._WrappedCall._generate_error_message", None
    )  # imports a compiler
    path = write_onnx([helper.make_node("MatMul", ["x", "W"], ["y"])], {"W": W[:1]}, [1], [3])
    network = load_onnx(path)
    assert network.module(torch.ones(2, *network.shapes[0])).shape == (2, 3)


def test_a_network_that_mixes_examples_is_refused(write_onnx: Callable[..., Path]) -> None:
    path = write_onnx(
        [
            helper.make_node("Flatten", ["x"], ["f"], axis=0),
            helper.make_node("Softmax", ["f"], ["y"], axis=1),
        ],
        {},
        [1, 4],
        [1, 4],
    )
    with pytest.raises(NetworkError, match="batch of exactly one example"):
        load_onnx(path)


def test_unsupported_nodes_are_named(write_onnx: Callable[..., Path]) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["h"]),
        helper.make_node("Frobnicate", ["h"], ["y"], name="odd one"),
    ]
    with pytest.raises(NetworkError, match=r"node 'odd one' of operator Frobnicate"):
        load_onnx(write_onnx(nodes, {"W": W}, [1, 4], [1, 3]))


def test_weights_that_are_not_finite_are_refused(write_onnx: Callable[..., Path]) -> None:
    bad = W.copy()
    bad[1, 1] = np.nan
    with pytest.raises(NetworkError, match="1 of the 12 values of 'W' are NaN or infinite"):
        load_onnx(write_onnx([GEMM], {"W": bad}, [1, 4], [1, 3]))


def test_corrupt_and_missing_files_are_refused(tmp_path: Path, absolute_onnx: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(absolute_onnx.read_bytes()[:50])
    for path in (broken, tmp_path / "missing.onnx"):
        with pytest.raises(NetworkError, match="cannot read the network file"):
            load_onnx(path)


def test_a_conversion_that_computes_something_else_is_refused(
    absolute_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([x.abs().sum(1) + 1e-3, x[:, 0]], 1)

    monkeypatch.setattr(load.onnx2fx, "convert", lambda _: Wrong())
    with pytest.raises(NetworkError, match=r"differs from onnxruntime by 0\.001"):
        load_onnx(absolute_onnx)


def test_a_node_that_was_converted_to_what_does_not_run_is_named(write_onnx: Callable[..., Path]) -> None:
    node = helper.make_node("MeanVarianceNormalization", ["x"], ["y"], name="normal", axes=[0, 2, 3])
    with pytest.raises(NetworkError, match=r"net\.onnx: node '.*' was converted to what does not run"):
        load_onnx(write_onnx([node], {}, [1, 4], [1, 4]))
