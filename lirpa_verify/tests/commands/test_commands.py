"""The commands answer by exit code, by text and by JSON, and name what is wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from lirpa_verify.commands.shared import time_left
from torch import nn

from lirpa_core.cli.group import cli


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in arguments])


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_proved(absolute_onnx: Path, write_query: Callable[..., Path]) -> None:
    done = run("verify", absolute_onnx, write_query("(assert (>= Y_0 2.1))"))
    assert (done.exit_code, done.output.split()[0]) == (0, "proved")


def test_refuted_writes_the_counterexample(absolute_onnx: Path, write_query: Callable[..., Path]) -> None:
    done = run("verify", absolute_onnx, write_query("(assert (>= Y_0 1.5))", name="big.vnnlib"), "--explain")
    assert done.exit_code == 10
    assert "refuted by attack" in done.output
    lines = Path("big.counterexample").read_text().strip("()\n").split(")\n (")
    values = dict(line.strip("()").split() for line in lines)
    x = [float(values["X_0"]), float(values["X_1"])]
    assert abs(x[0]) + abs(x[1]) >= 1.5
    assert float(values["Y_0"]) >= 1.5


def test_unknown_when_the_time_is_over(absolute_onnx: Path, write_query: Callable[..., Path]) -> None:
    done = run("verify", absolute_onnx, write_query("(assert (>= Y_0 2.000001))"), "--timeout", "1e-6")
    assert (done.exit_code, done.output.split()[0]) == (20, "unknown")


def test_json(absolute_onnx: Path, write_query: Callable[..., Path]) -> None:
    done = run("verify", absolute_onnx, write_query("(assert (>= Y_0 2.1))"), "--json")
    answer = json.loads(done.stdout)
    assert answer["status"] == "proved"
    assert answer["counterexample"] is None
    assert answer["margins"][0][0] >= 0
    assert answer["steps"][0]["step"] == "attack"


def test_a_plot_is_drawn(absolute_onnx: Path, write_query: Callable[..., Path]) -> None:
    run("verify", absolute_onnx, write_query("(assert (>= Y_0 2.0001))"), "--plot", "search.svg")
    assert "worst" in Path("search.svg").read_text() or Path("search.svg").stat().st_size > 1000
    done = run("verify", absolute_onnx, write_query("(assert (>= Y_0 2.1))"), "--plot", "search.nothing")
    assert done.exit_code == 1
    assert "cannot write the picture" in done.output


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("missing.onnx", "p.vnnlib"), 1, "cannot read the network file missing.onnx"),
        (("n.onnx", "missing.vnnlib"), 1, "cannot read the property file missing.vnnlib"),
        (("n.onnx", "p.vnnlib", "--timeout", "0"), 1, "timeout=0.0: expected a positive number"),
        (
            ("n.onnx", "p.vnnlib", "--branching", "none"),
            1,
            "no branching heuristic is called 'none'",
        ),
        (("n.onnx",), 2, "give NETWORK and PROPERTY"),
        (("--instances", "i.csv"), 2, "--instances needs --results"),
        (("--instances", "i.csv", "--results", "o.csv"), 1, "cannot read the list of instances i.csv"),
    ],
)
def test_what_is_wrong_is_named(
    write_query: Callable[..., Path], arguments: tuple[str, ...], code: int, message: str
) -> None:
    write_query("(assert (>= Y_0 0))")
    done = run("verify", *arguments)
    assert done.exit_code == code, done.output
    assert message in done.output


@pytest.fixture
def classifier(relu_net: nn.Module) -> Path:
    x = torch.rand(8, 2)
    batch = torch.export.Dim("batch")
    torch.export.save(torch.export.export(relu_net, (x,), dynamic_shapes=({0: batch},)), "model.pt2")
    labels = relu_net(x).argmax(1)
    labels[0] = (labels[0] + 1) % 3
    np.savez("data.npz", x=x.numpy(), y=labels.numpy())
    return Path("model.pt2")


def test_certify_counts(classifier: Path) -> None:
    done = run("certify", classifier, "data.npz", "--eps", "1e-4", "--eps", "5", "--json", "--plot", "a.svg")
    assert done.exit_code == 0, done.output
    small, large = json.loads(done.stdout)
    assert (small["examples"], small["clean"]) == (8, 7 / 8)
    assert small["certified"] >= large["certified"]
    assert small["certified"] == 7 / 8
    assert [c["verdict"] for c in large["certificates"]].count("wrong") == 1
    assert Path("a.svg").exists()
    table = run("certify", classifier, "data.npz", "--eps", "1e-4", "--limit", "2")
    assert "50.0%" in table.output


def test_certify_goes_on_where_it_was(classifier: Path) -> None:
    asked = ("certify", classifier, "data.npz", "--eps", "1e-4", "--results", "out.csv")
    assert run(*asked, "--limit", "3").exit_code == 0
    before = Path("out.csv").read_bytes()
    assert before.count(b"\n") == 5  # the question, the columns, three examples
    done = run(*asked, "--json", "--jobs", "1")
    assert done.exit_code == 0, done.output
    (only,) = json.loads(done.stdout)
    assert (only["examples"], only["certified"]) == (8, 7 / 8)
    after = Path("out.csv").read_bytes()
    assert after.startswith(before)
    assert after.count(b"\n") == 10
    other = run(*asked, "--timeout", "3")
    assert (other.exit_code, "another question: timeout is 10 there and 3 here" in other.output) == (1, True)


@pytest.mark.parametrize(
    ("seconds", "left", "words"),
    [
        (0.0, 3, ", about 0 s left"),
        (50.0, 3, ", about 1 min 15 s left"),
        (4000.0, 9, ", about 5 h 0 min left"),
    ],
)
def test_the_time_left_is_estimated(seconds: float, left: int, words: str) -> None:
    assert time_left(time.monotonic() - seconds, 2, left) == words
    assert time_left(time.monotonic(), 0, left) == time_left(time.monotonic(), 2, 0) == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missing.pt2", "data.npz", "--eps", "1"), "cannot read the model missing.pt2"),
        (("model.pt2", "missing.npz", "--eps", "1"), "cannot read the data set missing.npz"),
        (("model.pt2", "data.npz", "--eps", "1", "--norm", "many"), "--norm 'many'"),
        (("model.pt2", "data.npz", "--eps", "-1"), "eps must be finite and not negative"),
        (("model.pt2", "bare.npz", "--eps", "1"), "bare.npz has no labels"),
    ],
)
def test_certify_names_what_is_wrong(classifier: Path, arguments: tuple[str, ...], message: str) -> None:
    np.savez("bare.npz", x=np.zeros((2, 2), np.float32))
    done = run("certify", *arguments)
    assert (done.exit_code, message in done.output) == (1, True), done.output


def test_both_commands_are_listed() -> None:
    """That a broken one breaks nothing is tested with the core."""
    shown = run("--help")
    assert {"certify", "verify"} <= {line.split()[0] for line in shown.output.splitlines() if line.strip()}
