"""Train the classifier of the demo on scikit-learn's handwritten digits, and save its weights.

The weights come with the repository; run this only to make them anew. It takes about a minute.
Training is adversarial (Madry et al. 2018): every batch is first moved, inside a small L-infinity
ball, to where the loss is large. A small L1 penalty on the weights keeps the layers' gains low, which
is what makes a network's robustness provable.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from model import WEIGHTS, MissingFileError, build, digits
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional as F


def adversarial(model: nn.Module, x: Tensor, y: Tensor, eps: float, steps: int) -> Tensor:
    """Images near `x` with a large loss: projected gradient ascent from a random start."""
    z = (x + eps * (2 * torch.rand_like(x) - 1)).clamp(0, 1)
    for _ in range(steps):
        z.requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(z), y), z)
        z = z.detach() + 2.5 * eps / steps * gradient.sign()
        z = z.minimum(x + eps).maximum(x - eps).clamp(0, 1)
    return z.detach()


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Fraction of images classified correctly."""
    with torch.no_grad():
        return float((model(x).argmax(1) == y).double().mean())


def train(*, epochs: int, eps: float, l1: float, seed: int) -> nn.Module:
    """A trained classifier; the same seed gives the same weights on the same machine."""
    torch.manual_seed(seed)
    x, y = digits(held_out=False)
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in track(range(epochs), description="training"):
        radius = eps * min(1.0, 2 * (epoch + 1) / epochs)  # grows during the first half
        for batch in torch.randperm(len(y)).split(100):
            attacked = adversarial(model, x[batch], y[batch], radius, steps=5)
            penalty = sum(p.abs().sum() for name, p in model.named_parameters() if "weight" in name)
            loss = F.cross_entropy(model(attacked), y[batch]) + l1 * penalty
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return model.eval()


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train the digit classifier that the demo certifies.")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="where to save (default: beside this file)")
    parser.add_argument("--epochs", type=int, default=120, help="passes over the data (default: %(default)s)")
    parser.add_argument("--eps", type=float, default=0.1, help="radius of the attack (default: %(default)s)")
    parser.add_argument("--l1", type=float, default=4e-4, help="weight of the penalty (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        model = train(epochs=options.epochs, eps=options.eps, l1=options.l1, seed=options.seed)
        x, y = digits(held_out=True)
    except MissingFileError as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 1
    clean = accuracy(model, x, y)
    attacked = accuracy(model, adversarial(model, x, y, options.eps, steps=20), y)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), options.out)
    size = options.out.stat().st_size / 1024
    print(f"held-out accuracy {clean:.1%}, under attack with eps {options.eps:g} {attacked:.1%}")
    print(f"wrote {options.out} ({size:.0f} KB)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
