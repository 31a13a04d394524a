"""Branch and bound over neurons: below a kink and above it, a network is simpler than around it.

A subproblem limits some neurons to one side of their split point, and its bound holds for the inputs that keep to
that. Batches of them are bounded by β-CROWN (Wang et al. 2021, "Beta-CROWN: Efficient bound propagation with per-neuron
split constraints for neural network robustness verification"), each from the slopes and multipliers of its parent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import torch
from torch import Tensor

from lirpa_core.methods import AlphaCROWN
from lirpa_verify.branching import FSB, Gain, NeuronBranching, OpenNeurons
from lirpa_verify.ladder.attack import Attack
from lirpa_verify.ladder.progress import Progress
from lirpa_verify.ladder.steps import Context, State
from lirpa_verify.rounding import is_positive, slack
from lirpa_verify.search.split_bounds import Bounded, SplitBounds
from lirpa_verify.search.subproblems import Subproblems
from lirpa_verify.task import Counterexample, replay

#: Steps of the optimiser for each batch: more where a step is cheap, for up to so many neurons.
_FEW_NEURONS: Final = 2048
_STEPS: Final = (40, 20)

#: Neurons of all subproblems of a batch together, unless that makes a very small or a very large batch.
_NEURONS_AT_ONCE: Final = 2**17


@dataclass(frozen=True)
class NeuronSplitting:
    """Splits neurons until bounds decide every part.

    Attributes:
        branching: Which neuron of a subproblem is split; None: filtered smart branching (`FSB`) for networks of ReLUs and
            the like, `Gain` for others.
        iterations: Steps of the optimiser for each batch; None: more for small networks than for large ones.
        inner_iterations: Steps for the bounds of neurons over the whole set, which all subproblems start from.
        inner_rows: How many neurons of a layer are searched for then, those of the widest intervals; None: all.
        first_iterations: Steps for the subproblems that nothing is split in.
        batch: Subproblems that are bounded at once; None: more for small networks than for large ones.
        memory_budget: Bytes that open subproblems may take before the search goes deep instead of wide.
        attack: The attack that starts where a batch's linear bounds are lowest.
        name: What tables call it.
    """

    branching: NeuronBranching | None = None
    iterations: int | None = None
    inner_iterations: int = 5
    inner_rows: int | None = 64
    first_iterations: int = 30
    batch: int | None = None
    memory_budget: int = 2**30
    attack: Attack = field(default_factory=lambda: Attack(steps=20, restarts=1))
    name: str = "neuron splitting"

    def applies(self, progress: Progress) -> bool:
        """For sets that can be copied for a batch: boxes and balls without tensors of their own for each example."""
        return all(x.shape[0] == 1 for x in progress.task.region.nominal)

    def run(self, progress: Progress, context: Context) -> Progress:
        """Split until everything is decided or the time is over."""
        bounder = context.bounder
        inner = AlphaCROWN(self.inner_iterations, fix_intermediate=False, inner_rows=self.inner_rows)
        intervals = bounder.intermediate_bounds(inner)
        bounds = SplitBounds.of(progress.task, progress.open, bounder.model, bounder.quick, intervals)
        return progress if bounds is None else _Search(self, progress, context, bounds).run()


class _Search:
    """One search; what changes is the list of open subproblems and the counts."""

    def __init__(
        self, settings: NeuronSplitting, progress: Progress, context: Context, bounds: SplitBounds
    ) -> None:
        self.settings = settings
        self.progress = progress
        self.context = context
        self.bounds = bounds
        self.task = progress.task
        self.wanted = progress.open
        neurons = bounds.neurons
        self.branching = settings.branching or (FSB() if neurons.kinked else Gain())
        self.batch = settings.batch or min(512, max(64, _NEURONS_AT_ONCE // neurons.lower.shape[1]))
        self.iterations = settings.iterations or _STEPS[neurons.lower.shape[1] > _FEW_NEURONS]
        self.bounded = 0
        self.stuck: list[Subproblems] = []  # open, with no neuron left to split

    def run(self) -> Progress:
        """Search, and say what is known afterwards."""
        roots = self.bounds.roots(self.progress.margins[self.wanted])
        still, found = self._bound(roots, self.settings.first_iterations)
        while len(still) and found is None and not self.context.clock.expired:
            parents, still = self._pop(still)
            children, found = self._bound(parents.halves(), self.iterations)
            still = Subproblems.join(still, children)
            worst = float(still.worst.min()) if len(still) else torch.inf
            self.context.report(State(self.context.clock.elapsed, len(still), self.bounded, worst))
        return self._concluded(Subproblems.join(still, *self.stuck), found)

    def _pop(self, still: Subproblems) -> tuple[Subproblems, Subproblems]:
        """The subproblems to split next: those with the worst bounds, or where memory is short the best."""
        count = min(len(still), max(1, self.batch // 2))
        deep = len(still) * still.bytes_of_one > self.settings.memory_budget
        taken = still.worst.topk(count, largest=deep).indices.sort().values
        kept = torch.ones(len(still), dtype=torch.bool)
        kept[taken] = False
        return still[taken], still[kept]

    def _bound(self, parts: Subproblems, iterations: int) -> tuple[Subproblems, Counterexample | None]:
        """Bound subproblems, and give those that stay open, with the neuron to split next."""
        self.bounded += len(parts)
        scale = self._scale(parts.violation)
        done = self.bounds.bound(parts, iterations, 2 * slack(scale))
        parts, scale = done.parts, scale[done.index]
        margins = done.lower.maximum(parts.worst)  # a part's bound is at least its parent's
        still = (~is_positive(margins, scale)).nonzero().flatten()
        if not len(still):
            return parts[still], None
        counterexample = self._attack(parts.violation[still], margins[still], done, still)
        parts = replace(parts[still], worst=margins[still])
        view = self._view(parts, done, still)
        split = self.branching.choose(view)
        point = view.points.gather(1, split.unsqueeze(1)).squeeze(1)
        kept = replace(parts, split=split, point=point)
        whole = point.isnan()
        if counterexample is None and bool(whole.any()):
            counterexample = self._settle(kept[whole])
        return kept[~whole], counterexample

    def _settle(self, parts: Subproblems) -> Counterexample | None:
        """Settle subproblems with no neuron left to split; those that stay open are kept apart."""
        (shape, *_) = self.task.network.shapes
        for i in range(len(parts)):
            part = parts[torch.tensor([i])]
            found = None if self.context.clock.expired else self.bounds.settled(part)
            if found is not None:
                lower, point = found
                part = replace(part, worst=part.worst.maximum(lower))
                counterexample = replay(self.task, (point.reshape(shape).to(self.task.network.dtype),))
                if counterexample is not None:
                    return counterexample
            if not bool(is_positive(part.worst, self._scale(part.violation))):
                self.stuck.append(part)
        return None

    def _scale(self, violation: Tensor) -> Tensor:
        """The size of the constants of violations' rows, `[B]`."""
        return self.task.rows.constants[self.bounds.rows].abs().amax(1)[violation]

    def _view(self, parts: Subproblems, done: Bounded, still: Tensor) -> OpenNeurons:
        neurons = self.bounds.neurons
        low, high = done.low[still], done.high[still]
        points = neurons.points(low, high)
        coefficients = [
            done.form.at_nodes[name].to_dense()[0].expand(len(done.lower), *layer.shape).flatten(1)
            for name, layer in zip(self.bounds.activations, neurons.layers, strict=True)
        ]

        def trial(tried: Tensor) -> tuple[Tensor, Tensor]:
            many = parts[torch.arange(len(parts)).repeat(len(tried))]
            split = replace(many, split=tried.flatten(), point=points.gather(1, tried.T).T.flatten())
            above, below = self.bounds.tried(split.halves()).reshape(2, *tried.shape)
            return above, below

        return OpenNeurons(
            low,
            high,
            points,
            torch.cat(coefficients, 1)[still],
            self.bounds.offsets,
            trial,
            lambda: self.bounds.slopes_in_limits(parts),
        )

    def _attack(
        self, violation: Tensor, margins: Tensor, done: Bounded, still: Tensor
    ) -> Counterexample | None:
        """Attack from the corner where the linear bound of each violation's worst subproblem is lowest."""
        box = self.task.region.single_box()
        if box is None:
            return None
        ((_, A),) = done.form.coefficients.items()
        flat = A.to_dense()[0].expand(len(done.lower), *A.shape).flatten(1)  # [B, n]
        order = margins.argsort()
        seen: dict[int, int] = {}
        for i in order.tolist():
            seen.setdefault(int(violation[i]), i)
        groups = sorted(seen)
        worst = still[[seen[g] for g in groups]]
        corners = torch.where(flat[worst] > 0, *box)
        (shape,) = self.task.network.shapes
        wanted: Sequence[int] = [self.wanted[g] for g in groups]
        found, _ = self.settings.attack.run(
            self.task, wanted, self.context.clock, self.context.seed, (corners.reshape(-1, *shape),)
        )
        return found

    def _concluded(self, still: Subproblems, found: Counterexample | None) -> Progress:
        excluded, searched = self.progress.excluded.clone(), self.progress.searched.clone()
        for number, g in enumerate(self.wanted):
            left = still.worst[still.violation == number]
            excluded[g] |= len(left) == 0 and found is None
            if found is None:
                searched[g] = searched[g].maximum(
                    left.min().clamp(max=0) if len(left) else searched.new_zeros(())
                )
        counts = {"subproblems": self.bounded, "open subproblems": len(still)}
        progress = replace(self.progress, excluded=excluded, searched=searched, counts=counts)
        return progress if found is None else progress.refuted(found)
