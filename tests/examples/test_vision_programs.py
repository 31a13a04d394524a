"""The programs of the vision example: they explain themselves, run, and draw."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "vision"

for needed in ("matplotlib", "rich", "sklearn"):
    pytest.importorskip(needed)


def run(program: str, *arguments: str) -> str:
    """Standard output of a program that must succeed."""
    done = subprocess.run(
        [sys.executable, str(FOLDER / program), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("program", ["simple_verification.py", "efficient_convolution.py"])
def test_help(program: str) -> None:
    assert "--out" in run(program, "--help")


def test_simple_verification(tmp_path: Path) -> None:
    out = run("simple_verification.py", "--samples", "6", "--epochs", "1", "--out", str(tmp_path))
    assert all(method in out for method in ("IBP", "forward", "CROWN"))
    assert (tmp_path / "verification.png").stat().st_size > 0


def test_efficient_convolution(tmp_path: Path) -> None:
    out = run("efficient_convolution.py", "--models", "small_cnn", "--out", str(tmp_path))
    assert "yes" in out
    assert (tmp_path / "convolution.png").stat().st_size > 0
