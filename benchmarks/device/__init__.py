"""Everything that has to be seen on a GPU, in one call of minutes: `python -m benchmarks.device`.

Parts, the most valuable first: bounds of the device against those of the CPU, hidden synchronisation, times and
memory, compilation and graph capture, the tests of the suite that need the device. The figures are written after every
step, so that a run that is cut short loses nothing.

    PYTHONPATH=lirpa_core/src:lirpa_ops_vision/src:... python -m benchmarks.device --json device.json
    python -m benchmarks.device --dry-run                   # all of it on the CPU at small sizes
    python -m benchmarks.device --page docs/benchmarks/device.md --from device.json
"""
