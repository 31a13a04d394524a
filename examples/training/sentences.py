"""Sentences under word substitution: SST-2 from a local folder, or reviews made from templates."""

from __future__ import annotations

import csv
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lirpa_core.errors import LirpaError
from lirpa_perturbations import EncodedSentences, Sentence, SynonymTable, encode_sentences, load_sentences
from training.errors import TrainingError
from training.sources import Batch

PADDING, UNKNOWN = "<pad>", "<unk>"
#: What a folder holds, for help and errors.
FILES = "train.json, dev.json (or .tsv with a header) and synonyms.json"

_NOUNS = ("film", "plot", "cast", "music", "ending", "story", "acting")
_GOOD = ("great", "good", "fine", "lovely", "clever", "moving", "charming")
_BAD = ("awful", "bad", "dull", "weak", "silly", "tedious", "boring")
_HOW = ("very", "truly", "rather", "really", "quite")
_TABLE = SynonymTable(
    {
        "film": ("movie", "picture"), "plot": ("script",), "cast": ("actors",), "music": ("score", "sound"),
        "ending": ("finale",), "great": ("grand", "superb"), "good": ("nice", "solid"), "fine": ("nice",),
        "lovely": ("delightful",), "clever": ("smart",), "moving": ("touching",), "awful": ("terrible",),
        "bad": ("poor", "terrible"), "dull": ("flat",), "weak": ("poor",), "silly": ("stupid",),
        "tedious": ("long", "slow"), "very": ("so",), "rather": ("somewhat",),
    }
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class SentenceSource:
    """Encoded sentences with their labels.

    Attributes:
        data: The sentences and their substitutes.
        labels: `[N]`.
        embedding: The table that is trained with the model.
        budget: How many words may be substituted.
        device: Where batches go.
    """

    data: EncodedSentences
    labels: Tensor
    embedding: nn.Embedding
    budget: int
    device: str = "cpu"

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Tensor, eps: float, *, train: bool) -> Batch:
        part = EncodedSentences(
            self.data.ids[index].to(self.device), self.data.substitutes[index].to(self.device),
            self.data.mask[index].to(self.device), self.data.lengths[index],
        )  # fmt: skip
        weight = self.embedding.weight
        x, padding = part.embed(weight), part.padding_mask.to(self.device)
        ptb = part.perturbation(self.budget, weight, eps=min(1.0, eps))
        return Batch((x, padding), self.labels[index].to(self.device), ptb)


@dataclass(frozen=True, eq=False)
class Corpus:
    """A data set of sentences, encoded.

    Attributes:
        train: Training sentences.
        train_labels: Their labels `[N]`.
        test: Test sentences.
        test_labels: Their labels.
        words: Size `V` of the vocabulary.
        synonyms: Pairs of words that training sentences exchange for one another, both ways, `[E, 2]`.
    """

    train: EncodedSentences
    train_labels: Tensor
    test: EncodedSentences
    test_labels: Tensor
    words: int
    synonyms: Tensor


def corpus(
    folder: Path | None, length: int, count: int | None = None, test_count: int | None = None
) -> Corpus:
    """Read and encode a data set.

    Args:
        folder: Where it lies; None: made from templates.
        length: Tokens of a sentence; longer ones are cut, which is part of the model.
        count: At most so many training sentences.
        test_count: At most so many test sentences.

    Raises:
        TrainingError: If a file is missing or not of its format.
    """
    if folder is None:
        train, test, table = _made(count or 400, 0), _made(test_count or 100, 1), _TABLE
    else:
        train, test, table = _read(folder, "train"), _read(folder, "dev"), _synonyms(folder)
    train, test = (_cut(_some(part, most), length) for part, most in ((train, count), (test, test_count)))
    counts = Counter(word.lower() for sentence in train for word in sentence.tokens)
    known = [PADDING, UNKNOWN, *(word for word, n in counts.items() if n > 1 or folder is None)]
    known += [s for word in list(known) for s in table.get(word, ())]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(known))}
    small = table.restricted(vocabulary)

    def encode(part: Sequence[Sentence]) -> tuple[EncodedSentences, Tensor]:
        found = [
            s.candidates if s.candidates is not None else small.candidates([w.lower() for w in s.tokens])
            for s in part
        ]
        encoded = encode_sentences(
            [s.tokens for s in part], found, vocabulary, unknown=UNKNOWN, length=length
        )
        return encoded, torch.tensor([s.label for s in part])

    encoded, labels = encode(train)
    return Corpus(encoded, labels, *encode(test), words=len(vocabulary), synonyms=_pairs(encoded))


