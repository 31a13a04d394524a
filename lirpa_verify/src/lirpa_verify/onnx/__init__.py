"""Networks from ONNX files."""

from lirpa_verify.onnx.load import load_onnx

__all__ = ["load_onnx"]
