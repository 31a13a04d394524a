"""Certified training of an LSTM that reads an image in slices, a few rows at a time.

The images are the digits of scikit-learn, or MNIST from a folder. All pixels may move within an L-infinity ball.

    python train.py --eps 0.02 --slices 4
    python train.py --data mnist --folder ~/mnist --slices 7 --hidden 64 --eps 0.1
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from training import data, loop, options
from training.sources import ImageSource


class Sliced(nn.Module):
    """An LSTM over slices of an image, and a linear layer on its last output."""

    def __init__(self, pixels: int, slices: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.slices = slices
        self.layer, self.head = (
            nn.LSTM(pixels // slices, hidden, batch_first=True),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Class scores `[B, K]` of images `[B, 1, H, W]`."""
        steps = x.flatten(1).unflatten(1, (self.slices, -1))
        return self.head(self.layer(steps)[0][:, -1])  # type: ignore[no-any-return]


def make(settings: argparse.Namespace) -> loop.Task:
    """The task that the options describe."""
    train, test = data.load(settings.data, settings.folder)
    if settings.smoke:
        train, test = train.first(64), test.first(16)
    pixels = train.get(train.labels[:1] * 0)[0].numel()
    if pixels % settings.slices:
        raise data.TrainingError(
            f"--slices {settings.slices}: an image has {pixels} pixels, which it must divide."
        )
    model = Sliced(pixels, settings.slices, settings.hidden, train.classes)
    names = ("data", "slices", "hidden", "eps", "seed")
    key = {name: getattr(settings, name) for name in names}
    sources = [ImageSource(part, device=settings.device) for part in (train, test)]
    return loop.Task("sequence", model, *sources, key=key)


def smoke(settings: argparse.Namespace) -> None:
    """A small layer."""
    settings.hidden = min(settings.hidden, 8)


def main(arguments: list[str] | None = None) -> int:
    """Run the program; returns the exit status."""
    usage = options.parser(__doc__, eps=0.02, bound_type="IBP", lr=3e-3, num_epochs=30)
    add = usage.add_argument
    add("--data", choices=("digits", "mnist"), default="digits", help="default: %(default)s")
    add("--folder", type=Path, help=f"of MNIST: {data.FILES['mnist']}")
    add("--slices", type=int, default=4, help="into which an image is cut (default: %(default)s)")
    add("--hidden", type=int, default=32, help="width of the LSTM (default: %(default)s)")
    return loop.main(make, usage, arguments, smoke=smoke)


if __name__ == "__main__":
    sys.exit(main())
