"""What the programs that train the models of the zoo on images share; they differ in the data and the radius."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from training import data, loop, options
from training.sources import ImageSource


@dataclass(frozen=True)
class ZooProgram:
    """A program over one set of images.

    Attributes:
        name: The task's name.
        text: What the program does, for `--help`.
        zoo: Models by name, made from `classes`, `size` and `width`.
        images: The data set, as `data.load` knows it.
        title: What people call it.
        size: Pixels of a side; the digits that stand in have eight, and are enlarged.
        model: The default model.
        eps: The default radius.
    """

    name: str
    text: str | None
    zoo: Mapping[str, Callable[..., nn.Module]]
    images: str
    title: str
    size: int
    model: str
    eps: float

    def main(self, arguments: list[str] | None = None) -> int:
        """Run the program; returns the exit status."""
        usage = options.parser(
            self.text, loss_fusion=True, eps=self.eps, num_epochs=160, init="ibp", regularize=0.5
        )
        usage.add_argument("--folder", type=Path, help=f"of {self.title}: {data.FILES[self.images]}")
        usage.add_argument(
            "--model", choices=tuple(self.zoo), default=self.model, help="default: %(default)s"
        )
        usage.add_argument(
            "--width", type=float, default=1.0, help="of the model's layers (default: %(default)s)"
        )
        usage.add_argument("--norm", choices=("1", "2", "inf"), default="inf", help="default: %(default)s")
        return loop.main(self._task, usage, arguments, smoke=_smoke)

    def _task(self, settings: argparse.Namespace) -> loop.Task:
        """The task that the options describe."""
        if settings.folder is None:
            train, test = (data.grown(images, self.size // 8) for images in data.digits())
        else:
            train, test = data.load(self.images, settings.folder)
        if settings.smoke:
            train, test = train.first(24), test.first(8)
        model = self.zoo[settings.model](classes=train.classes, size=self.size, width=settings.width)
        norm = math.inf if settings.norm == "inf" else float(settings.norm)
        key = {name: getattr(settings, name) for name in ("model", "width", "norm", "eps", "seed")}
        augment = settings.folder is not None
        sources = (
            ImageSource(train, norm, settings.device, augment, largest=settings.eps),
            ImageSource(test, norm, settings.device, largest=settings.eps),
        )
        return loop.Task(self.name, model, *sources, key=key)


def _smoke(settings: argparse.Namespace) -> None:
    """A narrow model and few images."""
    settings.width, settings.batch_size, settings.verify_samples = min(settings.width, 0.0625), 12, 8
