"""
May a word be exchanged?
========================

A classifier of short film reviews, and words that mean the same. Does the verdict stay, whichever one, two or three words are
exchanged? There are too many combinations to try in a long text; one bound covers them all.
"""

import itertools

import torch
from matplotlib import pyplot as plt
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor
from lirpa_perturbations import PerturbationSynonym

SYNONYMS = {
    "film": ("movie", "picture"),
    "story": ("plot", "tale"),
    "wonderful": ("brilliant", "great"),
    "moving": ("touching", "gripping"),
    "boring": ("dull", "tedious"),
    "awful": ("terrible", "bad"),
    "really": ("truly", "very"),
}
WORDS = sorted(
    {"the", "and", "was", *SYNONYMS, *itertools.chain(*SYNONYMS.values())}
)
NUMBER = {word: number for number, word in enumerate(WORDS)}
GOOD, BAD = (
    ("wonderful", "moving", "brilliant", "gripping"),
    ("boring", "awful", "dull", "tedious"),
)


def sentence(thing: str, first: str, second: str) -> list[str]:
    return ["the", thing, "was", "really", first, "and", second]


# %%
# A small transformer without position knows little of words that it has seldom seen: training uses some synonyms only.


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(
            12, 2, 24, dropout=0.0, batch_first=True
        )
        self.head = nn.Linear(12, 1)

    def forward(self, vectors: Tensor) -> Tensor:
        return self.head(self.layer(vectors).mean(1))


torch.manual_seed(0)
table = torch.randn(len(WORDS), 12)
for (
    word,
    others,
) in SYNONYMS.items():  # vectors of words that mean the same are near each other
    for other in others:
        table[NUMBER[other]] = table[NUMBER[word]] + 0.3 * torch.randn(12)
texts = [
    sentence(t, a, b)
    for t in ("film", "story")
    for kind in (GOOD, BAD)
    for a in kind
    for b in kind
]
ids = torch.tensor([[NUMBER[word] for word in text] for text in texts])
right = torch.tensor([[float(text[4] in GOOD)] for text in texts])
reader = Reader()
optimizer = torch.optim.Adam(reader.parameters(), 0.01)
for _ in range(12):
    loss = nn.functional.binary_cross_entropy_with_logits(reader(table[ids]), right)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
reader.eval().requires_grad_(False)

# %%
# ``substitutes`` are the vectors that may stand in each place; ``budget`` is how many places may change.

review = sentence("film", "wonderful", "moving")
vectors = table[[NUMBER[word] for word in review]].unsqueeze(0)
places = [
    [table[NUMBER[other]] for other in SYNONYMS.get(word, ())] for word in review
]
substitutes, exists = (
    torch.zeros(1, len(review), 2, 12),
    torch.zeros(1, len(review), 2, dtype=torch.bool),
)
for place, others in enumerate(places):
    for number, vector in enumerate(others):
        substitutes[0, place, number], exists[0, place, number] = vector, True

model = BoundedModule(reader, vectors)
changeable = sum(bool(others) for others in places)
bounds, worst = {}, {}
for budget in range(changeable + 1):
    words = BoundedTensor(
        vectors, PerturbationSynonym(budget, substitutes, mask=exists)
    )
    with torch.no_grad():
        lower, _ = model.compute_bounds(words, method="CROWN", bound_upper=False)
    bounds[budget] = lower.item()

# %%
# This review is short enough to try all of it.

for chosen in itertools.product(
    *[(word, *SYNONYMS.get(word, ())) for word in review]
):
    changed = sum(a != b for a, b in zip(chosen, review))
    score = reader(table[[NUMBER[word] for word in chosen]].unsqueeze(0)).item()
    for budget in range(changed, changeable + 1):
        worst[budget] = min(score, worst.get(budget, score))

figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
axes.plot(
    *zip(*sorted(worst.items())),
    "o-",
    color="0.4",
    label="worst of all combinations",
)
axes.plot(*zip(*bounds.items()), "s--", label="CROWN")
axes.axhline(0, color="0.7", linewidth=0.8)
axes.set(
    xlabel="words exchanged",
    ylabel="score of 'good', at least",
    xticks=range(changeable + 1),
)
axes.legend(frameon=False)
plt.show()

for budget, bound in bounds.items():
    kept = "kept" if bound > 0 else "not proved"
    truth = f"in truth {worst[budget]:.2f}"
    print(f"{budget} words: at least {bound:.2f}, {kept}; {truth}")
    assert bound <= worst[budget] + 1e-4
assert bounds[changeable] > 0  # so no combination turns the verdict
