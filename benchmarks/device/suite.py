"""Part `suite`: the tests that are marked as needing a CUDA device."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

from benchmarks.checkout import HERE
from benchmarks.device.run import Item, Run

#: Where a dry run looks, which only collects.
_DRY = "lirpa_core/tests/perturbations/test_tensors.py"


def suite(run: Run) -> None:
    """Run them in a process of their own; a dry run only collects some."""
    run.attempt({"tests": "marked cuda"}, lambda: _pytest(run))


def _pytest(run: Run) -> Item:
    if importlib.util.find_spec("pytest") is None:
        return {"failed": "pytest is not installed here (--wheels takes it from a folder)"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "cuda"]
    command += ["--collect-only", _DRY] if run.dry else ["lirpa_core/tests", *_others()]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    try:
        done = subprocess.run(
            command, cwd=HERE, env=environment, capture_output=True, text=True, check=False,
            timeout=max(run.left, 1),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"failed": "no time left"}
    lines = done.stdout.splitlines()
    found: Item = {"status": done.returncode, "last": lines[-1].strip("= ") if lines else ""}
    if done.returncode not in {0, 5}:  # 5: no test was found
        found["failed"] = " ".join([*lines[-12:], *done.stderr.splitlines()[-3:]])[:2000]
    return found


def _others() -> list[str]:
    folders = [*HERE.glob("lirpa_*/tests"), HERE / "tests"]
    names = [str(folder.relative_to(HERE)) for folder in sorted(folders)]
    return [name for name in names if name != "lirpa_core/tests"]
