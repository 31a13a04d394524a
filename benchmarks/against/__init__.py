"""Two versions of lirpa against each other: `python -m benchmarks --against COMMIT`."""
