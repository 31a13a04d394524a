"""The classifier of the demo, its data, and where its weights are."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

#: The trained weights that come with the example.
WEIGHTS = Path(__file__).with_name("digits_mlp.pt")
#: How many images are held out for testing; training never sees them.
HELD_OUT = 500
_SIZES = (64, 48, 32, 24, 10)
_SPLIT_SEED = 0


class MissingFileError(RuntimeError):
    """The data set or the weights are not there; the message says how to get them."""


def build() -> nn.Sequential:
    """An untrained classifier of 8x8 images, flattened to 64 numbers in [0, 1]."""
    layers: list[nn.Module] = []
    for i in range(len(_SIZES) - 1):
        layers += [nn.Linear(_SIZES[i], _SIZES[i + 1]), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def load(weights: Path = WEIGHTS) -> nn.Sequential:
    """The trained classifier, in evaluation mode.

    Raises:
        MissingFileError: If the file of weights is not there.
    """
    if not weights.is_file():
        raise MissingFileError(
            f"no weights at {weights}. Train them with: python {WEIGHTS.with_name('train.py')}"
        )
    model = build()
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model.eval().requires_grad_(requires_grad=False)


def digits(*, held_out: bool) -> tuple[Tensor, Tensor]:
    """Handwritten digits of scikit-learn: images `[N, 64]` in [0, 1] and labels `[N]`.

    Args:
        held_out: The images kept for testing, or those to train on.

    Raises:
        MissingFileError: If scikit-learn, which brings the images, is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingFileError(
            "the handwritten digits come with scikit-learn, which is not installed. Install it with: "
            "pip install scikit-learn"
        ) from error
    images, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(_SPLIT_SEED))
    chosen = order[:HELD_OUT] if held_out else order[HELD_OUT:]
    x = torch.from_numpy(images).to(torch.float32) / 16
    return x[chosen], torch.from_numpy(labels).long()[chosen]
