"""Data sets and models from files."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from lirpa_core.errors import InputError
from lirpa_core.plugins import default_registry
from lirpa_verify.errors import NetworkError
from lirpa_verify.network import in_evaluation

#: Names under which files have inputs and labels.
_INPUTS: Final = ("x", "X", "images", "inputs", "data")
_LABELS: Final = ("y", "Y", "labels", "targets")


def load_data(path: str | Path) -> tuple[Tensor, Tensor]:
    """Examples and labels from an `.npz` file.

    Raises:
        InputError: If it cannot be read, or lacks one of them; says which names it has.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, AttributeError) as error:
        raise InputError(f"cannot read the data set {path}: {error}; expected an .npz file") from error
    found = []
    for what, names in (("inputs", _INPUTS), ("labels", _LABELS)):
        name = next((n for n in names if n in arrays), None)
        if name is None:
            raise InputError(
                f"{path} has no {what}: expected one of {', '.join(names)}, found {', '.join(arrays)}"
            )
        found.append(torch.from_numpy(arrays[name]))
    x, y = found
    if not bool(x.isfinite().all()):
        raise InputError(f"{path}: some inputs are NaN or infinite")
    return (x if x.is_floating_point() else x.float()), y.long()


def load_model(path: str | Path) -> nn.Module:
    """A model from a file, in evaluation mode: saved with `torch.export.save`, or whatever an installed reader reads.

    Raises:
        CaptureError: If it cannot be read.
    """
    for entry in default_registry().readers:
        if entry.reader.accepts(path):
            return in_evaluation(entry.reader.open(path).module)
    try:
        program = torch.export.load(path)
    except Exception as error:  # torch raises whatever unpacking raises
        raise NetworkError(
            f"cannot read the model {path}: {error}; expected a file of torch.export.save, or an ONNX file"
        ) from error
    return in_evaluation(program.module())
