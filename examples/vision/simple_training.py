"""Certified training of small image classifiers: an MNIST-sized ResNet and CNNs, in an Lp ball.

Trains on the 8 × 8 digits of scikit-learn unless a folder with MNIST is given. Each epoch prints clean and
verified error on held-out images; OUT holds a checkpoint to resume from and the metrics.

    python simple_training.py --eps 0.1
    python simple_training.py --data mnist --folder ~/mnist --model resnet --norm 2 --eps 1 --loss_fusion
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from models import small_cnn
from models.layers import Residual
from training import data, loop, options
from training.sources import ImageSource


def _mlp(classes: int, size: int) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(size * size, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(),
        nn.Linear(64, classes),
    )  # fmt: skip


def _wide(classes: int, size: int) -> nn.Module:
    left = size // 2
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, 1, 1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 32, 4, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * left * left, 256), nn.ReLU(), nn.Linear(256, classes),
    )  # fmt: skip


def _resnet(classes: int, size: int) -> nn.Module:
    left = size // 4

    def block(channels: int) -> nn.Module:
        first, second = nn.Conv2d(channels, channels, 3, 1, 1), nn.Conv2d(channels, channels, 3, 1, 1)
        return Residual(nn.Sequential(first, nn.ReLU(), second))

    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), block(16), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), block(32),
        nn.Flatten(), nn.Linear(32 * left * left, 100), nn.ReLU(), nn.Linear(100, classes),
    )  # fmt: skip


MODELS = {
    "mlp": _mlp,
    "cnn": small_cnn,
    "cnn_bn": _wide,
    "resnet": _resnet,
}


def make(settings: argparse.Namespace) -> loop.Task:
    """The task that the options describe."""
    train, test = data.load(settings.data, settings.folder)
    if settings.smoke:
        train, test = train.first(96), test.first(32)
    size = train.get(train.labels[:1] * 0)[0].shape[-1]
    norm = math.inf if settings.norm == "inf" else float(settings.norm)
    model = MODELS[settings.model](train.classes, size)
    key = {name: getattr(settings, name) for name in ("data", "model", "norm", "eps", "seed")}
    sources = [ImageSource(part, norm, settings.device, largest=settings.eps) for part in (train, test)]
    return loop.Task("simple_training", model, *sources, key=key)


def main(arguments: list[str] | None = None) -> int:
    """Run the program; returns the exit status."""
    usage = options.parser(__doc__)
    usage.add_argument("--data", choices=("digits", "mnist"), default="digits", help="default: %(default)s")
    usage.add_argument("--folder", type=Path, help=f"of MNIST: {data.FILES['mnist']}")
    usage.add_argument("--model", choices=tuple(MODELS), default="cnn", help="default: %(default)s")
    usage.add_argument(
        "--norm", choices=("0", "1", "2", "inf"), default="inf", help="0: --eps pixels (default: %(default)s)"
    )
    return loop.main(make, usage, arguments)


if __name__ == "__main__":
    sys.exit(main())
