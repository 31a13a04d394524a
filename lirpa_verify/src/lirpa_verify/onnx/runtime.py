"""The network as onnxruntime runs it: the judge of conversions and of counterexamples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import onnxruntime
from onnx import ModelProto

from lirpa_verify.errors import NetworkError

_DTYPES: Final = {"tensor(float)": np.float32, "tensor(double)": np.float64}


class Runtime:
    """A session of onnxruntime on one thread.

    Attributes:
        shapes: Shape of each input, with one for sizes that the file leaves open.
        dtype: Type of the inputs.
    """

    def __init__(self, model: ModelProto, name: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions share no base class
            raise NetworkError(f"{name}: onnxruntime cannot load it: {error}") from error
        inputs = self._session.get_inputs()
        kinds = {i.type for i in inputs}
        if len(kinds) != 1 or not kinds <= _DTYPES.keys():
            raise NetworkError(
                f"{name}: its inputs are of type {', '.join(sorted(kinds))}; expected all float, or all double"
            )
        self.dtype: type[Any] = _DTYPES[kinds.pop()]
        self.shapes = tuple(tuple(d if isinstance(d, int) and d > 0 else 1 for d in i.shape) for i in inputs)
        self._names = [i.name for i in inputs]

    def __call__(self, inputs: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        """All outputs, flattened and joined: `[K]`."""
        feed = {name: x.astype(self.dtype, copy=False) for name, x in zip(self._names, inputs, strict=True)}
        return np.concatenate([np.asarray(y).reshape(-1) for y in self._session.run(None, feed)])
