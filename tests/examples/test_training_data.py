"""Data sets in their standard formats, made small here, and what is said of broken ones."""

from __future__ import annotations

import gzip
import json
import pickle
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

EXAMPLES = Path(__file__).parents[2] / "examples"
pytest.importorskip("sklearn")
Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def data() -> Iterator[ModuleType]:
    sys.path.insert(0, str(EXAMPLES))
    try:
        from training import data

        yield data
    finally:
        sys.path.remove(str(EXAMPLES))
        for name in [n for n in sys.modules if n.partition(".")[0] == "training"]:
            del sys.modules[name]


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">{values.ndim + 1}i", 0x800 + values.ndim, *values.shape) + values.tobytes()


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_mnist(data: ModuleType, tmp_path: Path) -> None:
    for name, count in (("train", 5), ("t10k", 3)):
        (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(idx(pixels(count, 28, 28)))
        labels = gzip.compress(idx(np.arange(count, dtype=np.uint8)))
        (tmp_path / f"{name}-labels-idx1-ubyte.gz").write_bytes(labels)
    train, test = data.load("mnist", tmp_path)
    x, y = train.get(torch.tensor([4, 0]))
    assert len(train) == 5 and len(test) == 3 and x.shape == (2, 1, 28, 28) and y.tolist() == [4, 0]
    assert torch.equal(x[1, 0], torch.from_numpy(pixels(5, 28, 28)[0]).float() / 255)
    whole = (tmp_path / "train-images-idx3-ubyte").read_bytes()
    for broken, message in ((whole[:-7], "no whole IDX file"), (b"", "no IDX file"), (b"x" * 99, "no whole")):
        (tmp_path / "train-images-idx3-ubyte").write_bytes(broken)
        with pytest.raises(data.TrainingError, match=message):
            data.load("mnist", tmp_path)


def test_cifar10(data: ModuleType, tmp_path: Path) -> None:
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        batch = {b"data": pixels(2, 3072), b"labels": [0, 9]}
        (tmp_path / name).write_bytes(pickle.dumps(batch))
    train, test = data.load("cifar10", tmp_path)
    assert len(train) == 10 and train.get(torch.tensor([0]))[0].shape == (1, 3, 32, 32) and len(test) == 2

    class Harmful:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return eval, ("1/0",)

    (tmp_path / "test_batch").write_bytes(pickle.dumps({b"data": Harmful(), b"labels": []}))
    with pytest.raises(data.TrainingError, match="asks for builtins"):
        data.load("cifar10", tmp_path)
    (tmp_path / "test_batch").unlink()
    with pytest.raises(data.TrainingError, match="has no test_batch; it holds"):
        data.load("cifar10", tmp_path)


def test_tinyimagenet(data: ModuleType, tmp_path: Path) -> None:
    for name in ("n1", "n2"):
        folder = tmp_path / "train" / name / "images"
        folder.mkdir(parents=True)
        Image.fromarray(pixels(64, 64, 3)).save(folder / "0.JPEG")
    images = tmp_path / "val" / "images"
    images.mkdir(parents=True)
    Image.fromarray(pixels(64, 64)).save(images / "v.JPEG")
    (tmp_path / "val" / "val_annotations.txt").write_text("v.JPEG\tn2\t0\t0\t1\t1\n")
    train, test = data.load("tinyimagenet", tmp_path)
    x, y = train.first(2).get(torch.tensor([1]))
    assert x.shape == (1, 3, 64, 64) and y.tolist() == [1] and test.get(torch.tensor([0]))[1].tolist() == [1]
    assert train.classes == 2
    (tmp_path / "train" / "n2" / "images" / "0.JPEG").write_bytes(b"no image")
    with pytest.raises(data.TrainingError, match="no image that can be read"):
        data.load("tinyimagenet", tmp_path)[0].get(torch.tensor([1]))


def test_imagenet64(data: ModuleType, tmp_path: Path) -> None:
    for name in ("train_data_batch_1", "train_data_batch_2", "val_data"):
        np.savez(tmp_path / name, data=pixels(2, 3 * 64 * 64), labels=[1, 1000])
    train, test = data.load("imagenet64", tmp_path)
    assert train.labels.tolist() == [0, 999, 0, 999] and len(test) == 2
    assert train.get(torch.tensor([0]))[0].shape == (1, 3, 64, 64)
    np.savez(tmp_path / "val_data", data=pixels(2, 3 * 64 * 64), labels=[0, 1000])
    with pytest.raises(data.TrainingError, match=r"labels in .* go from -1 to 999"):
        data.load("imagenet64", tmp_path)
    (tmp_path / "val_data.npz").write_bytes(b"PK")
    with pytest.raises(data.TrainingError, match="no archive"):
        data.load("imagenet64", tmp_path)


def test_grown_images_keep_their_pixels(data: ModuleType) -> None:
    train, _ = data.digits()
    large = data.grown(train.first(2), 4)
    assert large.images.shape == (2, 3, 32, 32)
    assert torch.equal(large.images[:, 1, ::4, 3::4], train.images[:2, 0])


@pytest.mark.parametrize("form", ["json", "tsv"])
def test_sentences(data: ModuleType, tmp_path: Path, form: str) -> None:
    from training import sentences

    rows = [("a fine film", 1), ("a dull dull plot", 0), ("a fine plot", 1)]
    for name in ("train", "dev"):
        if form == "json":
            listed = [{"sentence": text, "label": label} for text, label in rows]
            (tmp_path / f"{name}.json").write_text(json.dumps(listed))
        else:
            lines = ["sentence\tlabel", *(f"{text}\t{label}" for text, label in rows)]
            (tmp_path / f"{name}.tsv").write_text("\n".join(lines))
    with pytest.raises(data.TrainingError, match="synonyms"):
        sentences.corpus(tmp_path, 4)
    (tmp_path / "synonyms.json").write_text(json.dumps({"fine": ["dull", "unheard-of"], "film": ["plot"]}))
    found = sentences.corpus(tmp_path, 3)
    assert found.train.ids.shape == (3, 3) and found.train_labels.tolist() == [1, 0, 1]
    assert len(found.synonyms) == 4  # fine and dull, film and plot, both ways
    table = sentences.embedding(found, 2)
    source = sentences.SentenceSource(found.train, found.train_labels, table, 1)
    (x, padding), labels, ptb = source.batch(torch.tensor([0, 1]), 1.0, train=True)
    assert x.shape == (2, 3, 2) and not padding.any() and labels.tolist() == [1, 0]
    hull = ptb.hull(x)
    assert hull.width[0].sum() > 0 and hull.width[1].sum() == 0  # "dull" has no synonyms
    (tmp_path / f"dev.{form}").write_text("{" if form == "json" else "text\nx")
    with pytest.raises(data.TrainingError, match=r"JSON|header"):
        sentences.corpus(tmp_path, 3)


def test_made_up_reviews_can_be_told_apart(data: ModuleType) -> None:
    from training import sentences

    found = sentences.corpus(None, 11, 20, 10)
    assert found.train.mask.any() and sorted(set(found.test_labels.tolist())) == [0, 1]
