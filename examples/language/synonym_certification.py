"""Certify a small sentiment model under word substitution, and compare with every possible sentence.

Reviews of one to two clauses are put together from a few templates; two models on top of word embeddings
learn to tell praise from complaint, one on the reviews alone and one on certified bounds as well. Then each method bounds its output over all sentences with up to
`budget` words exchanged for synonyms. The reviews are short enough to try every combination as well, so
the table also says how far each method is from the truth.

    python synonym_certification.py --budgets 1,2,3
    python synonym_certification.py --synonyms my_table.json
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
import time
from dataclasses import asdict, dataclass
from itertools import combinations, product
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor
from lirpa_core.errors import LirpaError
from lirpa_perturbations import EncodedSentences, SynonymTable, encode_sentences

METHODS = ("IBP", "CROWN-IBP", "forward", "forward+backward", "CROWN")
NOUNS = ("film", "plot", "cast", "music", "ending")
GOOD = ("great", "good", "fine", "lovely", "clever", "moving")
BAD = ("awful", "bad", "dull", "weak", "silly", "tedious")
ADVERBS = ("very", "truly", "rather")
SYNONYMS = SynonymTable(
    {
        "film": ("movie", "picture"),
        "plot": ("story", "script"),
        "cast": ("actors",),
        "music": ("score", "sound"),
        "ending": ("finale", "end"),
        "very": ("really", "so"),
        "truly": ("really",),
        "rather": ("quite",),
        "great": ("grand", "superb"),
        "good": ("nice", "solid"),
        "fine": ("nice", "good"),
        "lovely": ("charming", "nice"),
        "clever": ("smart", "witty"),
        "moving": ("touching",),
        "awful": ("terrible", "dreadful"),
        "bad": ("poor", "terrible"),
        "dull": ("boring", "flat"),
        "weak": ("poor", "flat"),
        "silly": ("stupid",),
        "tedious": ("boring", "long"),
    }
)


@dataclass(frozen=True)
class Measured:
    """One line of the table: shares of the test sentences, and the seconds that bounding took."""

    training: str
    budget: int
    method: str
    clean: float
    exact: float
    certified: float
    seconds: float


class Sentiment(nn.Module):
    """Embeddings `[B, T, D]` to one score: above zero is praise."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.words = nn.Linear(dim, 24)
        self.mix = nn.Linear(24, 16)
        self.head = nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The score `[B, 1]`."""
        pooled = torch.relu(self.words(x)).mean(1)
        return self.head(torch.relu(self.mix(pooled)))  # type: ignore[no-any-return]


def reviews(count: int, seed: int) -> tuple[list[list[str]], Tensor]:
    """Tokenised reviews and whether they praise (1) or complain (0), `[B, 1]`."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    sentences, labels = [], []
    for _ in range(count):
        praise = rng.random() < 0.5
        words = GOOD if praise else BAD
        clauses = [
            ["the", rng.choice(NOUNS), "is", rng.choice(ADVERBS), rng.choice(words)]
            for _ in range(rng.choice((1, 2)))
        ]
        sentences.append([*clauses[0], "and", *clauses[1]] if len(clauses) == 2 else clauses[0])
        labels.append([float(praise)])
    return sentences, torch.tensor(labels)


def vocabulary_of(table: SynonymTable) -> dict[str, int]:
    """Numbers of the words of the reviews and of their synonyms; 0 pads."""
    words = ["the", "is", "and", *NOUNS, *ADVERBS, *GOOD, *BAD]
    words += [s for word in words for s in table.get(word, ())]
    return {word: i for i, word in enumerate(dict.fromkeys(["<pad>", *words]))}


def encode(sentences: list[list[str]], table: SynonymTable, vocabulary: dict[str, int]) -> EncodedSentences:
    """The sentences with their synonyms, padded to eleven words."""
    return encode_sentences(sentences, [table.candidates(s) for s in sentences], vocabulary, length=11)


