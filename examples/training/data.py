"""Image data sets in their standard formats, from a local folder. Nothing is downloaded."""

from __future__ import annotations

import gzip
import math
import pickle
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.errors import TrainingError

#: Test images of scikit-learn's digits; the same split as in `examples/digits`.
_HELD_OUT = 500


class Lazy:
    """Images that are decoded when they are asked for; indexed like a tensor of bytes `[N, C, H, W]`."""

    def __init__(self, paths: list[Path], size: int) -> None:
        self.paths, self.size = paths, size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Tensor) -> Tensor:
        from PIL import Image

        found = []
        for i in index.tolist():
            try:
                with Image.open(self.paths[i]) as image:
                    pixels = np.asarray(image.convert("RGB").resize((self.size, self.size)))
            except OSError as error:
                raise TrainingError(f"{self.paths[i]} is no image that can be read: {error}") from error
            found.append(torch.from_numpy(pixels.copy()).movedim(-1, 0))
        return torch.stack(found)


@dataclass(frozen=True, eq=False)
class Images:
    """Images and their classes.

    Attributes:
        images: Bytes or floats in [0, 1], `[N, C, H, W]`.
        labels: `[N]`.
        classes: Number of classes.
    """

    images: Any
    labels: Tensor
    classes: int

    def __len__(self) -> int:
        return len(self.labels)

    def get(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Images in [0, 1] and their classes."""
        x = self.images[index]
        return (x.float() / 255 if x.dtype == torch.uint8 else x), self.labels[index]

    def first(self, count: int | None) -> Images:
        """The first so many."""
        if count is None or count >= len(self):
            return self
        index = torch.arange(count)
        images = (
            self.images[index]
            if isinstance(self.images, Tensor)
            else Lazy(self.images.paths[:count], self.images.size)
        )
        return Images(images, self.labels[:count], self.classes)


Split = tuple[Images, Images]


def digits(folder: Path | None = None) -> Split:
    """The 8 × 8 handwritten digits of scikit-learn, which bring their data with them."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise TrainingError(
            "the digits come with scikit-learn: pip install scikit-learn, or choose other data with --data"
        ) from error
    images, labels = load_digits(return_X_y=True)
    x = torch.from_numpy(images).float().reshape(-1, 1, 8, 8) / 16
    y = torch.from_numpy(labels).long()
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    test, train = order[:_HELD_OUT], order[_HELD_OUT:]
    return Images(x[train], y[train], 10), Images(x[test], y[test], 10)


def mnist(folder: Path) -> Split:
    """MNIST in IDX files, packed with gzip or not."""

    def part(prefix: str) -> Images:
        x = _idx(_one_of(folder, f"{prefix}-images-idx3-ubyte", f"{prefix}-images.idx3-ubyte"), 3)
        y = _idx(_one_of(folder, f"{prefix}-labels-idx1-ubyte", f"{prefix}-labels.idx1-ubyte"), 1)
        return _checked(folder, x.unsqueeze(1), y.long(), 10)

    return part("train"), part("t10k")


def cifar10(folder: Path) -> Split:
    """CIFAR-10 in its Python batches."""
    if (folder / "cifar-10-batches-py").is_dir():
        folder = folder / "cifar-10-batches-py"

    def part(names: list[str]) -> Images:
        batches = [_unpickle(_one_of(folder, name)) for name in names]
        x = np.concatenate([b[b"data"] for b in batches]).reshape(-1, 3, 32, 32)
        y = np.concatenate([b[b"labels"] for b in batches])
        return _checked(folder, torch.from_numpy(x), torch.from_numpy(y).long(), 10)

    return part([f"data_batch_{i}" for i in range(1, 6)]), part(["test_batch"])


def tinyimagenet(folder: Path) -> Split:
    """Tiny-ImageNet: `train/WNID/images/*.JPEG`, and `val` with `val_annotations.txt` or in folders."""
    if (folder / "tiny-imagenet-200").is_dir():
        folder = folder / "tiny-imagenet-200"
    names = sorted(p.name for p in _one_of(folder, "train").iterdir() if p.is_dir())
    if not names:
        raise TrainingError(f"{folder / 'train'} has no folder for a class.")
    number = {name: i for i, name in enumerate(names)}
    found: list[tuple[Path, int]] = []
    for name in names:
        files = sorted(p for p in (folder / "train" / name).rglob("*") if p.suffix.lower() in _IMAGE_FILES)
        found += [(path, number[name]) for path in files]
    notes = _one_of(folder, "val") / "val_annotations.txt"
    held: list[tuple[Path, int]] = []
    if notes.is_file():
        for line in notes.read_text(encoding="utf-8").splitlines():
            file, name, *_ = line.split("\t")
            if name not in number:
                raise TrainingError(f"{notes} names the class {name!r}, for which train has no folder.")
            held.append((folder / "val" / "images" / file, number[name]))
    else:
        for name in names:
            files = sorted(p for p in (folder / "val" / name).rglob("*") if p.suffix.lower() in _IMAGE_FILES)
            held += [(path, number[name]) for path in files]

    def part(pairs: list[tuple[Path, int]]) -> Images:
        if not pairs:
            raise TrainingError(f"{folder} holds no images; expected train/CLASS/images/*.JPEG and val.")
        return Images(Lazy([p for p, _ in pairs], 64), torch.tensor([y for _, y in pairs]), len(names))

    return part(found), part(held)


