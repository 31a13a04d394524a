"""Certified training of the models in the zoo on CIFAR-10, with loss fusion, and their verification.

Without a folder with CIFAR-10 it trains on the digits of scikit-learn, enlarged to 32 × 32 with three channels:
enough to see every part work. Many devices: start it with `torchrun --nproc_per_node=N`.

    python cifar_training.py --folder ~/cifar-10-batches-py --model cnn_7layer_bn --eps 0.00784
    python cifar_training.py --verify --load out/checkpoint.pt --folder ~/cifar-10-batches-py
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from models import ZOO
from training.zoo import ZooProgram

PROGRAM = ZooProgram(
    "cifar_training",
    __doc__,
    ZOO,
    images="cifar10",
    title="CIFAR-10",
    size=32,
    model="cnn_7layer_bn",
    eps=2 / 255,
)


def main(arguments: list[str] | None = None) -> int:
    """Run the program; returns the exit status."""
    return PROGRAM.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