def train(
    data: EncodedSentences, labels: Tensor, words: int, steps: int, budget: int
) -> tuple[Sentiment, Tensor]:
    """A model and its embeddings, trained half on clean sentences and half on certified bounds."""
    torch.manual_seed(0)
    embedding, model = nn.Embedding(words, 8, padding_idx=0), Sentiment(8)
    bounded = BoundedModule(model, data.embed(embedding.weight.detach())[:1])
    optimizer = torch.optim.Adam([*model.parameters(), *embedding.parameters()], lr=5e-3)
    loss_of = nn.functional.binary_cross_entropy_with_logits
    sign = 2 * labels - 1
    for step in range(steps):
        x = data.embed(embedding.weight)
        loss = loss_of(model(x), labels)
        if step > steps // 3 and budget > 0:
            eps = min(1.0, 2 * step / steps - 0.5)
            ptb = data.perturbation(budget, embedding.weight, eps=max(0.0, eps))
            lower, upper = bounded.compute_bounds(x=(BoundedTensor(x, ptb),), method="IBP")
            loss = loss + loss_of(torch.where(sign > 0, lower, upper), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.eval(), embedding.weight.detach()


def exactly_robust(
    model: Sentiment, data: EncodedSentences, weight: Tensor, labels: Tensor, budget: int
) -> Tensor:
    """Which sentences keep their class under every substitution within the budget, by trying all: `[B]`."""
    robust = []
    for b in range(len(labels)):
        choices = [
            (t, data.substitutes[b, t, data.mask[b, t]].tolist())
            for t in range(data.ids.shape[1])
            if data.mask[b, t].any()
        ]
        changed = [data.ids[b]]
        for k in range(1, budget + 1):
            for positions in combinations(choices, k):
                for words in product(*(found for _, found in positions)):
                    ids = data.ids[b].clone()
                    ids[[t for t, _ in positions]] = torch.tensor(words)
                    changed.append(ids)
        with torch.no_grad():
            scores = model(weight[torch.stack(changed)])
        robust.append(bool(((scores > 0) == (labels[b] > 0.5)).all()))
    return torch.tensor(robust)


def certify(
    bounded: BoundedModule, x: Tensor, data: EncodedSentences, weight: Tensor, budget: int, method: str
) -> tuple[Tensor, Tensor]:
    """Bounds of the score, `[B, 1]` each, over all sentences within the budget."""
    with torch.no_grad():
        ptb = data.perturbation(budget, weight)
        lower, upper = bounded.compute_bounds(x=(BoundedTensor(x, ptb),), method=method)
    return lower, upper


def run(options: argparse.Namespace) -> list[Measured]:
    """Train two models, try every sentence, and certify for every budget."""
    table = SynonymTable.load(options.synonyms) if options.synonyms else SYNONYMS
    vocabulary = vocabulary_of(table)
    sentences, labels = reviews(240, seed=0)
    training = encode(sentences, table, vocabulary)
    sentences, test_labels = reviews(options.samples, seed=1)
    data, sign = encode(sentences, table, vocabulary), 2 * test_labels - 1
    found = []
    for name, train_budget in (("clean", 0), ("certified", max(1, *options.budgets))):
        model, weight = train(training, labels, len(vocabulary), options.steps, train_budget)
        x = data.embed(weight)
        bounded = BoundedModule(model, x[:1])
        with torch.no_grad():
            clean = (model(x) * sign > 0).float().mean().item()
        truths = {b: exactly_robust(model, data, weight, test_labels, b) for b in options.budgets}
        for budget, method in product(options.budgets, METHODS):
            truth = truths[budget]
            start = time.perf_counter()
            lower, upper = certify(bounded, x, data, weight, budget, method)
            seconds = time.perf_counter() - start
            proved = torch.where(sign > 0, lower > 0, upper < 0).squeeze(1)
            if bool((proved & ~truth).any()):
                raise RuntimeError(
                    f"{method} certified a sentence that a substitution breaks; please report this"
                )
            shares = (truth.float().mean().item(), proved.float().mean().item())
            found.append(Measured(name, budget, method, clean, *shares, seconds))
    return found


def table_of(found: list[Measured], samples: int) -> Table:
    """The measurements as a table."""
    result = Table(title=f"{samples} sentences, by number of substituted words")
    for name in ("training", "budget", "method", "clean", "exact", "certified", "seconds"):
        left, least = name in {"training", "method"}, 16 if name == "method" else None
        result.add_column(name, justify="left" if left else "right", min_width=least)
    for m in found:
        shares = (f"{share:.1%}" for share in (m.clean, m.exact, m.certified))
        result.add_row(m.training, str(m.budget), m.method, *shares, f"{m.seconds:.3f}")
    return result


def write(found: list[Measured], folder: Path) -> list[Path]:
    """The plot and the numbers."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    plot, numbers = folder / "synonym_certification.png", folder / "synonym_certification.csv"
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    budgets = sorted({m.budget for m in found})
    by = {(m.training, m.budget, m.method): m for m in found}
    for axes, training in zip(panels, ("clean", "certified"), strict=True):
        exact = [by[training, budget, METHODS[0]].exact for budget in budgets]
        axes.plot(budgets, exact, "k--o", label="exact, by trying all sentences")
        for method in METHODS:
            shares = [by[training, budget, method].certified for budget in budgets]
            axes.plot(budgets, shares, "-o", label=f"certified by {method}")
        axes.set(title=f"{training} training", xlabel="words that may be substituted", ylim=(0, 1.02))
        axes.set_xticks(budgets)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("share of sentences")
    panels[1].legend(fontsize="small")
    figure.savefig(plot, dpi=120, bbox_inches="tight")
    plt.close(figure)
    with numbers.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(asdict(found[0])))
        writer.writeheader()
        writer.writerows(asdict(m) for m in found)
    return [plot, numbers]


def _budgets(text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers such as 1,2,3") from error


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(description="Certify a small sentiment model under word substitution.")
    add = result.add_argument
    add("--budgets", type=_budgets, default=(0, 1, 2, 3), metavar="K,K,...", help="words (default: 0,1,2,3)")
    add("--samples", type=int, default=60, help="how many test sentences (default: %(default)s)")
    add("--steps", type=int, default=200, help="training steps (default: %(default)s)")
    add("--synonyms", type=Path, help="JSON table {word: [synonym, ...]} (default: one of the example's own)")
    add("--out", type=Path, default=Path("out"), help="folder for plot and numbers (default: %(default)s)")
    return result


def main(arguments: list[str] | None = None) -> int:
    """Run the example; returns the exit status."""
    options = parser().parse_args(arguments)
    start = time.perf_counter()
    try:
        found = run(options)
    except LirpaError as error:
        print(f"synonym_certification.py: {error}", file=sys.stderr)
        return 1
    Console().print(table_of(found, options.samples))
    written = write(found, options.out)
    print(f"wrote {', '.join(map(str, written))} in {time.perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