_IMAGE_FILES = frozenset({".jpeg", ".jpg", ".png"})


def imagenet64(folder: Path) -> Split:
    """ImageNet at 64 × 64: `train_data*.npz` (or `.npy` batches) and `val_data.npz` with `data` and `labels`."""

    def part(pattern: str) -> Images:
        files = sorted(folder.glob(pattern))
        if not files:
            raise _missing(folder, pattern)
        xs, ys = [], []
        for file in files:
            try:
                with np.load(file) as archive:
                    xs.append(archive["data"].reshape(-1, 3, 64, 64).astype(np.uint8, copy=False))
                    ys.append(np.asarray(archive["labels"], dtype=np.int64) - 1)  # they count from one
            except (OSError, ValueError, KeyError, EOFError) as error:
                raise TrainingError(
                    f"{file} is no archive of 64 × 64 images with data and labels: {error}"
                ) from error
        x, y = torch.from_numpy(np.concatenate(xs)), torch.from_numpy(np.concatenate(ys))
        return _checked(folder, x, y, 1000)

    return part("train_data*.npz"), part("val_data*.npz")


#: Loaders by name.
DATA_SETS: Mapping[str, Callable[[Path], Split]] = {
    "digits": digits,
    "mnist": mnist,
    "cifar10": cifar10,
    "tinyimagenet": tinyimagenet,
    "imagenet64": imagenet64,
}


def load(name: str, folder: Path | None) -> Split:
    """A data set by name.

    Args:
        name: One of `DATA_SETS`.
        folder: Where its files lie; `digits` needs none.

    Raises:
        TrainingError: If the folder or a file is missing or cannot be read; says which.
    """
    if name == "digits":
        return digits()
    if folder is None:
        raise TrainingError(f"--data {name} needs --folder with its files: {FILES[name]}.")
    if not folder.is_dir():
        raise TrainingError(
            f"there is no folder {folder}. It should hold {FILES[name]}; nothing is downloaded."
        )
    return DATA_SETS[name](folder)


#: What a folder holds, for help and errors.
FILES: Mapping[str, str] = {
    "mnist": "train-images-idx3-ubyte, train-labels-idx1-ubyte and the same of t10k (.gz or not)",
    "cifar10": "data_batch_1 to data_batch_5 and test_batch (the Python version)",
    "tinyimagenet": "train/CLASS/images/*.JPEG and val",
    "imagenet64": "train_data*.npz and val_data.npz, arrays data and labels",
}


def grown(images: Images, factor: int) -> Images:
    """Images enlarged by a whole factor and with three channels, so that small data fit larger models."""
    x, _ = images.get(torch.arange(len(images)))
    x = x.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    return Images(x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x, images.labels, images.classes)


def _missing(folder: Path, name: str) -> TrainingError:
    listed = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
    return TrainingError(f"{folder} has no {name}; it holds {listed}.")


def _one_of(folder: Path, *names: str) -> Path:
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.exists():
                return path
    raise _missing(folder, names[0])


def _idx(path: Path, rank: int) -> Tensor:
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        magic, *shape = struct.unpack_from(f">{rank + 1}i", raw)
    except (OSError, EOFError, struct.error, gzip.BadGzipFile) as error:
        raise TrainingError(f"{path} is no IDX file: {error}") from error
    body = np.frombuffer(raw, np.uint8, offset=4 * (rank + 1))
    if magic != 0x800 + rank or body.size != math.prod(shape):
        raise TrainingError(
            f"{path} is no whole IDX file of {rank} dimensions: it begins with {magic:#x} and has {body.size} bytes "
            f"for the shape {shape}. Was the download cut off?"
        )
    return torch.from_numpy(body.reshape(shape).copy())


def _unpickle(path: Path) -> dict[bytes, Any]:
    try:
        with path.open("rb") as file:
            found: dict[bytes, Any] = _Arrays(file, encoding="bytes").load()
        return {key: found[key] for key in (b"data", b"labels")}
    except (pickle.UnpicklingError, EOFError, KeyError, ValueError, TypeError) as error:
        raise TrainingError(f"{path} is no Python batch of CIFAR-10: {error}") from error


class _Arrays(pickle.Unpickler):
    """Reads arrays and plain values, and refuses to run anything else that a file may ask for."""

    _ALLOWED = frozenset({("_reconstruct", "multiarray"), ("ndarray", "numpy"), ("dtype", "numpy")})

    def find_class(self, module: str, name: str) -> Any:
        if (name, module.rpartition(".")[2]) in self._ALLOWED and module.startswith("numpy"):
            return super().find_class(module, name)
        if (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _checked(folder: Path, x: Tensor, y: Tensor, classes: int) -> Images:
    if len(x) != len(y) or len(y) == 0:
        raise TrainingError(f"{folder} holds {len(x)} images and {len(y)} labels.")
    if int(y.min()) < 0 or int(y.max()) >= classes:
        raise TrainingError(
            f"labels in {folder} go from {int(y.min())} to {int(y.max())}; expected 0 to {classes - 1}."
        )
    return Images(x, y, classes)
