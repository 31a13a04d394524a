"""Training for weights that move: the loss is bounded over balls around the weights, and the images stay.

Such a loss is flat around the weights found (Xu et al. 2020, section 4.3): quantised or drifting weights within the
balls keep it below the bound. The tested error is that of all weights in the balls.

    python weight_perturbation_training.py --norm 2 --bound_type CROWN-IBP --eps 0.1
    python weight_perturbation_training.py --data mnist --folder ~/mnist --eps 0.05
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from training import data, loop, options
from training.data import Images
from training.sources import Batch

from lirpa_core import BoundedParameter, PerturbationLpNorm


@dataclass(frozen=True, eq=False)
class MovingWeights:
    """Images as they are, and weights in balls of the radius that is asked for.

    Attributes:
        images: The split.
        weights: The perturbed parameters.
        norm: The exponent p of their balls.
        device: Where batches go.
    """

    images: Images
    weights: tuple[BoundedParameter, ...]
    norm: float
    device: str = "cpu"

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, index: Tensor, eps: float, *, train: bool) -> Batch:
        """The images at `index`; sets the radius of the weights' balls."""
        for weight in self.weights:
            weight.ptb = PerturbationLpNorm(norm=self.norm, eps=eps)
        x, labels = self.images.get(index)
        return Batch(x.to(self.device), labels.to(self.device), None)


def network(pixels: int, hidden: int, classes: int, norm: float) -> nn.Module:
    """Three linear layers, each weight in a ball of its own."""
    sizes = (pixels, hidden, hidden, classes)
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(sizes):
        layer = nn.Linear(inputs, outputs)
        layer.weight = BoundedParameter(layer.weight.data, PerturbationLpNorm(norm=norm, eps=0.0))
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def make(settings: argparse.Namespace) -> loop.Task:
    """The task that the options describe."""
    train, test = data.load(settings.data, settings.folder)
    if settings.smoke:
        train, test = train.first(48), test.first(8)
    norm = math.inf if settings.norm == "inf" else float(settings.norm)
    pixels = train.get(train.labels[:1] * 0)[0].numel()
    model = network(pixels, settings.hidden, train.classes, norm)
    weights = tuple(p for p in model.parameters() if isinstance(p, BoundedParameter))
    key = {name: getattr(settings, name) for name in ("data", "hidden", "norm", "eps", "seed")}
    sources = [MovingWeights(part, weights, norm, settings.device) for part in (train, test)]
    return loop.Task("weight_perturbation_training", model, *sources, key=key)


def smoke(settings: argparse.Namespace) -> None:
    """Narrow layers."""
    settings.hidden, settings.batch_size, settings.verify_samples = 8, 16, 8


def main(arguments: list[str] | None = None) -> int:
    """Run the program; returns the exit status."""
    usage = options.parser(
        __doc__,
        eps=0.05,
        bound_type="CROWN-IBP",
        loss_fusion=True,
        batch_size=32,
        lr=2e-3,
        verify_samples=100,
    )
    add = usage.add_argument
    add("--data", choices=("digits", "mnist"), default="digits", help="default: %(default)s")
    add("--folder", type=Path, help=f"of MNIST: {data.FILES['mnist']}")
    add("--norm", choices=("1", "2", "inf"), default="2", help="of the weights' balls (default: %(default)s)")
    add("--hidden", type=int, default=32, help="width of the layers (default: %(default)s)")
    return loop.main(make, usage, arguments, smoke=smoke)


if __name__ == "__main__":
    sys.exit(main())
