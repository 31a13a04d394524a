"""Words to tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lirpa_core.testing import check_perturbation
from lirpa_perturbations import SynonymTable, encode_sentences

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
