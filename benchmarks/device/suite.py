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
    """Run them folder by folder, each in a process of its own; a dry run only collects some."""
    for folder in run.steps([_DRY] if run.dry else _folders()):
        run.attempt({"tests": f"marked cuda in {folder}"}, lambda folder=folder: _pytest(run, folder))  # type: ignore[misc]


def _pytest(run: Run, folder: str) -> Item:
    missing = [name for name in ("pytest", "sybil", "hypothesis") if importlib.util.find_spec(name) is None]
    if missing:
        return {"failed": f"{', '.join(missing)} is not installed here (--wheels takes it from a folder)"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "cuda"]
    command += ["--collect-only", folder] if run.dry else [folder]
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


def _folders() -> list[str]:
    """The core's tests first, then those of the other packages and of the whole."""
    folders = [*HERE.glob("lirpa_*/tests"), HERE / "tests"]
    return sorted((str(folder.relative_to(HERE)) for folder in folders), key=lambda name: "core" not in name)
