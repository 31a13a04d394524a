"""Part `suite`: the tests that are marked as needing a CUDA device."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.checkout import HERE
from benchmarks.device.run import Item, Run

#: A test with the fixture `device`.
_ASKS = re.compile(r"def test_\w+\([^)]*\bdevice\b")
#: Where a dry run looks, which only collects.
_DRY = "lirpa_core/tests/perturbations/test_tensors.py"


def suite(run: Run) -> None:
    """Run them in a process of their own; a dry run only collects some."""
    run.attempt({"tests": "marked cuda"}, lambda: _pytest(run, [_DRY] if run.dry else _files()))


def _pytest(run: Run, files: Sequence[str]) -> Item:
    missing = [name for name in ("pytest", "sybil", "hypothesis") if importlib.util.find_spec(name) is None]
    if missing:
        return {"failed": f"{', '.join(missing)} is not installed here (--wheels takes it from a folder)"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "cuda"]
    command += [*(["--collect-only"] if run.dry else []), *files]
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


def _files() -> list[str]:
    """Test files that ask for every device of the machine."""
    files = [*HERE.glob("lirpa_*/tests/**/test_*.py"), *HERE.glob("tests/**/test_*.py")]
    return sorted(str(f.relative_to(HERE)) for f in files if _ASKS.search(f.read_text(encoding="utf-8")))
