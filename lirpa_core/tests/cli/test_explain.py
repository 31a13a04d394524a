"""`lirpa explain` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from lirpa_core import BoundedTensor, PerturbationLpNorm
from lirpa_core.cli.group import cli


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("explain")
    model, x = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(2, 3)
    shapes = ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(model, (x,), dynamic_shapes=shapes), path / "model.pt2")
    torch.save(x, path / "x.pt")
    torch.save(BoundedTensor(x, PerturbationLpNorm(eps=0.1)), path / "bounded.pt")
    torch.save([x], path / "list.pt")
    np.save(path / "x.npy", x.numpy())
    return path


def run(folder: Path, data: str, *options: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["explain", str(folder / "model.pt2"), str(folder / data), *options])
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("data", "options"), [("x.pt", ("--eps", "0.1")), ("x.npy", ("--eps", "0.1")), ("bounded.pt", ())]
)
def test_a_table_and_advice(folder: Path, data: str, options: tuple[str, ...]) -> None:
    code, text = run(folder, data, *options, "--method", "crown-ibp")
    assert (
        code == 0 and "aten.relu" in text and "width in" in text and text.startswith("CROWN-IBP: mean width")
    )
    assert text.strip().splitlines()[-1].endswith(".")


def test_json(folder: Path) -> None:
    code, text = run(folder, "x.pt", "--eps", "0.1", "--norm", "2", "--json")
    found = json.loads(text)
    assert (
        code == 0 and found["method"] == "CROWN-Optimized" and found["reason"] and len(found["layers"]) == 3
    )
    assert found["from_inputs"] + sum(row["lost"] for row in found["layers"]) == pytest.approx(1)


def test_auto_says_what_it_chose_and_fits_the_budget(folder: Path) -> None:
    code, text = run(folder, "x.pt", "--eps", "0.1", "--time-budget", "1e-9", "--memory-budget", "1000000")
    assert code == 0 and text.startswith("IBP: mean width") and "auto chose IBP: " in text
    code, text = run(folder, "x.pt", "--eps", "0.1", "--method", "CROWN", "--time-budget", "1")
    assert code == 2 and "method='auto' chooses" in text


@pytest.mark.parametrize(
    ("data", "options", "says"),
    [
        ("x.pt", (), "give --eps"),
        ("list.pt", ("--eps", "1"), "not a tensor"),
        ("model.pt2", ("--eps", "1"), "cannot read"),
        ("x.pt", ("--eps", "-1"), "eps"),
        ("x.pt", ("--eps", "1", "--method", "CRWN"), "unknown method"),
        ("x.pt", ("--eps", "1", "--output", "nowhere"), "nowhere"),
    ],
)
def test_what_is_wrong_is_said_in_one_message(
    folder: Path, data: str, options: tuple[str, ...], says: str
) -> None:
    code, text = run(folder, data, *options)
    assert code == 2 and says in text and "Traceback" not in text
