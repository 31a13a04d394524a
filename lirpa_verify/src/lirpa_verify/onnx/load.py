"""ONNX files as networks: converted by onnx2fx, replayed by onnxruntime, and compared before use."""

from __future__ import annotations

import contextlib
import copy
import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnx2fx
import torch
from google.protobuf.message import DecodeError
from onnx import ModelProto
from torch import Tensor, fx, nn

from lirpa_verify.errors import NetworkError
from lirpa_verify.network import Flat, Network, Shape, refuse_non_finite
from lirpa_verify.onnx.batching import any_batch
from lirpa_verify.onnx.runtime import Runtime

#: How far the converted network may be from onnxruntime, relative to outputs larger than one.
TOLERANCE: Final = 1e-5

#: What a converter, and the code that it makes, raise for a network that they cannot do.
_FAILURES: Final = (
    onnx2fx.Onnx2FxError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)

#: Random inputs of the comparison; two of them are also compared as one batch.
_SAMPLES: Final = 3


def load_onnx(path: str | Path) -> Network:
    """A network from an ONNX file (`.onnx`, or gzipped), in evaluation mode.

    Args:
        path: The file.

    Raises:
        NetworkError: If it cannot be read, has operators that cannot be converted (named by node), has
            weights that are not finite, or computes something else than onnxruntime; says how far off.
    """
    path = Path(path)
    model = _read(path)
    name = path.name
    _refuse_unsupported(model, name)
    runtime = Runtime(model, name)
    return _laid_out(_convert(any_batch(model), name), runtime, name)


def _convert(model: ModelProto, name: str) -> nn.Module:
    try:
        module: nn.Module = onnx2fx.convert(model)
    except _FAILURES as error:
        raise NetworkError(f"{name}: cannot be converted: {error}") from error
    refuse_non_finite(module, name)
    return module.eval().requires_grad_(requires_grad=False)


def _read(path: Path) -> ModelProto:
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            return onnx.load_from_string(gzip.decompress(data))
        return onnx.load(str(path)) if data else onnx.load_from_string(b"\x00")
    except (OSError, EOFError, zlib.error, DecodeError, ValueError) as error:
        raise NetworkError(f"cannot read the network file {path}: {error}") from error


def _refuse_unsupported(model: ModelProto, name: str) -> None:
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    supported: dict[str, set[str]] = {}
    missing = []
    for i, node in enumerate(model.graph.node):
        domain = node.domain
        if domain not in supported:
            supported[domain] = set(onnx2fx.get_supported_ops(domain))
        if node.op_type not in supported[domain]:
            label = f"'{node.name}'" if node.name else f"number {i} (which gives '{node.output[0]}')"
            missing.append(f"node {label} of operator {domain + '::' if domain else ''}{node.op_type}")
    if missing:
        listed = "; ".join(missing[:5]) + (f"; and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise NetworkError(
            f"{name} (opset {opsets.get('', '?')}): cannot convert {listed}. Register the operator with "
            f"onnx2fx.register_op, or export the network with operators that it knows."
        )


def _laid_out(module: nn.Module, runtime: Runtime, name: str) -> Network:
    """The module with the examples in front: in place of the file's leading size of one, or before all sizes."""
    generator = np.random.default_rng(0)
    samples = [
        [generator.uniform(-1, 1, shape).astype(runtime.dtype) for shape in runtime.shapes]
        for _ in range(_SAMPLES)
    ]
    wanted = np.stack([runtime(sample) for sample in samples])  # [N, K]
    flat = Flat(module).eval()
    double = copy.deepcopy(flat).double()
    _compare(_one_by_one(double.module, samples, name), wanted, name)
    layouts = [runtime.shapes]
    if all(shape[:1] == (1,) for shape in runtime.shapes):
        layouts.insert(0, tuple(shape[1:] for shape in runtime.shapes))
    for shapes in layouts:
        if _batches(double, shapes, samples, wanted):
            dtype = torch.from_numpy(samples[0][0]).dtype
            return Network(flat, shapes, dtype, _Replay(runtime), wanted.shape[1], name, straight=True)
    raise NetworkError(
        f"{name}: the network computes with a batch of exactly one example, so its bounds cannot be computed for "
        f"many sets at once; export it with a batch size that is left open"
    )


