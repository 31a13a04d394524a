"""The comparison of two versions: what is chosen, measured, kept and shown. No test depends on how fast anything is."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import math
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from benchmarks import checkout
from benchmarks.__main__ import main
from benchmarks.against import command, train, worker
from benchmarks.against.cells import CELLS, METHODS, Cell
from benchmarks.against.client import Crew, Version, WorkerError
from benchmarks.against.compare import Compared, Plan, Side, compare, largest_difference
from benchmarks.against.networks import NETWORKS, VARIABLE, Network, mlp, weights_file
from benchmarks.against.roofline import Machine, measure_machine, work_of
from benchmarks.against.table import markdown, rows

TINY = Network("a tiny MLP", lambda: mlp(4, 8, 3), (4,), 0.1, weights="tiny")
MACHINE = Machine(1e9, 1e9)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(NETWORKS, "tiny", TINY)


class TestCells:
    def test_every_cell_can_be_named_and_built(self):
        assert len({c.name for c in CELLS}) == len(CELLS)
        for network in {c.network for c in CELLS} - {"cnn-7", "resnet-18"}:  # large; the same code makes them
            model, x, _ = NETWORKS[network].build(2, None)
            assert model(x).shape[0] == 2

    def test_needed_factor_reaches_three_times_the_reference(self):
        with_ratio = [c for c in CELLS if c.ratio is not None]
        assert len(with_ratio) == 47  # the cells of the goal's table that have a number
        assert all(c.ratio * c.needed == pytest.approx(3) for c in with_ratio)
        assert Cell("mlp", 1, "ibp").needed is None

    def test_choice(self):
        def names(*args, long=False):
            return [c.name for c in command.choose(*args, long=long)]

        assert names(["mlp-1-crown"], []) == ["mlp-1-crown"]  # a whole name, not a part of mlp-1-crown-ibp
        assert names(["mlp-1-c"], []) == ["mlp-1-crown-ibp", "mlp-1-crown"]
        assert names(["lstm"], ["ibp"]) == ["lstm-1-ibp", "lstm-16-ibp"]
        assert "resnet-18-1-crown" not in names([], [])
        assert names(["resnet-18-1-crown"], []) == ["resnet-18-1-crown"]
        assert len(names([], [], long=True)) == len(CELLS)


class TestWeights:
    def test_trained_weights_are_loaded(self, tmp_path):
        model = mlp(4, 8, 3)
        path = tmp_path / "weights.pt"
        torch.save({"tiny": {"weights": list(model.state_dict().values()), "x": torch.rand(2, 4)}}, path)
        found, x, trained = TINY.build(5, path)
        assert trained and x.shape == (5, 4)
        assert all(torch.equal(a, b) for a, b in zip(found.parameters(), model.parameters(), strict=True))
        assert len({tuple(row) for row in x.tolist()}) == 5  # copies differ
        assert TINY.build(5, None)[2] is False

    def test_a_named_file_has_to_exist(self, tmp_path, monkeypatch):
        with pytest.raises(FileNotFoundError, match="none-such"):
            weights_file(tmp_path / "none-such")
        monkeypatch.setenv(VARIABLE, str(tmp_path / "neither"))
        with pytest.raises(FileNotFoundError, match="neither"):
            weights_file(None)

    def test_training_makes_weights_that_fit(self, tmp_path):
        found = train.train(NETWORKS["mnist-cnn"], epochs=1, batch=1000)
        path = tmp_path / "made.pt"
        torch.save({"mnist_cnn_adv": found}, path)
        assert NETWORKS["mnist-cnn"].build(3, path)[2]


class TestWorker:
    def test_answers(self, tiny, tmp_path):
        request = {"network": "tiny", "batch": 2, "method": "CROWN", "weights": None, "options": {}}
        reply, opened = worker.answer({"do": "open", **request}, None)
        assert reply["trained"] is False
        file = tmp_path / "bounds"
        worker.answer({"do": "bounds", "file": str(file)}, opened)
        lower, upper = torch.load(file, weights_only=True)
        assert lower.shape == (2, 3) and bool((lower <= upper).all())
        assert all(s > 0 for s in worker.answer({"do": "time", "seconds": 0.01}, opened)[0]["seconds"])
        assert all(
            s > 0 for s in worker.answer({"do": "time", "seconds": 0.01, "cpu": True}, opened)[0]["seconds"]
        )
        work = worker.answer({"do": "work"}, opened)[0]
        assert work["flops"] > 2 * 2 * (4 * 8 + 8 * 3) and work["bytes"] > 0
        with pytest.raises(ValueError, match="dance"):
            worker.answer({"do": "dance"}, opened)

    def test_memory_is_measured_in_a_copy_of_the_process(self):
        program = """
