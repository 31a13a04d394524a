"""From words to tensors: sentences and their substitutes under a vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lirpa_core.errors import PerturbationError
from lirpa_perturbations.synonym import PerturbationSynonym


@dataclass(frozen=True, eq=False)
class EncodedSentences:
    """A batch of sentences and their substitutes, as numbers of words.

    Attributes:
        ids: Words `[B, T]`, padded.
        substitutes: Substitutes `[B, T, S]`, padded.
        mask: Which substitutes exist, `[B, T, S]`.
        lengths: Tokens of each sentence, `[B]`.
    """

    ids: Tensor
    substitutes: Tensor
    mask: Tensor
    lengths: Tensor

    @property
    def padding_mask(self) -> Tensor:
        """Which positions hold no word, `[B, T]`: what attention calls a key padding mask."""
        return torch.arange(self.ids.shape[1]) >= self.lengths.unsqueeze(1)

    def embed(self, weight: Tensor) -> Tensor:
        """Embeddings of the sentences, `[B, T, D]`, for an embedding table `[V, D]`."""
        return self._lookup(weight, self.ids)

    def perturbation(
        self, budget: Any, weight: Tensor, *, costs: Tensor | None = None, eps: float = 1.0
    ) -> PerturbationSynonym:
        """Substitution of up to `budget` words, for an embedding table `[V, D]`.

        Args:
            budget: As for `PerturbationSynonym`.
            weight: The model's own embedding table; gradients reach it.
            costs: Price of each substitute, `[B, T, S]`.
            eps: As for `PerturbationSynonym`.
        """
        return PerturbationSynonym(budget, self._lookup(weight, self.substitutes), self.mask, costs, eps)

    def _lookup(self, weight: Tensor, ids: Tensor) -> Tensor:
        if weight.dim() != 2 or not weight.is_floating_point():
            raise PerturbationError(
                f"weight must be an embedding table [V, D], but is {weight.dtype} {list(weight.shape)}"
            )
        if int(ids.max()) >= weight.shape[0]:
            raise PerturbationError(
                f"weight has {weight.shape[0]} rows, but the vocabulary numbers words up to {int(ids.max())}"
            )
        return torch.nn.functional.embedding(ids.to(weight.device), weight)


def encode_sentences(
    sentences: Sequence[Sequence[str]],
    candidates: Sequence[Sequence[Sequence[str]]],
    vocabulary: Mapping[str, int],
    *,
    unknown: str | None = None,
    padding: int = 0,
    length: int | None = None,
) -> EncodedSentences:
    """Number the words of sentences and of their substitutes.

    Words are looked up as they are, then in lower case. Substitutes that have the number of the word
    itself or of another substitute are left out.

    Args:
        sentences: The tokens of each sentence.
        candidates: Substitutes of each token of each sentence; empty lists where there are none.
            `SynonymTable.candidates` and `Sentence.candidates` give them.
        vocabulary: Word to number.
        unknown: The word that stands for all that the vocabulary lacks; None: such a word is an error.
        padding: Number that fills shorter sentences.
        length: Tokens to pad to; default: the longest sentence's.

    Raises:
        PerturbationError: Naming the argument: nothing to encode, `candidates` that do not fit the
            sentences, words that `vocabulary` lacks, a `length` that a sentence exceeds.
    """
    if len(sentences) == 0 or any(len(tokens) == 0 for tokens in sentences):
        raise PerturbationError("sentences must be at least one, each with at least one token")
    if any(isinstance(tokens, str) for tokens in sentences):
        raise PerturbationError("sentences must be lists of tokens, not strings: split them first")
    if [len(found) for found in candidates] != [len(tokens) for tokens in sentences]:
        raise PerturbationError("candidates must have one list of words for each token of each sentence")
    longest = max(map(len, sentences))
    T = longest if length is None else length
    if longest > T:
        raise PerturbationError(f"length is {T}, but a sentence has {longest} tokens")
    words = [w for tokens in sentences for w in tokens]
    words += [w for lists in candidates for found in lists for w in found]
    numbers = _numbers(words, vocabulary, unknown)
    ids = torch.full((len(sentences), T), padding)
    chosen: dict[tuple[int, int], list[int]] = {}
    for b, (tokens, lists) in enumerate(zip(sentences, candidates, strict=True)):
        for t, (token, found) in enumerate(zip(tokens, lists, strict=True)):
            own = numbers[token]
            ids[b, t] = own
            chosen[b, t] = [i for i in dict.fromkeys(numbers[w] for w in found) if i != own]
    S = max(1, *map(len, chosen.values()))
    substitutes = torch.full((*ids.shape, S), padding)
    mask = torch.zeros(substitutes.shape, dtype=torch.bool)
    for (b, t), found_ids in chosen.items():
        substitutes[b, t, : len(found_ids)] = torch.tensor(found_ids, dtype=torch.long)
        mask[b, t, : len(found_ids)] = True
    return EncodedSentences(ids, substitutes, mask, torch.tensor([len(tokens) for tokens in sentences]))


def _numbers(words: Sequence[str], vocabulary: Mapping[str, int], unknown: str | None) -> dict[str, int]:
    if unknown is not None and unknown not in vocabulary:
        raise PerturbationError(f"unknown is {unknown!r}, which the vocabulary itself lacks")
    missing: list[str] = []
    numbers: dict[str, int] = {}
    for word in dict.fromkeys(words):
        name = word if word in vocabulary else word.lower()
        if name in vocabulary:
            numbers[word] = vocabulary[name]
        elif unknown is not None:
            numbers[word] = vocabulary[unknown]
        else:
            missing.append(word)
    if missing:
        shown = ", ".join(map(repr, missing[:8])) + (", ..." if len(missing) > 8 else "")
        raise PerturbationError(
            f"vocabulary lacks {len(missing)} of the words: {shown}. Give the word that stands for unknown ones "
            "(unknown='<unk>'), or leave such substitutes out with SynonymTable.restricted(vocabulary)"
        )
    return numbers
