"""Branch and bound over neurons: below a kink and above it, a network is simpler than around it.

A subproblem limits some neurons to one side of their split point, and its bound holds for the inputs that keep to
that. Xu et al. 2021, "Fast and complete", bound batches of such subproblems with slopes optimised for each. The
limits enter through the relaxations of the split neurons; multipliers for them (β-CROWN, Wang et al. 2021) come on
top when the core's backward pass takes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import torch
from torch import Tensor

from lirpa_core import BoundedTensor, PerturbationLpNorm
from lirpa_verify.branching import Gain, NeuronBranching, OpenNeurons
from lirpa_verify.ladder.attack import Attack
from lirpa_verify.ladder.progress import Progress
from lirpa_verify.ladder.steps import Context, State
from lirpa_verify.rounding import is_positive
from lirpa_verify.search.neurons import Neurons
from lirpa_verify.search.subproblems import Subproblems
from lirpa_verify.task import Counterexample

#: Neurons of all subproblems of a batch together, unless that makes a very small or a very large batch.
_NEURONS_AT_ONCE: Final = 2**17


@dataclass(frozen=True)
class NeuronSplitting:
    """Splits neurons until bounds decide every part.

    Attributes:
        branching: Which neuron of a subproblem is split.
        iterations: Steps of the slopes' optimiser for each batch.
        batch: Subproblems that are bounded at once; None: more for small networks than for large ones.
        memory_budget: Bytes that open subproblems may take before the search goes deep instead of wide.
        attack: The attack that starts where a batch's linear bounds are lowest.
        name: What tables call it.
    """

    branching: NeuronBranching = field(default_factory=Gain)
    iterations: int = 10
    batch: int | None = None
    memory_budget: int = 2**30
    attack: Attack = field(default_factory=lambda: Attack(steps=20, restarts=1))
    name: str = "neuron splitting"

    def applies(self, progress: Progress) -> bool:
        """For sets that can be copied for a batch: boxes and balls without tensors of their own for each example."""
        return all(x.shape[0] == 1 for x in progress.task.region.nominal)

    def run(self, progress: Progress, context: Context) -> Progress:
        """Split until everything is decided or the time is over."""
        model = context.bounder.model
        task = progress.task
        with torch.no_grad():
            found = model.compute_bounds(
                x=task.region.bounded(),
                C=task.rows.coefficients[progress.open_rows].unsqueeze(0),
                method="CROWN",
                bound_upper=False,
            )
        neurons = Neurons.of(model, found)
        return progress if neurons is None else _Search(self, progress, context, neurons).run()


class _Search:
    """One search; what changes is the list of open subproblems and the counts."""

    def __init__(
        self, settings: NeuronSplitting, progress: Progress, context: Context, neurons: Neurons
    ) -> None:
        self.settings = settings
        self.progress = progress
        self.context = context
        self.neurons = neurons
        self.task = progress.task
        self.wanted = progress.open
        self.rows = [self.task.rows.groups[g].nonzero().flatten() for g in self.wanted]
        self.batch = settings.batch or min(512, max(64, _NEURONS_AT_ONCE // neurons.lower.shape[1]))
        self.bounded = 0
        self.stuck: list[Subproblems] = []  # open, with no neuron left to split

    def run(self) -> Progress:
        """Search, and say what is known afterwards."""
        roots = Subproblems.roots(self.progress.margins[self.wanted])
        still, found = self._bound(roots)
        while len(still) and found is None and not self.context.clock.expired:
            parents, still = self._pop(still)
            children, found = self._bound(parents.halves())
            still = Subproblems.join(still, children)
            worst = float(still.worst.min()) if len(still) else torch.inf
            self.context.report(State(self.context.clock.elapsed, len(still), self.bounded, worst))
        return self._concluded(Subproblems.join(still, *self.stuck), found)

    def _pop(self, still: Subproblems) -> tuple[Subproblems, Subproblems]:
        """The subproblems to split next: those with the worst bounds, or where memory is short the best."""
        count = min(len(still), max(1, self.batch // 2))
        deep = len(still) * (24 * still.neuron.shape[1] + 40) > self.settings.memory_budget
        taken = still.worst.topk(count, largest=deep).indices.sort().values
        kept = torch.ones(len(still), dtype=torch.bool)
        kept[taken] = False
        return still[taken], still[kept]

    def _bound(self, parts: Subproblems) -> tuple[Subproblems, Counterexample | None]:
        """Bound subproblems, and give those that stay open, with the neuron to split next."""
        self.bounded += len(parts)
        low, high = parts.limits(self.neurons.lower, self.neurons.upper)
        low, high = low.requires_grad_(), high.requires_grad_()
        inputs, walls = self._inputs(len(parts))
        C, c = self._specification(parts.violation)
        model = self.context.bounder.model
        model.set_bound_opts({"optimize_bound_args": {"iteration": self.settings.iterations}})
        with torch.enable_grad():
            found = model.compute_bounds(
                x=inputs,
                C=C,
                method="CROWN-Optimized",
                bound_upper=False,
                interm_bounds=self.neurons.as_bounds(low, high),
            )
            rows: Tensor = found.lower + c
            margins = rows.amax(1)
            slopes = torch.autograd.grad(margins.sum(), [low, high, *walls], allow_unused=True)
        margins = margins.detach().maximum(parts.worst)  # a part's bound is at least its parent's
        still = ~is_positive(margins, c.abs().amax(1))
        if not bool(still.any()):
            return parts[still], None
        low_slopes, high_slopes = (
            torch.zeros_like(limit) if g is None else g
            for limit, g in zip((low, high), slopes[:2], strict=True)
        )
        view = OpenNeurons(
            low.detach()[still],
            high.detach()[still],
            self.neurons.points(low.detach()[still], high.detach()[still]),
            low_slopes[still],
            high_slopes[still],
        )
        counterexample = self._attack(parts.violation[still], margins[still], walls, slopes[2:], still)
        split = self.settings.branching.choose(view)
        point = view.points.gather(1, split.unsqueeze(1)).squeeze(1)
        kept = replace(parts[still], worst=margins[still], split=split, point=point)
        whole = point.isnan()
        self.stuck.append(kept[whole])
        return kept[~whole], counterexample

    def _specification(self, violation: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of each subproblem's violation, `[B, R, K]` and `[B, R]`, repeated where others have more."""
        most = max(len(r) for r in self.rows)
        table = torch.stack([r[torch.arange(most) % len(r)] for r in self.rows])  # [G, R]
        rows = table[violation]
        own = self.task.rows
        return own.coefficients[rows], own.constants[rows]

    def _inputs(self, batch: int) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        """The region for a batch; and of a single box its limits, which the bounds' gradient is wanted for."""
        region = self.task.region
        box = region.single_box()
        if box is not None:
            (shape,) = self.task.network.shapes
            walls = [
                side.expand(batch, -1).reshape(-1, *shape).detach().clone().requires_grad_() for side in box
            ]
            centre = ((walls[0] + walls[1]) / 2).detach()
            return (BoundedTensor(centre, PerturbationLpNorm(x_L=walls[0], x_U=walls[1])),), walls
        inputs = []
        for x, set_ in zip(region.nominal, region.perturbations, strict=True):
            many = x.expand(batch, *x.shape[1:])
            inputs.append(many if set_ is None else BoundedTensor(many, set_))
        return tuple(inputs), []

    def _attack(
        self,
        violation: Tensor,
        margins: Tensor,
        walls: Sequence[Tensor],
        slopes: Sequence[Tensor | None],
        still: Tensor,
    ) -> Counterexample | None:
        """Attack from the corner where the linear bound of each violation's worst subproblem is lowest."""
        if not walls or any(g is None for g in slopes):
            return None
        # Of a linear bound A·x over a box the gradient is A⁺ in the lower and A⁻ in the upper limits.
        A = sum(g for g in slopes if g is not None)
        assert isinstance(A, Tensor)
        corners = torch.where(A > 0, walls[0], walls[1]).detach()[still]
        order = margins.argsort()
        seen: dict[int, int] = {}
        for i in order.tolist():
            seen.setdefault(int(violation[i]), i)
        groups = sorted(seen)
        first = corners[[seen[g] for g in groups]]
        wanted = [self.wanted[g] for g in groups]
        found, _ = self.settings.attack.run(
            self.task, wanted, self.context.clock, self.context.seed, (first,)
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
