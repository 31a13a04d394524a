"""The training programs: they run, resume where they were killed, and refuse what cannot work."""

from __future__ import annotations

import csv
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

EXAMPLES = Path(__file__).parents[2] / "examples"

for needed in ("rich", "sklearn"):
    pytest.importorskip(needed)


@pytest.fixture(autouse=True)
def importable() -> Iterator[None]:
    """What the programs import beside themselves, found as when they are run."""
    before, modules = list(sys.path), set(sys.modules)
    sys.path[:0] = [str(EXAMPLES), str(EXAMPLES / "vision")]
    yield
    sys.path[:] = before
    for name in set(sys.modules) - modules:
        if name.partition(".")[0] in {"training", "language", "models", "simple_training"}:
            del sys.modules[name]


def program(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, EXAMPLES / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def metrics(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_simple_training_smoke(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main = program("vision/simple_training.py").main
    assert main(["--smoke", "--model", "mlp", "--out", str(tmp_path)]) == 0
    rows = metrics(tmp_path)
    assert [row["epoch"] for row in rows] == ["1.0", "2.0"]
    assert all(float(r["test_error"]) <= float(r["verified_error"]) <= 1 for r in rows)
    capsys.readouterr()
    verify = ["--smoke", "--model", "mlp", "--verify", "--load", str(tmp_path / "checkpoint.pt")]
    assert main(verify) == 0
    assert f"verified error {float(rows[-1]['verified_error']):.2%}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "arguments"),
    [
        ("vision/simple_training.py", ["--norm", "0", "--eps", "2", "--model", "mlp", "--bound_type", "IBP"]),
        ("vision/cifar_training.py", []),
        ("vision/tinyimagenet_training.py", []),
        ("vision/imagenet64_training.py", []),
        ("sequence/train.py", ["--slices", "2"]),
        ("vision/weight_perturbation_training.py", []),
        ("training/evidence.py", ["--only", "IBP"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_smoke(path: str, arguments: list[str], tmp_path: Path) -> None:
    assert program(path).main([*arguments, "--smoke", "--out", str(tmp_path)]) == 0
    written = "evidence.csv" if "evidence" in path else "metrics.csv"
    assert (tmp_path / written).is_file()


def test_evidence_of_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--smoke", "--only", "transformer", "--out", str(tmp_path)]
    assert program("language/evidence.py").main(arguments) == 0
    table = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [[cell.strip() for cell in row[:2]] for row in table[2:]] == [
        ["always the more frequent class", ""], ["transformer", "plain"], ["transformer", "robust"]
    ]  # fmt: skip
    for row in table[2:]:
        clean, verified = (float(cell.strip(" %")) for cell in row[2:4])
        assert 0 <= verified <= clean <= 100
    assert len(metrics(tmp_path / "transformer-robust")) == 2


KILLED = """
import os, signal, sys
from training import loop
before = loop.Run.save
def save(self):
    before(self)
    if self.epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)
loop.Run.save = save
import simple_training
simple_training.main(sys.argv[1:])
"""


def test_a_killed_run_resumes_and_ends_with_the_same_metrics(tmp_path: Path) -> None:
    usual = [
        "--model",
        "mlp",
        "--num_epochs",
        "3",
        "--verify_samples",
        "16",
        "--batch_size",
        "400",
        "--lr",
        "0.01",
    ]
    usual += [
        "--scheduler_opts",
        "start=2,length=1",
        "--bound_type",
        "IBP",
        "--objective",
        "sabr",
        "--attack_steps",
        "1",
    ]
    main = program("vision/simple_training.py").main
    assert main([*usual, "--out", str(tmp_path / "whole")]) == 0
    paths = [p for p in sys.path if p]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *usual, "--out", str(tmp_path / "killed")],
        # As many threads as here, since sums are rounded in another order by another number of them.
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "OMP_NUM_THREADS": str(torch.get_num_threads()),
            "MKL_NUM_THREADS": str(torch.get_num_threads()),
        },
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert len(metrics(tmp_path / "killed")) == 2
    assert main([*usual, "--resume", "--out", str(tmp_path / "killed")]) == 0
    whole, resumed = (metrics(tmp_path / name) for name in ("whole", "killed"))
    for a, b in zip(whole, resumed, strict=True):
        assert {k: v for k, v in a.items() if k != "seconds"} == {
            k: v for k, v in b.items() if k != "seconds"
        }


class TestBadInput:
    def run(
        self, capsys: pytest.CaptureFixture[str], *arguments: str, path: str = "vision/simple_training.py"
    ) -> str:
        assert program(path).main([*arguments]) == 1
        return capsys.readouterr().err

    def test_a_checkpoint_of_another_model(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        weights = program("vision/simple_training.py").MODELS["mlp"](10, 8).state_dict()
        saved = {f"model.{name}": value for name, value in weights.items()}
        state = {"format": 1, "model": saved, "task": "simple_training", "key": {"model": "mlp"}}
        torch.save(state, tmp_path / "checkpoint.pt")
        load = ("--verify", "--load", str(tmp_path / "checkpoint.pt"))
        assert "is of another model" in self.run(capsys, "--model", "cnn", *load)
        resume = ("--resume", "--out", str(tmp_path))
        assert "trained with --data None" in self.run(capsys, "--model", "mlp", *resume)
        (tmp_path / "checkpoint.pt").write_bytes(b"PK half of a file")
        assert "cannot be read as a checkpoint" in self.run(capsys, *load)
        assert "no checkpoint" in self.run(capsys, "--verify", "--load", str(tmp_path / "none.pt"))

    def test_data_that_is_missing(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "needs --folder" in self.run(capsys, "--data", "mnist")
        missing = ("--data", "mnist", "--folder", str(tmp_path / "none"))
        assert "nothing is downloaded" in self.run(capsys, *missing)
        assert "train-images" in self.run(capsys, "--data", "mnist", "--folder", str(tmp_path))
        language = "language/train.py"
        assert "no train.json" in self.run(capsys, "--data", str(tmp_path), path=language)

    def test_schedules_and_methods(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        options = ("--model", "mlp", "--out", str(tmp_path))
        text = self.run(capsys, *options, "--scheduler_opts", "start=3,length=-1")
        assert "before it starts" in text
        assert "unknown method" in self.run(capsys, *options, "--bound_type", "CRAWN")

    def test_a_loss_that_is_not_a_number_stops_and_names_the_layer(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        text = self.run(
            capsys, "--model", "mlp", "--out", str(tmp_path), "--lr", "1e30", "--clip", "0", "--scheduler_name",
            "FixedScheduler", "--bound_type", "IBP", "--num_epochs", "1",
        )  # fmt: skip
        assert "infinite or NaN" in text and " module '" in text
