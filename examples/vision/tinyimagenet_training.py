"""Certified training on Tiny-ImageNet: 200 classes, which loss fusion bounds by one row.

Without a folder with Tiny-ImageNet it trains on the digits of scikit-learn, enlarged to 64 × 64 with three
channels. Many devices: start it with `torchrun --nproc_per_node=N`.

    python tinyimagenet_training.py --folder ~/tiny-imagenet-200 --model wide_resnet
    python tinyimagenet_training.py --verify --load out/checkpoint.pt --folder ~/tiny-imagenet-200
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from models import ZOO
from training.zoo import ZooProgram

PROGRAM = ZooProgram(
    "tinyimagenet_training",
    __doc__,
    ZOO,
    images="tinyimagenet",
    title="Tiny-ImageNet",
    size=64,
    model="cnn_7layer_bn",
    eps=1 / 255,
)


def main(arguments: list[str] | None = None) -> int:
    """Run the program; returns the exit status."""
    return PROGRAM.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
