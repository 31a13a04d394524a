"""How far may one word of a review move before a sentiment classifier can change its mind?

Trains a small transformer and an LSTM on a made-up set of short film reviews. For each word of a few held-out
reviews, the word's vector may be any vector in a ball (L-infinity or L2); CROWN and bisection find the
largest radius for which the verdict provably stays. Prints the radii and draws them as a heat map over the
sentence: dark words are those that the verdict hangs on.

    python verify_sentiment.py
    python verify_sentiment.py --method CROWN-IBP --norm 2
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm

GOOD = ("brilliant", "moving", "funny", "wonderful", "gripping")
BAD = ("boring", "awful", "clumsy", "tedious", "bland")
NEUTRAL = ("long", "quiet", "strange", "slow", "recent")
THINGS = ("film", "plot", "cast", "ending", "score")
LEADS = ("the", "this", "that")
VERBS = ("was", "felt", "seemed")
HOW = ("really", "rather", "not")
VOCABULARY = (*GOOD, *BAD, *NEUTRAL, *THINGS, *LEADS, *VERBS, *HOW, "and")
LENGTH, WIDTH = 8, 16


def reviews() -> list[tuple[str, int]]:
    """Sentences such as `the strange film was really funny and moving`, shuffled; `not` turns the sense."""
    found = []
    for lead, thing, verb, how, neutral in itertools.product(LEADS, THINGS, VERBS, HOW, NEUTRAL):
        for words, good in ((GOOD, 1), (BAD, 0)):
            pick = random.Random(f"{lead}{thing}{verb}{how}{neutral}{good}")  # noqa: S311
            first, second = pick.sample(words, 2)
            label = good if how != "not" else 1 - good
            found.append((f"{lead} {neutral} {thing} {verb} {how} {first} and {second}", label))
    random.Random(0).shuffle(found)  # noqa: S311
    return found


class Transformer(nn.Module):
    """One encoder layer, the mean over words, a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Parameter(0.1 * torch.randn(LENGTH, WIDTH))
        self.layer = nn.TransformerEncoderLayer(WIDTH, 2, 32, dropout=0.0, batch_first=True)
        self.head = nn.Linear(WIDTH, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x + self.places).mean(1))


class Recurrent(nn.Module):
    """An LSTM, and a linear head on its last output."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.LSTM(WIDTH, 24, batch_first=True), nn.Linear(24, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0][:, -1])


class OneWord(nn.Module):
    """A classifier as a function of one word's vector; the others are fixed.

    Args of `forward`: the word's vector `[B, D]`, all vectors with that one zero `[B, T, D]`, and where it stands,
    `[B, T, 1]`.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, word: Tensor, rest: Tensor, place: Tensor) -> Tensor:
        scores = self.model(rest + place * word.unsqueeze(1))
        return scores[:, 1] - scores[:, 0]


def train(table: nn.Embedding, model: nn.Module, ids: Tensor, labels: Tensor, epochs: int) -> None:
    """Adam on cross entropy, the vectors of words included."""
    optimizer = torch.optim.Adam([*table.parameters(), *model.parameters()], 0.005)
    for _ in range(epochs):
        for batch in torch.randperm(len(labels)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(table(ids[batch])), labels[batch]).backward()
            optimizer.step()


def each_word(vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What `OneWord` takes, for every word of a sentence `[T, D]`: one example a word."""
    place = torch.eye(LENGTH).unsqueeze(-1)
    return vectors, vectors * (1 - place), place


def certified_radii(
    bounded: BoundedModule, one: OneWord, vectors: Tensor, norm: float, method: str, steps: int
) -> Tensor:
    """For each word of a sentence `[T, D]`, the largest radius found at which the verdict stays: `[T]`."""
    words, rest, place = each_word(vectors)
    verdict = one(words, rest, place).sign().detach()
    low, high = torch.zeros(LENGTH), torch.full((LENGTH,), 4.0)
    for _ in range(steps):
        middle = (low + high) / 2
        ball = BoundedTensor(words, PerturbationLpNorm(norm=norm, eps=middle))
        lower, upper = bounded.compute_bounds(x=(ball, rest, place), method=method)
        holds = torch.where(verdict > 0, lower > 0, upper < 0)
        low, high = torch.where(holds, middle, low), torch.where(holds, high, middle)
    return low


def draw(path: Path, panels: list[tuple[str, list[str], Tensor]]) -> None:
    """The radii as a heat map, a row a sentence and model; the words are written into the cells."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    radii = torch.stack([r for _, _, r in panels])
    figure, axes = plt.subplots(figsize=(1.2 * LENGTH, 0.5 * len(panels) + 1), layout="constrained")
    image = axes.imshow(radii.numpy(), cmap="magma", aspect="auto", vmin=0)
    for i, (_, sentence, values) in enumerate(panels):
        for j, word in enumerate(sentence):
            bright = float(values[j]) > float(radii.max()) / 2
            axes.text(j, i, word, ha="center", va="center", fontsize=8, color="black" if bright else "white")
    axes.set_yticks(range(len(panels)), [name for name, _, _ in panels])
    axes.set_xticks([])
    figure.colorbar(image, label="certified radius")
    figure.savefig(path, dpi=150)


def main() -> None:
    """Train, certify, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sentences", type=int, default=2, help="how many held-out reviews")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--method", default="CROWN", choices=("IBP", "CROWN-IBP", "forward", "CROWN"))
    parser.add_argument("--norm", type=float, action="append", help="norm of the ball; default: inf and 2")
    parser.add_argument("--steps", type=int, default=7, help="steps of bisection")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "out", help="folder for the plots"
    )
    options = parser.parse_args()
    torch.manual_seed(0)
    known = {word: i for i, word in enumerate(VOCABULARY)}
    texts = reviews()
    ids = torch.tensor([[known[w] for w in text.split()] for text, _ in texts])
    labels = torch.tensor([label for _, label in texts])
    options.out.mkdir(parents=True, exist_ok=True)
    held = slice(0, 100)
    models: list[tuple[str, nn.Embedding, OneWord, BoundedModule]] = []
    for name, model in (("transformer", Transformer()), ("LSTM", Recurrent())):
        table = nn.Embedding(len(VOCABULARY), WIDTH)
        train(table, model, ids[100:], labels[100:], options.epochs)
        model.eval().requires_grad_(False)
        table.requires_grad_(False)
        right = (model(table(ids[held])).argmax(1) == labels[held]).float().mean().item()
        print(f"{name}: {right:.0%} of {held.stop} held-out reviews right")
        one = OneWord(model)
        models.append((name, table, one, BoundedModule(one, each_word(table(ids[0])))))  # captured once
    for norm in options.norm or (math.inf, 2.0):
        panels = []
        report = Table(title=f"certified radius of each word, L{norm:g} ball, {options.method}")
        for column in ("model", *(f"word {k + 1}" for k in range(LENGTH))):
            report.add_column(column)
        chosen = itertools.islice(zip(texts, ids, strict=True), options.sentences)
        jobs = [(text, row, *parts) for (text, _), row in chosen for parts in models]
        for text, row, name, table, one, bounded in track(jobs, f"L{norm:g}", transient=True):
            radii = certified_radii(bounded, one, table(row), norm, options.method, options.steps)
            panels.append((name, text.split(), radii))
            report.add_row(
                name, *(f"{w}\n{r:.3f}" for w, r in zip(text.split(), radii.tolist(), strict=True))
            )
        Console(width=120).print(report)
        draw(options.out / f"sentiment_L{norm:g}.png", panels)
        print(f"written: {options.out / f'sentiment_L{norm:g}.png'}")


if __name__ == "__main__":
    main()
