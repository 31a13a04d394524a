"""Train a transformer or an LSTM on sentences, plainly or robustly, and certify it under word substitution.

Up to `--budget` words of a sentence may be exchanged for synonyms. By intervals the budget counts for nothing, as
each word may be the one that is exchanged; CROWN-IBP, which tests what intervals do not verify, keeps to it. With
`--data` it reads SST-2 (train.json, dev.json with candidates, synonyms.json; or .tsv); without, it makes short
reviews. The program `evidence.py` trains both models in both ways.

    python train.py --model transformer --robust --method IBP
    python train.py --data ~/sst --model lstm --robust --budget 6 --num_epochs 10
    python train.py --data ~/sst --model lstm --verify --load out/checkpoint.pt
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from training import loop, options, sentences
from training.sentences import SentenceSource


class Transformer(nn.Module):
    """One encoder layer and the mean over the words.

    The layer norm only centres: dividing by a deviation that a substitution moves would loosen bounds (Shi et al.
    2020, "Robustness verification for transformers").
    """

    def __init__(self, length: int, width: int, hidden: int, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.places = nn.Parameter(0.1 * torch.randn(length, width))
        self.query, self.key, self.value, self.mix = (nn.Linear(width, width) for _ in range(4))
        self.feed = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.pool, self.head = nn.Linear(width, width), nn.Linear(width, 2)

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        """Scores `[B, 2]` of embeddings `[B, T, D]`, with padding marked `[B, T]`."""
        x = x + self.places
        query, key, value = (self._split(layer(x)) for layer in (self.query, self.key, self.value))
        seen = ~padding[:, None, None, :]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        x = _centred(x + self.mix(mixed.transpose(1, 2).flatten(2)))
        x = _centred(x + self.feed(x))
        return self.head(torch.relu(self.pool(_mean(x, padding))))  # type: ignore[no-any-return]

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class Recurrent(nn.Module):
    """An LSTM and the mean over its outputs."""

    def __init__(self, length: int, width: int, hidden: int) -> None:
        super().__init__()
        self.layer, self.head = nn.LSTM(width, hidden, batch_first=True), nn.Linear(hidden, 2)

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        """Scores `[B, 2]` of embeddings `[B, T, D]`, with padding marked `[B, T]`."""
        return self.head(_mean(self.layer(x)[0], padding))  # type: ignore[no-any-return]


def _centred(x: Tensor) -> Tensor:
    return x - x.mean(-1, keepdim=True)


def _mean(x: Tensor, padding: Tensor) -> Tensor:
    words = (~padding).to(x.dtype).unsqueeze(2)
    return (x * words).sum(1) / words.sum(1)


MODELS = {"transformer": Transformer, "lstm": Recurrent}


def make(settings: argparse.Namespace) -> loop.Task:
    """The task that the options describe."""
    settings.objective = settings.objective if settings.robust else "plain"
    found = sentences.corpus(settings.data, settings.length, settings.samples, settings.verify_samples)
    embedding = sentences.embedding(found, settings.width)
    model = MODELS[settings.model](settings.length, settings.width, settings.hidden)
    shared = (embedding, settings.budget)
    train = SentenceSource(found.train, found.train_labels, *shared, settings.device)
    test = SentenceSource(found.test, found.test_labels, *shared, settings.device)
    names = ("model", "robust", "budget", "width", "hidden", "length", "seed")
    key = {name: getattr(settings, name) for name in names}
    return loop.Task("language", model, train, test, also=nn.ModuleDict({"embedding": embedding}), key=key)


def smoke(settings: argparse.Namespace) -> None:
    """Short sentences and a narrow model."""
    settings.samples, settings.verify_samples, settings.verify_batch = 48, 8, 8
    settings.width, settings.hidden = 8, 8
    settings.length = 11 if settings.data is None else settings.length
    settings.scheduler_opts = "start=1,length=2"


def main(arguments: list[str] | None = None) -> int:
    """Run the program; returns the exit status."""
    usage = options.parser(
        __doc__, eps=1.0, bound_type="IBP", batch_size=64, num_epochs=12, lr=3e-3, verify_batch=218, kappa=0.2,
        scheduler_name="LinearScheduler", scheduler_opts="start=2,length=7",
    )  # fmt: skip
    add = usage.add_argument
    add("--data", type=Path, metavar="FOLDER", help=f"with {sentences.FILES}; default: made-up reviews")
    add("--model", choices=tuple(MODELS), default="transformer", help="default: %(default)s")
    add("--robust", action="store_true", help="train with certified bounds; default: plainly")
    add("--budget", type=int, default=6, help="words that may be substituted (default: %(default)s)")
    add("--length", type=int, default=20, help="tokens of a sentence, the rest is cut (default: %(default)s)")
    add("--width", type=int, default=16, help="of an embedding (default: %(default)s)")
    add("--hidden", type=int, default=16, help="of the inner layer (default: %(default)s)")
    add("--samples", type=int, help="training sentences (default: all)")
    return loop.main(make, usage, arguments, smoke=smoke)


if __name__ == "__main__":
    sys.exit(main())
