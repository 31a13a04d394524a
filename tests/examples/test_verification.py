"""The braking controller: its files are what its program writes, and the command gives the answers that they expect."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "verification"


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    results = tmp_path_factory.mktemp("verification") / "out.csv"
    command = [sys.executable, "-m", "lirpa_core", "verify", "--instances", str(FOLDER / "instances.csv")]
    subprocess.run(
        [*command, "--results", str(results), "--timeout", "120"],
        check=True,
        cwd=results.parent,
        capture_output=True,
    )
    with results.open() as file:
        # VNN-COMP's columns: category, network, property, seconds of preparation, answer, seconds.
        return {Path(row[2]).stem: row[4] for row in csv.reader(file)}


def test_every_answer_is_the_expected_one(answers: dict[str, str]) -> None:
    with (FOLDER / "instances.csv").open() as file:
        expected = {Path(row["vnnlib"]).stem: row["expected"] for row in csv.DictReader(file)}
    assert answers == expected
    assert set(expected.values()) == {"sat", "unsat"}
