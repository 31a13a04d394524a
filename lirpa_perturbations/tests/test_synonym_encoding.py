"""Words to tensors."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor
from lirpa_perturbations import SynonymTable, encode_sentences, load_sentences
from lirpa_testing import check_perturbation

VOCABULARY = {"<pad>": 0, "<unk>": 1, "a": 2, "fine": 3, "good": 4, "film": 5, "movie": 6}
TABLE = SynonymTable({"fine": ("good", "fine", "good"), "film": ("movie",)})


def encode(*sentences: str, **options: Any) -> Any:
    tokens = [s.split() for s in sentences]
    return encode_sentences(tokens, [TABLE.candidates(t) for t in tokens], VOCABULARY, **options)


def test_numbers_words_and_substitutes() -> None:
    found = encode("A fine film", "Film")
    assert found.ids.tolist() == [[2, 3, 5], [5, 0, 0]]
    assert found.lengths.tolist() == [3, 1]
    assert found.padding_mask.tolist() == [[False, False, False], [False, True, True]]
    assert found.substitutes.tolist() == [[[0], [4], [6]], [[6], [0], [0]]]
    assert found.mask.tolist() == [[[False], [True], [True]], [[True], [False], [False]]]


def test_embeds_and_perturbs() -> None:
    weight = torch.randn(7, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    found = encode("a fine film", "film", length=4)
    x, ptb = found.embed(weight), found.perturbation(1, weight)
    assert x.shape == (2, 4, 3)
    hull = ptb.hull(x)
    assert torch.equal(hull.lower[1, 1:], x[1, 1:])
    assert torch.equal(hull.upper[0, 2], torch.maximum(weight[5], weight[6]))
    check_perturbation(found.perturbation(1, weight.detach()), x.detach())


def test_sentences_without_any_substitute() -> None:
    weight = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    found = encode("a a")
    check_perturbation(found.perturbation(3, weight), found.embed(weight))


def test_unknown_words_stand_for_one_word_if_asked() -> None:
    assert encode("a dull film", unknown="<unk>").ids.tolist() == [[2, 1, 5]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([], [], VOCABULARY), "sentences must be at least one"),
        (([[]], [[]], VOCABULARY), "sentences must be at least one"),
        ((["a film"], [[[]] * 6], VOCABULARY), "sentences must be lists of tokens"),
        (([["a"]], [[[], []]], VOCABULARY), "candidates must have one list"),
        (([["a", "dull"]], [[[], []]], VOCABULARY), "vocabulary lacks 1 of the words: 'dull'"),
        (([["a"]], [[["one"]]], VOCABULARY), "vocabulary lacks 1 of the words: 'one'"),
    ],
)
def test_refusals_name_the_argument(brute: Any, arguments: Any, words: str) -> None:
    brute.refuses(words, lambda: encode_sentences(*arguments))


def test_more_refusals(brute: Any) -> None:
    brute.refuses("length is 1, but a sentence has 2", lambda: encode("a film", length=1))
    brute.refuses("unknown is '?'", lambda: encode("a film", unknown="?"))
    found = encode("a film")
    brute.refuses("weight has 3 rows", lambda: found.embed(torch.zeros(3, 2)))
    brute.refuses("weight must be an embedding table", lambda: found.embed(torch.zeros(7)))


class Bag(nn.Module):
    """A linear sentiment model that reads words and skips padding."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(3, 2)

    def forward(self, words: Tensor, padding: Tensor) -> Tensor:
        return self.score(words).masked_fill(padding.unsqueeze(-1), 0.0).sum(1)


@pytest.mark.parametrize("form", ["one table", "candidates of each token"])
def test_from_files_to_bounds_of_sentences_of_different_lengths(form: str, tmp_path: Path) -> None:
    data = [
        {"sentence": "a fine film", "label": 1, "candidates": [[], ["good", "fine"], ["film", "movie"]]},
        {"sentence": "Film", "label": 0, "candidates": [["movie"]], "word_labels": [2]},
    ]
    (tmp_path / "data.json").write_text(json.dumps(data))
    (tmp_path / "table.json").write_text(json.dumps({"fine": ["good"], "film": ["movie"], "br": []}))
    sentences = load_sentences(tmp_path / "data.json")
    tokens = [s.tokens for s in sentences]
    table = SynonymTable.load(tmp_path / "table.json")
    lists = [
        table.candidates(t) if form == "one table" else s.candidates
        for s, t in zip(sentences, tokens, strict=True)
    ]
    found = encode_sentences(tokens, lists, VOCABULARY)
    torch.manual_seed(0)
    weight, model = torch.randn(7, 3).double(), Bag().double()
    x = found.embed(weight)
    bounded = BoundedModule(model, (x, found.padding_mask))
    for budget in (0, 1, 2):
        point = BoundedTensor(x, found.perturbation(budget, weight))
        lower, upper = bounded.compute_bounds(x=(point, found.padding_mask), method="CROWN")
        for b, (sentence, words) in enumerate(zip(tokens, lists, strict=True)):
            choices = product(*({t.lower(), *w} for t, w in zip(sentence, words, strict=True)))
            nominal = [t.lower() for t in sentence]
            within = [c for c in choices if sum(i != j for i, j in zip(c, nominal, strict=True)) <= budget]
            ids = torch.tensor([[VOCABULARY[w] for w in c] for c in within])
            out = model(weight[ids], torch.zeros_like(ids, dtype=torch.bool))  # alone, without padding
            torch.testing.assert_close(lower[b], out.amin(0))
            torch.testing.assert_close(upper[b], out.amax(0))
