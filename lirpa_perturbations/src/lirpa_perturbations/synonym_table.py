"""Synonyms from JSON: a table of words, and sentences with candidates for each token."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lirpa_core.errors import PerturbationError


@dataclass(frozen=True)
class SynonymTable(Mapping[str, tuple[str, ...]]):
    """Substitutes of each word, the same in every sentence.

    Attributes:
        words: Word to substitutes. Words are looked up as they are, then in lower case.
    """

    words: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        clean = {word: _words(f"words[{word!r}]", found) for word, found in self.words.items()}
        object.__setattr__(self, "words", clean)

    @classmethod
    def load(cls, path: str | Path) -> SynonymTable:
        """Read a JSON object `{word: [substitute, ...]}`.

        Raises:
            PerturbationError: Naming the file: unreadable, no JSON, or not of that form.
        """
        content = _read_json(path)
        if not isinstance(content, dict):
            raise PerturbationError(f"path: {path} holds a JSON {type(content).__name__}, not an object")
        try:
            return cls(content)
        except PerturbationError as error:
            raise PerturbationError(f"path: {path}: {error}") from error

    def restricted(self, vocabulary: Collection[str]) -> SynonymTable:
        """The table without substitutes that a vocabulary lacks: bounds then say nothing about those."""
        kept = {w: tuple(s for s in found if s in vocabulary) for w, found in self.words.items()}
        return SynonymTable({w: found for w, found in kept.items() if found})

    def candidates(self, tokens: Sequence[str]) -> list[tuple[str, ...]]:
        """Substitutes of each token of a sentence; none for words that the table lacks."""
        return [self.words.get(t, self.words.get(t.lower(), ())) for t in tokens]

    def __getitem__(self, word: str) -> tuple[str, ...]:
        return self.words[word]

    def __iter__(self) -> Iterator[str]:
        return iter(self.words)

    def __len__(self) -> int:
        return len(self.words)


@dataclass(frozen=True)
class Sentence:
    """A sentence with its label and, where they depend on the context, its substitutes.

    Attributes:
        tokens: The words.
        label: The class; None where the data has none.
        candidates: Substitutes of each token; None where the data has none.
    """

    tokens: tuple[str, ...]
    label: int | None = None
    candidates: tuple[tuple[str, ...], ...] | None = None


def load_sentences(path: str | Path) -> list[Sentence]:
    """Read a JSON list of `{"sentence": ..., "label": ..., "candidates": [[...], ...]}`.

    A sentence is a list of tokens, or a string whose tokens spaces separate. `label` and `candidates`
    may be left out; other keys are ignored.

    Raises:
        PerturbationError: Naming the file and the entry: unreadable, no JSON, or not of that form.
    """
    content = _read_json(path)
    if not isinstance(content, list):
        raise PerturbationError(f"path: {path} holds a JSON {type(content).__name__}, not a list")
    return [_sentence(f"path: {path}: entry {i}", entry) for i, entry in enumerate(content)]


def _sentence(where: str, entry: Any) -> Sentence:
    if not isinstance(entry, dict) or "sentence" not in entry:
        raise PerturbationError(f"{where} has no 'sentence'")
    text = entry["sentence"]
    tokens = tuple(text.split()) if isinstance(text, str) else _words(f"{where}: sentence", text)
    label = entry.get("label")
    if label is not None and type(label) is not int:
        raise PerturbationError(f"{where}: label must be a whole number, not {label!r}")
    found = entry.get("candidates")
    if found is None:
        return Sentence(tokens, label)
    if not isinstance(found, list) or len(found) != len(tokens):
        amount = f"{len(found)} lists" if isinstance(found, list) else repr(found)
        raise PerturbationError(
            f"{where}: candidates must be one list for each of {len(tokens)} tokens, not {amount}"
        )
    lists = tuple(_words(f"{where}: candidates[{i}]", words) for i, words in enumerate(found))
    return Sentence(tokens, label, lists)


def _words(where: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(w, str) for w in value):
        raise PerturbationError(f"{where} must be a list of words, not {value!r}")
    return tuple(value)


def _read_json(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise PerturbationError(f"path: cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise PerturbationError(f"path: {path} is no UTF-8 text: {error}") from error
    except ValueError as error:
        raise PerturbationError(f"path: {path} is no JSON: {error}") from error