def _pairs(data: EncodedSentences) -> Tensor:
    sentence, place, _ = where = data.mask.nonzero(as_tuple=True)
    found = torch.stack([data.ids[sentence, place], data.substitutes[where]], 1)
    return torch.cat([found, found.flip(1)]).unique(dim=0)


def embedding(found: Corpus, width: int, size: float = 0.3, rounds: int = 3) -> nn.Embedding:
    """A table in which synonyms begin close to one another, so that bounds begin narrow.

    Random vectors are averaged with their synonyms' mean a few times.

    Args:
        found: The data set.
        width: Of a vector.
        size: Root mean square of its elements.
        rounds: How often to average.
    """
    vectors, (word, other) = torch.randn(found.words, width), found.synonyms.T
    count = torch.zeros(found.words, 1).index_add(0, word, torch.ones(len(word), 1))
    for _ in range(rounds):
        total = torch.zeros_like(vectors).index_add(0, word, vectors[other])
        vectors = torch.where(count > 0, vectors + total / count.clamp(min=1), vectors)
        vectors = torch.nn.functional.normalize(vectors, dim=1)
    vectors = vectors * (size * width**0.5)
    vectors[0] = 0  # padding
    return nn.Embedding(found.words, width, padding_idx=0, _weight=vectors)


def _some(part: Sequence[Sentence], count: int | None) -> Sequence[Sentence]:
    """Some of the sentences, always the same ones; files often have one class first."""
    if count is None:
        return part
    order = list(range(len(part)))
    random.Random(0).shuffle(order)  # noqa: S311 - no secret
    return [part[i] for i in order[:count]]


def _cut(part: Sequence[Sentence], length: int) -> list[Sentence]:
    return [
        Sentence(s.tokens[:length], s.label, None if s.candidates is None else s.candidates[:length])
        for s in part
    ]


def _read(folder: Path, name: str) -> list[Sentence]:
    if not folder.is_dir():
        raise TrainingError(f"there is no folder {folder}. It should hold {FILES}; nothing is downloaded.")
    json_file, tsv = folder / f"{name}.json", folder / f"{name}.tsv"
    if json_file.is_file():
        try:
            found = load_sentences(json_file)
        except LirpaError as error:
            raise TrainingError(str(error)) from error
    elif tsv.is_file():
        with tsv.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        if not rows or not {"sentence", "label"} <= set(rows[0]):
            raise TrainingError(f"{tsv} has no header with the columns sentence and label.")
        found = [Sentence(tuple(row["sentence"].split()), int(row["label"])) for row in rows]
    else:
        raise TrainingError(f"{folder} has no {name}.json and no {name}.tsv; it should hold {FILES}.")
    for i, sentence in enumerate(found):
        if sentence.label not in (0, 1):
            raise TrainingError(f"{name}, sentence {i}: the label is {sentence.label!r}; expected 0 or 1.")
    return found


def _synonyms(folder: Path) -> SynonymTable:
    try:
        return SynonymTable.load(folder / "synonyms.json")
    except LirpaError as error:
        raise TrainingError(f"synonyms: {error}") from error


def _made(count: int, seed: int) -> list[Sentence]:
    """Short reviews, half of them praise."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    found = []
    for i in range(count):
        good = i % 2
        clauses = [
            ("the", rng.choice(_NOUNS), "is", rng.choice(_HOW), rng.choice(_GOOD if good else _BAD))
            for _ in range(rng.choice((1, 2)))
        ]
        tokens = clauses[0] if len(clauses) == 1 else (*clauses[0], "and", *clauses[1])
        found.append(Sentence(tokens, good))
    rng.shuffle(found)
    return found
