"""Bound real images with every method: how many provably keep their class, and at what cost.

A small convolutional network (two strided convolutions, two linear layers) is trained for a few seconds
on the 8 × 8 digits of scikit-learn, or read from a file; then the margins between the right class and
each of the others are bounded over all images within eps of a test image. Images of another data set
come from a NumPy archive with `images` (`[N, H, W]`, `[N, H, W, C]` or `[N, C, H, W]`; floats in [0, 1], or
bytes) and `labels` `[N]`.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from models import small_cnn
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm

METHODS = ("IBP", "CROWN-IBP", "forward", "forward+backward", "CROWN")


@dataclass(frozen=True)
class Measured:
    """One method on all images: certified fraction, mean width of the margins, seconds an image."""

    method: str
    certified: float
    width: float
    seconds: float


def digits() -> tuple[Tensor, Tensor]:
    """The digits of scikit-learn, `[N, 1, 8, 8]` in [0, 1], and their classes."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16, torch.tensor(labels)


def archive(path: Path) -> tuple[Tensor, Tensor]:
    """Images and classes from a NumPy archive."""
    with np.load(path) as data:
        images, labels = torch.from_numpy(data["images"]), torch.from_numpy(data["labels"]).long()
    if images.dim() == 3:
        images = images.unsqueeze(1)
    elif images.shape[-1] in (1, 3):
        images = images.movedim(-1, 1)
    return images.float() / (255 if images.dtype == torch.uint8 else 1), labels


def train(model: nn.Module, x: Tensor, y: Tensor, epochs: int) -> None:
    """A few epochs of plain training with noise, enough for an example."""
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            noisy = x[batch] + 0.1 * torch.randn_like(x[batch])
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(noisy), y[batch]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    model.eval()


def load(model: nn.Module, path: Path) -> None:
    """Weights from a file, as a state dict or in the order of one."""
    found = torch.load(path, weights_only=True)
    if not isinstance(found, dict):
        found = dict(zip(model.state_dict(), found, strict=True))
    model.load_state_dict(found)


def margins(labels: Tensor, classes: int = 10) -> Tensor:
    """Specification `[B, 9, 10]`: the right class's output minus each of the others."""
    identity = torch.eye(classes)
    others = torch.stack([torch.cat([identity[:y], identity[y + 1 :]]) for y in labels.tolist()])
    return identity[labels].unsqueeze(1) - others


def verify(model: nn.Module, x: Tensor, y: Tensor, eps: float, batch: int, method: str) -> Measured:
    """Certify all images with one method; wrongly classified ones cannot be certified."""
    bounded = BoundedModule(model, x[:batch])
    ptb = PerturbationLpNorm(eps=eps, x_L=0.0, x_U=1.0)
    certified, widths = 0, []
    start = time.perf_counter()
    with torch.no_grad():
        for images, labels in zip(x.split(batch), y.split(batch), strict=True):
            lower, upper = bounded.compute_bounds(
                x=(BoundedTensor(images, ptb),), C=margins(labels), method=method
            )
            certified += int((lower > 0).all(1).sum())
            widths.append((upper - lower).mean(1))
    seconds = (time.perf_counter() - start) / len(x)
    return Measured(method, certified / len(x), torch.cat(widths).mean().item(), seconds)


def table(found: list[Measured], clean: float, eps: float) -> Table:
    """What is printed."""
    result = Table(title=f"L∞ eps {eps:g}, clean accuracy {clean:.1%}")
    for name in ("method", "certified", "mean width", "ms an image"):
        result.add_column(name, justify="left" if name == "method" else "right")
    for m in found:
        result.add_row(m.method, f"{m.certified:.1%}", f"{m.width:.3g}", f"{1000 * m.seconds:.1f}")
    return result


def plot(found: list[Measured], clean: float, path: Path) -> None:
    """Certified accuracy against time."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for m in found:
        axes.plot(1000 * m.seconds, m.certified, "o")
        axes.annotate(m.method, (1000 * m.seconds, m.certified), xytext=(4, 4), textcoords="offset points")
    axes.axhline(clean, linestyle=":", color="grey", label="clean accuracy")
    axes.legend(loc="lower right")
    axes.margins(x=0.2)
    axes.set(xscale="log", xlabel="ms an image", ylabel="certified accuracy", ylim=(0, 1))
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--images", type=Path, help="NumPy archive with images and labels; default: digits of scikit-learn"
    )
    parser.add_argument(
        "--weights",
        type=Path,
        help="weights of the network, as a state dict or a list in its order; default: train it now",
    )
    parser.add_argument("--samples", type=int, default=100, help="test images (default: 100)")
    parser.add_argument("--eps", type=float, default=0.03, help="radius (default: 0.03)")
    parser.add_argument("--batch", type=int, default=20, help="images a call (default: 20)")
    parser.add_argument("--epochs", type=int, default=15, help="epochs of training (default: 15)")
    parser.add_argument("--methods", default=",".join(METHODS), help=f"default: {','.join(METHODS)}")
    parser.add_argument("--out", type=Path, help="folder for the plot")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    x, y = archive(options.images) if options.images else digits()
    model = small_cnn(size=x.shape[-1], channels=x.shape[1])
    if options.weights:
        load(model, options.weights)
    else:
        train(model, x[options.samples :], y[options.samples :], options.epochs)
    x, y = x[: options.samples], y[: options.samples]
    clean = (model.eval()(x).argmax(1) == y).float().mean().item()
    found = [verify(model, x, y, options.eps, options.batch, m) for m in options.methods.split(",")]
    Console().print(table(found, clean, options.eps))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        plot(found, clean, options.out / "verification.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
