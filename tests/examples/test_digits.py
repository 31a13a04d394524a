"""The digits demo: it runs, writes what it promises, and its numbers are in the order they must be."""

from __future__ import annotations

import csv
import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "examples" / "digits"
MODULES = ("demo", "model", "attack", "report", "train", "weight_certification")

for needed in ("matplotlib", "rich", "sklearn"):
    pytest.importorskip(needed)


@pytest.fixture(scope="module")
def example():
    """The example's modules by name, imported the way `python demo.py` does."""
    before = {name: sys.modules.pop(name, None) for name in MODULES}
    sys.path.insert(0, str(FOLDER))
    try:
        yield {name: importlib.import_module(name) for name in MODULES}
    finally:
        sys.path.remove(str(FOLDER))
        for name in MODULES:
            sys.modules.pop(name, None)
        sys.modules.update({name: module for name, module in before.items() if module is not None})


@pytest.fixture(scope="module")
def run(example, tmp_path_factory):
    """The numbers of one short run and the folder it wrote to."""
    folder = tmp_path_factory.mktemp("digits")
    status = example["demo"].main(["--samples", "8", "--eps", "0.01,0.05", "--out", str(folder)])
    assert status == 0
    return json.loads((folder / "digits.json").read_text()), folder


@pytest.mark.parametrize("widths", [False, True])
def test_prints_one_table_with_widths_on_request(example, tmp_path, capsys, widths):
    options = ["--samples", "4", "--eps", "0.01", "--methods", "IBP,CROWN", "--out", str(tmp_path)]
    assert example["demo"].main([*options, *(["--widths"] if widths else [])]) == 0
    text = capsys.readouterr().out
    assert text.count("Certified accuracy of 4 held-out digits") == 1 and "L∞" in text and "L2" in text
    assert ("mean width" in text) is widths


def test_writes_plot_and_numbers(run):
    numbers, folder = run
    assert (folder / "digits.png").read_bytes().startswith(b"\x89PNG")
    with (folder / "digits.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == [n["method"] for n in numbers]
    assert len(numbers) == 2 * 2 * 5  # norms, radii, methods


def test_nothing_certified_beyond_what_survives(run):
    for n in run[0]:
        assert 0 <= n["certified"] <= n["attacked"] <= n["clean"] <= 1


def test_tighter_methods_certify_no_less(run):
    by = {(n["norm"], n["eps"], n["method"]): n for n in run[0]}
    order = ("IBP", "CROWN-IBP", "CROWN")
    for norm, eps in {(n["norm"], n["eps"]) for n in run[0]}:
        certified = [by[norm, eps, method]["certified"] for method in order]
        widths = [by[norm, eps, method]["width"] for method in order]
        assert certified == sorted(certified)
        assert widths == sorted(widths, reverse=True)
        assert by[norm, eps, "forward+backward"]["width"] <= by[norm, eps, "forward"]["width"] * (1 + 1e-5)


def test_smaller_radius_certifies_no_less(run):
    by = {(n["norm"], n["eps"], n["method"]): n for n in run[0]}
    for norm, eps, method in by:
        if eps == 0.05:
            assert by[norm, eps, method]["certified"] <= by[norm, 0.01, method]["certified"]


def test_shipped_weights(example):
    model, path = example["model"], example["model"].WEIGHTS
    assert path.stat().st_size < 60_000
    x, labels = model.digits(held_out=True)
    assert float(x.min()) >= 0 and float(x.max()) <= 1
    correct = (model.load()(x).argmax(1) == labels).double().mean()
    assert correct > 0.9


def test_held_out_images_are_not_trained_on(example):
    train, test = (example["model"].digits(held_out=h)[0] for h in (False, True))
    assert len(test) == example["model"].HELD_OUT
    assert len(train) + len(test) == 1797


def test_margins(example):
    C = example["demo"].margins(torch.tensor([0, 3]), classes=4)
    logits = torch.tensor([[1.0, 2.0, 3.0, 5.0]]).expand(2, -1)
    assert torch.einsum("bko,bo->bk", C, logits).tolist() == [[-1, -2, -4], [4, 3, 2]]


def test_missing_weights(example, tmp_path, capsys):
    assert example["demo"].main(["--weights", str(tmp_path / "none.pt")]) == 1
    assert "train.py" in capsys.readouterr().err


def test_missing_data_set(example, monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert example["demo"].main(["--samples", "8", "--out", str(tmp_path)]) == 1
    assert "pip install scikit-learn" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--samples", "0"], ["--samples", "x"], ["--eps", "a"], ["--eps", "-1"], ["--norms", "l7"]]
)
def test_bad_arguments(example, arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        example["demo"].main(arguments)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_unknown_method_lists_the_methods(example, capsys, tmp_path):
    assert example["demo"].main(["--samples", "1", "--methods", "CRAWN", "--out", str(tmp_path)]) == 1
    assert "CROWN-IBP" in capsys.readouterr().err


def test_a_wrong_certificate_stops_the_demo(example, monkeypatch, capsys, tmp_path):
    demo = example["demo"]

    def always(bounded, x, C, ptb, method):
        return torch.ones(len(x), dtype=torch.bool), 0.0, 0.0

    monkeypatch.setattr(demo, "certify", always)
    status = demo.main(["--samples", "40", "--eps", "0.3", "--norms", "linf", "--out", str(tmp_path)])
    assert status == 1
    assert "fell to the attack" in capsys.readouterr().err


def test_training_runs(example, tmp_path):
    path = tmp_path / "weights.pt"
    assert example["train"].main(["--epochs", "1", "--out", str(path)]) == 0
    assert example["model"].load(path)(torch.zeros(1, 64)).shape == (1, 10)


def test_weight_certification(example, tmp_path, capsys):
    options = ["--smoke", "--out", str(tmp_path), "--methods", "IBP,CROWN", "--input-eps", "0.002"]
    assert example["weight_certification"].main(options) == 0
    assert "all layers" in capsys.readouterr().out
    assert (tmp_path / "weight_certification.png").read_bytes().startswith(b"\x89PNG")
    with (tmp_path / "weight_certification.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 * 3  # layers, methods and the attack
    radius = {(row["layer"], row["method"]): float(row["radius"]) for row in rows}
    for layer in {row["layer"] for row in rows}:
        assert 0 < radius[layer, "IBP"] <= radius[layer, "CROWN"] <= radius[layer, "attack"]


def test_weight_certification_explains_an_unknown_method(example, capsys):
    assert example["weight_certification"].main(["--smoke", "--methods", "CRWON"]) == 1
    assert "unknown method 'CRWON'" in capsys.readouterr().err


def test_last_layer_is_bounded_exactly(example):
    """The margins are affine in the last weights: the certified radius is that of the attack."""
    certification = example["weight_certification"]
    model = example["model"].load()
    x, labels = example["model"].digits(held_out=True)
    images = certification.Images(x[:4], certification.margins(labels[:4]), 0.0)
    bounded = certification.BoundedModule(model, images.x)
    proved = certification.certifier(bounded, ["6.weight"], images, 2.0, "IBP")
    alive = certification.attacker(model, ["6.weight"], images, 2.0)
    with torch.no_grad():
        hidden, margin = model[:-1](images.x), (images.C @ model(images.x).unsqueeze(2)).squeeze(2)
    radius = (margin / (2**0.5 * hidden.norm(dim=1, keepdim=True))).amin(1)  # margin / |(h, -h)|
    for b, r in enumerate(radius.tolist()):
        assert proved(0.999 * r)[b] and alive(0.999 * r)[b]
        assert not proved(1.001 * r)[b] and not alive(1.001 * r)[b]
