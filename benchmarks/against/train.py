"""Makes trained weights for the comparison where no file of them is at hand: `python -m benchmarks.against.train`.

The MNIST CNN and ResNet-2B are trained on scikit-learn's digits, enlarged to the size that they take, against attacks of
a few gradient steps (Madry et al. 2018). That is not the data set they are named after; but trained networks have
far fewer unstable neurons than random ones, which is what times depend on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.against.networks import MADE, NETWORKS, Network

_NAMES = ("mnist-cnn", "resnet-2b")


def digits(shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Images `[N, *shape]` in [0, 1] and labels `[N]`."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = torch.tensor(found.images, dtype=torch.float32).unsqueeze(1) / 16
    images = F.interpolate(images, tuple(shape[1:]), mode="bilinear").expand(-1, shape[0], -1, -1)
    return images.contiguous(), torch.tensor(found.target)


def attacked(model: nn.Module, x: Tensor, y: Tensor, eps: float, steps: int = 3) -> Tensor:
    """Images within `eps` of `x` for which the model does badly."""
    d = torch.empty_like(x).uniform_(-eps, eps)
    for _ in range(steps):
        d.requires_grad_(True)
        (slope,) = torch.autograd.grad(F.cross_entropy(model(x + d), y), d)
        d = (d.detach() + eps / 2 * slope.sign()).clamp(-eps, eps)
    return (x + d).clamp(0, 1)


def train(network: Network, epochs: int, batch: int = 100) -> dict[str, Any]:
    """Weights of a network in the order of `state_dict`, and two images."""
    torch.manual_seed(0)
    model = network.make().train()
    x, y = digits(network.shape)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(epochs):
        for part in torch.randperm(len(x)).split(batch):
            optimizer.zero_grad()
            radius = network.eps * min(1.0, (epoch + 1) / max(1, epochs // 2))
            F.cross_entropy(model(attacked(model, x[part], y[part], radius)), y[part]).backward()
            optimizer.step()
    with torch.no_grad():
        right = float((model.eval()(x).argmax(1) == y).float().mean())
    print(f"{network.title}: {right:.1%} of the training images are right")
    tensors = [t.detach().clone() for name, t in model.state_dict().items() if "num_batches" not in name]
    return {"weights": tensors, "x": x[:2].clone()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=MADE, help="default: %(default)s")
    options = parser.parse_args(arguments)
    found = {str(NETWORKS[name].weights): train(NETWORKS[name], options.epochs) for name in _NAMES}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(found, options.out)
    print(f"wrote {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
