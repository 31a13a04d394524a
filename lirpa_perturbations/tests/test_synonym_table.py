"""Synonyms and sentences from JSON, and what is wrong with bad files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lirpa_core.errors import PerturbationError
from lirpa_perturbations import Sentence, SynonymTable, load_sentences


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_reads_a_table(tmp_path: Path) -> None:
    table = SynonymTable.load(write(tmp_path / "t.json", {"film": ["movie", "picture"], "br": []}))
    assert dict(table) == {"film": ("movie", "picture"), "br": ()}
    assert len(table) == 2
    assert table.candidates(["A", "Film", "br"]) == [(), ("movie", "picture"), ()]
    assert dict(table.restricted({"movie"})) == {"film": ("movie",)}


def test_reads_sentences(tmp_path: Path) -> None:
    entries = [
        {"label": 1, "sentence": "A fine film", "word_labels": [2], "candidates": [[], ["good"], ["movie"]]},
        {"sentence": ["so", "what"]},
    ]
    found = load_sentences(write(tmp_path / "s.json", entries))
    assert found == [
        Sentence(("A", "fine", "film"), 1, ((), ("good",), ("movie",))),
        Sentence(("so", "what")),
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is no JSON"),
        ([], "holds a JSON list, not an object"),
        ({"film": "movie"}, "words['film'] must be a list of words"),
        ({"film": [1]}, "words['film'] must be a list of words"),
    ],
)
def test_bad_tables(tmp_path: Path, content: Any, words: str) -> None:
    with pytest.raises(PerturbationError) as caught:
        SynonymTable.load(write(tmp_path / "t.json", content))
    assert words in str(caught.value)
    assert "t.json" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "holds a JSON dict, not a list"),
        ([{"label": 1}], "entry 0 has no 'sentence'"),
        ([{"sentence": "a", "label": "x"}], "entry 0: label must be a whole number"),
        (
            [{"sentence": "a b", "candidates": [[]]}],
            "candidates must be one list for each of 2 tokens, not 1",
        ),
        ([{"sentence": "a", "candidates": 3}], "candidates must be one list for each of 1 tokens, not 3"),
        ([{"sentence": "a", "candidates": [[2]]}], "candidates[0] must be a list of words"),
        ([{"sentence": [2]}], "sentence must be a list of words"),
    ],
)
def test_bad_sentences(tmp_path: Path, content: Any, words: str) -> None:
    with pytest.raises(PerturbationError) as caught:
        load_sentences(write(tmp_path / "s.json", content))
    assert words in str(caught.value)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(PerturbationError, match="path: cannot read"):
        SynonymTable.load(tmp_path / "none.json")
    (tmp_path / "latin.json").write_bytes(b'{"caf\xe9": []}')
    with pytest.raises(PerturbationError, match="is no UTF-8 text"):
        SynonymTable.load(tmp_path / "latin.json")