import torch
torch.set_num_threads(1)
from benchmarks.against.worker import Opened, in_a_fork, peak_of
print(in_a_fork(lambda: peak_of(Opened(lambda: torch.ones(2**24).sum(), False))))
try:
    in_a_fork(lambda: 1 / 0)
except RuntimeError as error:
    print(error)
"""
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=checkout.HERE, capture_output=True, text=True, check=True
        )
        mib, failure = done.stdout.splitlines()
        assert 0.9 * 64 < float(mib) < 2 * 64
        assert failure == "ZeroDivisionError: division by zero"

    def test_a_process_of_this_checkout_against_itself(self, tmp_path):
        this = Version("this", checkout.HERE, checkout.write_metadata(checkout.HERE, tmp_path))
        with Crew(this, 1) as one, Crew(this, 1) as other:
            found = compare(Cell("lstm", 1, "ibp"), one, other, Plan(repeat=2, turn=0.001, memory=False))
        assert found.old.error is None and found.new.error is None
        assert found.difference == 0.0 and found.width == 1.0
        assert found.old.seconds > 0 and found.old.calls >= 2
        assert found.new.flops > 0 and found.new.bytes > 0

    def test_failures_are_told(self, tmp_path):
        this = Version("this", checkout.HERE, checkout.write_metadata(checkout.HERE, tmp_path / "metadata"))
        elsewhere = replace(this, root=tmp_path)
        with Crew(elsewhere, 1) as crew:
            process = crew.worker("times")
            with pytest.raises(WorkerError, match="no cell is open"):
                process.ask("time", 60, seconds=0)
            with pytest.raises(WorkerError, match="which is not of"):
                process.open(Cell("lstm", 1, "ibp"), 60, None, {})
            with pytest.raises(WorkerError, match="over 0 s"):
                process.ask("work", 0)


class TestRoofline:
    def test_work_of_a_product(self):
        a, b = torch.rand(8, 4), torch.rand(4, 6)
        flops, moved = work_of(lambda: a @ b.T.contiguous().T)
        assert flops == 2 * 8 * 4 * 6
        assert moved == 4 * (2 * 24 + 8 * 4 + 4 * 6 + 8 * 6)  # the copy, then the product; views are free

    def test_machine(self):
        machine = measure_machine(size=64, numbers=2**12)
        assert machine.flops > 0 and machine.bytes > 0
        assert Machine(10, 1).least_seconds(20, 1) == 2 and Machine(10, 1).least_seconds(1, 5) == 5


def test_difference_is_relative():
    old = torch.tensor([0.0, 100.0]), torch.tensor([2.0, 101.0])
    new = torch.tensor([0.0, 100.0]), torch.tensor([2.5, 101.0])
    worst, width = largest_difference(old, new)
    assert worst == pytest.approx(0.25)  # half a unit of a bound of size 2
    assert width == pytest.approx(3.5 / 3)
    assert largest_difference(old, old) == (0.0, 1.0)


def test_difference_sees_what_is_not_finite():
    good = torch.zeros(1), torch.ones(1)
    bad = torch.zeros(1), torch.full((1,), math.nan)
    assert largest_difference(good, bad)[0] == math.inf
    endless = torch.zeros(1), torch.full((1,), math.inf)
    assert largest_difference(good, endless)[0] == math.inf
    assert largest_difference(endless, endless)[0] == 0.0


class TestTable:
    cell = next(c for c in CELLS if c.name == "mlp-1-crown")  # needs 1.2 times

    def test_row(self):
        old, new = Side(0.3, 5, 40.0, 10, 10), Side(0.1, 5, 10.0, 5 * 10**7, 10)
        (row,) = rows([self.cell], {self.cell.name: Compared(old, new, difference=1e-7)}, MACHINE)
        assert row.columns == (
            "CROWN", "300", "100", "3.00 ×", "1.20 met", "40", "10", "4.00 ×", "1.0e-07", "0.05", "50% (FLOP)",
        )  # fmt: skip
        page = markdown(
            [row],
            "old",
            "new",
            {"threads": 1, "device": "x", "torch": "2", "python": "3", "clock": "wall"},
            MACHINE,
        )
        assert page.count("| CROWN |") == 1 and "MLP" in page

    def test_failure_is_shown(self):
        found = {self.cell.name: Compared(Side(0.1), Side(error="over 9 s"))}
        (row,) = rows([self.cell], found, MACHINE)
        assert row.columns[1] == "new: over 9 s"


class TestCommand:
    @pytest.fixture
    def measured(self, monkeypatch):
        seen = []

        def fake(cell, old, new, plan):
            seen.append(cell.name)
            return Compared(Side(0.2), Side(0.1), difference=0.0)

        monkeypatch.setattr(command, "compare", fake)
        monkeypatch.setattr(
            command, "version", lambda commit, _: Version(str(commit), checkout.HERE, checkout.HERE)
        )
        monkeypatch.setattr(command, "measure_machine", lambda: MACHINE)
        monkeypatch.setattr(checkout, "fingerprint", lambda _: "same")
        return seen

    def test_resumes_and_writes(self, measured, tmp_path, capsys, monkeypatch):
        kept, page = tmp_path / "kept.json", tmp_path / "page.md"
        arguments = ["--against", "abc", "--json", str(kept), "--markdown", str(page)]
        assert main([*arguments, "--cell", "lstm-1-ibp"]) == 0
        assert main([*arguments, "--cell", "lstm-1-ibp", "--cell", "mlp-1-ibp"]) == 0
        assert measured == ["lstm-1-ibp", "mlp-1-ibp"]
        assert json.loads(kept.read_text())["cells"].keys() == set(measured)
        assert "MLP" in page.read_text() and "LSTM" in page.read_text()
        monkeypatch.setattr(checkout, "fingerprint", lambda _: "other")
        assert main([*arguments, "--cell", "lstm-1-ibp"]) == 2
        assert "other code" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "extra", [["--cell", "none-such"], ["--repeat", "0"], ["--weights", "/none/such"]]
    )
    def test_bad_arguments(self, extra, capsys):
        assert main(["--against", "abc", *extra]) == 2
        assert "--against:" in capsys.readouterr().err

    def test_list(self, capsys):
        assert main(["--against", "abc", "--list"]) == 0
        printed = capsys.readouterr().out
        assert all(c.name in printed for c in CELLS) and set(METHODS.values()) <= set(
            printed.replace(";", " ").split()
        )


class TestCheckout:
    @pytest.fixture
    def repository(self, tmp_path):
        root = tmp_path / "repository"
        source = root / "lirpa_toy" / "src" / "lirpa_toy"
        source.mkdir(parents=True)
        (source / "__init__.py").write_text("NUMBER = 1\n")
        project = '[project]\nname = "lirpa-toy"\n[project.entry-points.lirpa]\ntoy = "lirpa_toy.plugin"\n'
        (root / "lirpa_toy" / "pyproject.toml").write_text(project)
        (root / "other").mkdir()
        (root / "other" / "file").write_text("x")
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        for arguments in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "first"]):
            subprocess.run(["git", *arguments], cwd=root, check=True)
        return root

    def test_a_commit_is_laid_down_without_what_changed_later(self, repository, tmp_path):
        (repository / "lirpa_toy" / "src" / "lirpa_toy" / "__init__.py").write_text("NUMBER = 2\n")
        root = checkout.extract("HEAD", tmp_path / "there", repository)
        assert [p.name for p in root.iterdir()] == ["lirpa_toy"]
        (source,) = checkout.sources(root)
        assert (source / "lirpa_toy" / "__init__.py").read_text() == "NUMBER = 1\n"
        assert checkout.fingerprint(root) != checkout.fingerprint(repository)
        with pytest.raises(ValueError, match="none-such"):
            checkout.extract("none-such", tmp_path / "nowhere", repository)

    def test_metadata_makes_plugins_known(self, repository, tmp_path, monkeypatch):
        folder = checkout.write_metadata(repository, tmp_path / "metadata")
        monkeypatch.syspath_prepend(folder)
        importlib.invalidate_caches()
        found = {p.name: p.value for p in importlib.metadata.entry_points(group="lirpa")}
        assert found["toy"] == "lirpa_toy.plugin"

    def test_metadata_of_this_checkout_names_its_plugins(self, tmp_path):
        folder = checkout.write_metadata(checkout.HERE, tmp_path)
        program = (
            "import importlib.metadata as m, sys;"
            "print(sorted({p.value.partition('.')[0] for p in m.entry_points(group='lirpa')}))"
        )
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(folder)!r}); {program}"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.strip() == str(sorted(s.parent.name for s in checkout.sources(checkout.HERE)))
