"""A handwritten digit as a sequence of rows, read by an LSTM; how far may its pixels move?

Trains a small LSTM on scikit-learn's 8 by 8 digits (rows are the steps), then bounds, for held-out images,
the margins of the right class over all others under an L-infinity ball around the pixels. Prints the share of
images that is certified, by method and radius, next to the share that an attack leaves, and draws both.

    python lstm_digits.py
    python lstm_digits.py --images 50 --out /tmp/digits
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm

METHODS = ("IBP", "CROWN-IBP", "CROWN")
RADII = (0.002, 0.005, 0.01, 0.02, 0.04)


class Reader(nn.Module):
    """An LSTM over the rows of an image, and a linear head on its last output."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.rows, self.head = nn.LSTM(8, hidden, batch_first=True), nn.Linear(hidden, 10)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.rows(image)[0][:, -1])


def data() -> tuple[Tensor, Tensor]:
    """All images, `[n, 8, 8]` with pixels from 0 to 1, in a fixed random order, and their labels."""
    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(0))
    return torch.tensor(digits.images / 16, dtype=torch.float32)[order], torch.tensor(digits.target)[order]


def train(model: nn.Module, images: Tensor, labels: Tensor, epochs: int) -> None:
    """Adam on cross entropy."""
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(epochs):
        for batch in torch.randperm(len(labels)).split(128):
            optimizer.zero_grad()
            F.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()


def margins(labels: Tensor) -> Tensor:
    """Rows `right class − another class`, `[n, 9, 10]`."""
    rows = torch.eye(10)[labels].unsqueeze(1) - torch.eye(10)
    return torch.stack([r[torch.arange(10) != label] for r, label in zip(rows, labels, strict=True)])


def attacked(model: nn.Module, images: Tensor, labels: Tensor, radius: float) -> Tensor:
    """Which images stay right under ten steps of projected gradient descent."""
    x = images.clone()
    for _ in range(10):
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(x), labels, reduction="sum"), x)
        x = images + (x + radius / 4 * gradient.sign() - images).clamp(-radius, radius)
        x = x.clamp(0, 1)
    with torch.no_grad():
        return model(x).argmax(1) == labels


def draw(path: Path, shares: dict[str, list[float]]) -> None:
    """Certified share against the radius, a line a method."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
    styles = {"under attack": "k--", "IBP": "s-", "CROWN-IBP": "x:"}
    for name, values in shares.items():
        axes.plot(RADII, values, styles.get(name, "o-"), label=name)
    axes.set(xscale="log", xlabel="radius of the L∞ ball", ylabel="share of images", ylim=(-0.03, 1.03))
    axes.set_xticks(RADII, [f"{r:g}" for r in RADII])
    axes.minorticks_off()
    axes.legend(loc="center left")
    figure.savefig(path, dpi=150)


def main() -> None:
    """Train, certify, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=20, help="how many images to certify")
    parser.add_argument("--hidden", type=int, default=24, help="size of the LSTM's state")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out", help="folder for the plot")
    options = parser.parse_args()
    torch.manual_seed(0)
    images, labels = data()
    model = Reader(options.hidden)
    train(model, images[options.images :], labels[options.images :], options.epochs)
    model.eval().requires_grad_(False)
    images, labels = images[: options.images], labels[: options.images]
    clean = (model(images).argmax(1) == labels).float().mean().item()
    bounded = BoundedModule(model, images)
    C = margins(labels)
    shares: dict[str, list[float]] = {"under attack": []}
    seconds: dict[str, float] = {}
    safe = {radius: attacked(model, images, labels, radius) for radius in RADII}
    shares["under attack"] = [safe[r].float().mean().item() for r in RADII]
    for method in METHODS:
        start, shares[method] = time.perf_counter(), []
        for radius in RADII:
            ball = PerturbationLpNorm(eps=radius, x_L=0.0, x_U=1.0)
            lower, _ = bounded.compute_bounds(
                x=(BoundedTensor(images, ball),), method=method, C=C, bound_upper=False
            )
            certified = (lower > 0).all(1)
            assert not bool((certified & ~safe[radius]).any()), "a certified image fell to the attack"
            shares[method].append(certified.float().mean().item())
        seconds[method] = time.perf_counter() - start
    table = Table(
        title=f"{options.images} images, {clean:.0%} right without a perturbation; certified share by radius"
    )
    table.add_column("method")
    for radius in RADII:
        table.add_column(str(radius), justify="right")
    table.add_column("seconds", justify="right")
    for name, values in shares.items():
        table.add_row(name, *(f"{v:.0%}" for v in values), f"{seconds[name]:.1f}" if name in seconds else "")
    Console().print(table)
    options.out.mkdir(parents=True, exist_ok=True)
    draw(options.out / "lstm_digits.png", shares)
    print(f"written: {options.out / 'lstm_digits.png'}")


if __name__ == "__main__":
    main()