class _Unwrapped(nn.Module):
    """A module that may fail, without what torch.fx does then: it imports PyTorch's compiler to print where it was."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> Any:
        return self.module.forward(*inputs)


class _Replay:
    """Runs one example through onnxruntime."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def __call__(self, example: Sequence[Tensor]) -> Tensor:
        arrays = [
            x.detach().cpu().numpy().reshape(shape)
            for x, shape in zip(example, self._runtime.shapes, strict=True)
        ]
        return torch.from_numpy(self._runtime(arrays))


class _Noticing(fx.Interpreter):
    """Runs a converted network node by node, and knows at which one it is."""

    at: str = "its first node"

    def run_node(self, n: fx.Node) -> Any:
        self.at = f"node '{n.name}'"
        return super().run_node(n)


def _one_by_one(
    module: nn.Module, samples: Sequence[Sequence[np.ndarray[Any, Any]]], name: str
) -> np.ndarray[Any, Any]:
    """What the converted network gives for each example, `[N, K]`.

    Raises:
        NetworkError: If it cannot be run, which onnxruntime could; says at which node.
    """
    found = []
    with torch.no_grad():
        for sample in samples:
            inputs = [torch.from_numpy(x).double() for x in sample]
            try:
                result = _Unwrapped(module)(*inputs)
            except _FAILURES as error:
                raise NetworkError(
                    f"{name}: {_failing(module, inputs)} was converted to what does not run: {error}"
                ) from error
            parts = result if isinstance(result, list | tuple) else [result]
            found.append(torch.cat([p.flatten() for p in parts]).numpy())
    return np.stack(found)


def _failing(module: nn.Module, inputs: Sequence[Tensor]) -> str:
    """The node of a converted network that fails."""
    if not isinstance(module, fx.GraphModule):
        return "a node"
    running = _Noticing(module)
    running.extra_traceback = False
    with contextlib.suppress(*_FAILURES):
        running.run(*inputs)
    return running.at


def _compare(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any], name: str) -> None:
    """Refuse outputs that differ from onnxruntime's.

    Raises:
        NetworkError: Saying how far off they are.
    """
    if found.shape != wanted.shape:
        raise NetworkError(
            f"{name}: the converted network gives {found.shape[1]} outputs, onnxruntime {wanted.shape[1]}"
        )
    distance = np.abs(found - wanted).max(initial=0.0)
    scale = max(1.0, float(np.abs(wanted).max(initial=0.0)))
    if not distance <= TOLERANCE * scale:  # also where it is NaN
        raise NetworkError(
            f"{name}: the converted network differs from onnxruntime by {distance:.3g} on random inputs (outputs "
            f"of up to {scale:.3g}; at most {TOLERANCE:g} of that is allowed), so nothing is proved with it"
        )


def _batches(
    module: Flat,
    shapes: Sequence[Shape],
    samples: Sequence[Sequence[np.ndarray[Any, Any]]],
    wanted: np.ndarray[Any, Any],
) -> bool:
    """Whether the module gives the same outputs for a batch."""
    inputs = [
        torch.from_numpy(np.stack([sample[i].reshape(shape) for sample in samples])).double()
        for i, shape in enumerate(shapes)
    ]
    try:
        with torch.no_grad():
            found = Flat(_Unwrapped(module.module))(*inputs).numpy()
    except (RuntimeError, ValueError, IndexError):
        return False
    scale = max(1.0, float(np.abs(wanted).max(initial=0.0)))
    return found.shape == wanted.shape and bool((np.abs(found - wanted) <= TOLERANCE * scale).all())
