"""Certified training on Tiny-ImageNet: 200 classes, which loss fusion bounds by one row.

Without a folder with Tiny-ImageNet it trains on the digits of scikit-learn, enlarged to 64 × 64 with three
channels. Many devices: start it with `torchrun --nproc_per_node=N`.

    python tinyimagenet_training.py --folder ~/tiny-imagenet-200 --model wide_resnet
    python tinyimagenet_training.py --verify --load out/checkpoint.pt --folder ~/tiny-imagenet-200
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from models import ZOO
from training import data, loop, options
from training.sources import ImageSource


def make(settings: argparse.Namespace) -> loop.Task:
    """The task that the options describe."""
    if settings.folder is None:
        train, test = (data.grown(images, 8) for images in data.digits())
    else:
        train, test = data.load("tinyimagenet", settings.folder)
    if settings.smoke:
        train, test = train.first(24), test.first(8)
    model = ZOO[settings.model](classes=train.classes, size=64, width=settings.width)
    norm = math.inf if settings.norm == "inf" else float(settings.norm)
    key = {name: getattr(settings, name) for name in ("model", "width", "norm", "eps", "seed")}
    augment = settings.folder is not None
    sources = (
        ImageSource(train, norm, settings.device, augment, largest=settings.eps),
        ImageSource(test, norm, settings.device, largest=settings.eps),
    )
    return loop.Task("tinyimagenet_training", model, *sources, key=key)


def smoke(settings: argparse.Namespace) -> None:
    """A narrow model and few images."""
    settings.width, settings.batch_size, settings.verify_samples = min(settings.width, 0.0625), 12, 8


def main(arguments: list[str] | None = None) -> int:
    """Run the program; returns the exit status."""
    usage = options.parser(__doc__, loss_fusion=True, eps=1 / 255, num_epochs=160, init="ibp", regularize=0.5)
    usage.add_argument("--folder", type=Path, help=f"of Tiny-ImageNet: {data.FILES['tinyimagenet']}")
    usage.add_argument("--model", choices=tuple(ZOO), default="cnn_7layer_bn", help="default: %(default)s")
    usage.add_argument(
        "--width", type=float, default=1.0, help="of the model's layers (default: %(default)s)"
    )
    usage.add_argument("--norm", choices=("1", "2", "inf"), default="inf", help="default: %(default)s")
    return loop.main(make, usage, arguments, smoke=smoke)


if __name__ == "__main__":
    sys.exit(main())
