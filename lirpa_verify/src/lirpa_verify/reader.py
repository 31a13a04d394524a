"""ONNX files as sources of `BoundedModule`, as a reader of the core."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from lirpa_core.capture import ModuleReader
from lirpa_core.plugins import LiveModel

#: What names of such files end in.
ENDINGS: Final = (".onnx", ".onnx.gz")


class OnnxReader(ModuleReader):
    """Reads an ONNX file: it is converted to a module, and that is compared with onnxruntime before it is used."""

    name = "onnx"
    summary = "an ONNX file (.onnx, .onnx.gz), as a path"

    def accepts(self, source: object) -> bool:
        return isinstance(source, str | Path) and str(source).endswith(ENDINGS)

    def open(self, source: Any) -> LiveModel:
        from lirpa_verify.onnx import load_onnx  # imports onnxruntime, which only those who read a file need

        return LiveModel(load_onnx(source).module.module, straight=True)
