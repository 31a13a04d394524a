"""Speed and memory of the bounds, measured against plain PyTorch in the same run: `python -m benchmarks`."""
