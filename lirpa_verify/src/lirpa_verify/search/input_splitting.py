"""Branch and bound over boxes of inputs, for networks with few inputs.

Boxes that bounds leave open are halved; a batch of boxes is a batch of examples. Bunel et al. 2020, "Branch and
bound for piecewise linear neural network verification", is the general scheme.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import torch
from torch import Tensor

from lirpa_verify.bounding import LinearBounds
from lirpa_verify.branching import InputBranching, OpenBoxes, Smart, halves
from lirpa_verify.ladder.attack import Attack
from lirpa_verify.ladder.progress import Progress
from lirpa_verify.ladder.steps import Context, State
from lirpa_verify.rounding import is_positive
from lirpa_verify.search.clipping import clip
from lirpa_verify.search.queue import Boxes, Queue
from lirpa_verify.task import Counterexample, Task, replay

#: More inputs than this are not split: every halving doubles the work and changes little.
_MOST_INPUTS: Final = 24


#: Of the points that a batch of boxes suggests, so many are improved by so many gradient steps, and so many replayed.
_DESCENDING: Final = 48
_DESCENT: Final = 6
_REPLAYS: Final = 3


@dataclass(frozen=True)
class InputSplitting:
    """Halves boxes of inputs until bounds decide each one.

    Attributes:
        branching: Which input of a box is halved.
        methods: Bound methods, each only for the boxes that the one before left open.
        trial_method: Bound method for heuristics that try their choices.
        batch: Boxes that are bounded at once.
        attack: A thorough attack, once, on what is open when the search has taken about as long as it takes; None: none.
            The search attacks from every box as well.
        attack_after: So many boxes are bounded before.
        memory_budget: Bytes that open boxes may take before the search goes deep instead of wide.
        most_inputs: The step does nothing for networks with more inputs that move.
        name: What tables call it.
    """

    branching: InputBranching = field(default_factory=Smart)
    methods: tuple[str, ...] = ("CROWN",)
    trial_method: str = "CROWN-forward"
    batch: int = 1024
    attack: Attack | None = None
    attack_after: int = 128
    memory_budget: int = 2**30
    most_inputs: int = _MOST_INPUTS
    name: str = "input splitting"

    def applies(self, progress: Progress) -> bool:
        """For one input tensor in a box, with few elements that move."""
        box = progress.task.region.single_box()
        return box is not None and int((box[1] > box[0]).sum()) <= self.most_inputs

    def run(self, progress: Progress, context: Context) -> Progress:
        """Split until everything is decided or the time is over."""
        return _Search(self, progress, context).run()


class _Search:
    """One search; what changes is the queue and the counts."""

    def __init__(self, settings: InputSplitting, progress: Progress, context: Context) -> None:
        self.settings = settings
        self.progress = progress
        self.context = context
        self.task: Task = progress.task
        self.rows = progress.open_rows
        self.wanted = progress.open
        self.groups = self.task.rows.groups[self.wanted][:, self.rows]  # [G, R]
        self.bounded = 0
        self.attacked = False
        self.module = self.task.module(self.task.network.dtype)
        inside = self.task.region.to(self.task.network.dtype).single_box()
        assert inside is not None
        self.limits = inside  # in the network's type, [1, N] each

    def run(self) -> Progress:
        """Search, and say what is known afterwards."""
        root = self._root()
        queue = Queue(root, self.settings.memory_budget)
        while len(queue) and not self.context.clock.expired:
            parents = queue.pop(max(1, self.settings.batch // 2))
            lower, upper = halves(parents.lower, parents.upper, parents.split)
            children, found = self._bound(lower, upper, parents.open.repeat(2, 1))
            if found is not None:
                return self._counted(self.progress.refuted(found), queue)
            queue.push(children)
            found = self._attacked(queue)
            if found is not None:
                return self._counted(self.progress.refuted(found), queue)
            self.context.report(State(self.context.clock.elapsed, len(queue), self.bounded, queue.worst))
        return self._counted(self._concluded(queue), queue)

    def _attacked(self, queue: Queue) -> Counterexample | None:
        """The thorough attack, once, when its turn has come."""
        attack = self.settings.attack
        if attack is None or self.attacked or self.bounded < self.settings.attack_after or not len(queue):
            return None
        self.attacked = True
        still = [v for v, left in zip(self.wanted, queue.open_violations().tolist(), strict=True) if left]
        found, _ = attack.run(self.task, still, self.context.clock, self.context.seed)
        return found

    def _root(self) -> Boxes:
        box = self.task.region.single_box()
        assert box is not None
        lower, upper = box
        opened = torch.ones(1, len(self.wanted), dtype=torch.bool)
        width = upper - lower
        return Boxes(lower, upper, opened, torch.full((1,), -torch.inf, dtype=lower.dtype), width.argmax(1))

    def _bound(self, lower: Tensor, upper: Tensor, opened: Tensor) -> tuple[Boxes, Counterexample | None]:
        """Bound boxes, and give those that stay open, with the input to halve next."""
        self.bounded += len(lower)
        bounds: LinearBounds | None = None
        for method in self.settings.methods:
            bounds = self._linear(lower, upper, method)
            lower, upper, opened = self._clipped(lower, upper, opened, bounds)
            kept = opened.any(1)
            lower, upper, opened = lower[kept], upper[kept], opened[kept]
            bounds = LinearBounds(bounds.lower[kept], bounds.A[kept], bounds.bias[kept])
            if not len(lower):
                break
        assert bounds is not None
        empty = Boxes(
            lower, upper, opened, lower.new_zeros(len(lower)), torch.zeros(len(lower), dtype=torch.long)
        )
        if not len(lower):
            return empty, None
        found = self._attack(lower, upper, bounds)
        if found is not None:
            return empty, found
        needed = (opened.unsqueeze(2) & self.groups).any(1)  # [B, R]
        view = OpenBoxes(lower, upper, bounds.A, bounds.lower, needed, self.groups, self._trial)
        margins = bounds.lower.unsqueeze(1).masked_fill(~self.groups, -torch.inf).amax(2)
        worst = margins.masked_fill(~opened, torch.inf).amin(1)
        return Boxes(lower, upper, opened, worst, self.settings.branching.choose(view)), None

    def _linear(self, lower: Tensor, upper: Tensor, method: str) -> LinearBounds:
        return self.context.bounder.linear(lower, upper, self.rows, method)

    def _trial(self, lower: Tensor, upper: Tensor) -> Tensor:
        return self._linear(lower, upper, self.settings.trial_method).lower

    def _clipped(
        self, lower: Tensor, upper: Tensor, opened: Tensor, bounds: LinearBounds
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes without what the bounds exclude for every open violation, and what stays open."""
        scale = bounds.bias.abs() + (bounds.A.abs() @ lower.abs().maximum(upper.abs()).unsqueeze(2)).squeeze(
            2
        )
        positive = is_positive(bounds.lower, scale)  # [B, R]
        opened = opened & ~(positive.unsqueeze(1) & self.groups).any(2)
        low = torch.full_like(lower, torch.inf)
        high = torch.full_like(upper, -torch.inf)
        for g, rows in enumerate(self.groups):
            a, b, empty = clip(lower, upper, bounds, rows)
            opened[:, g] &= ~empty
            here = opened[:, g].unsqueeze(1)
            low = torch.where(here, low.minimum(a), low)
            high = torch.where(here, high.maximum(b), high)
        return low, high, opened

    def _attack(self, lower: Tensor, upper: Tensor, bounds: LinearBounds) -> Counterexample | None:
        """Try the middle of each box, and the corner where the worst row's linear bound is lowest."""
        row = bounds.lower.argmin(1)
        A = bounds.A[torch.arange(len(row)), row]
        corner = torch.where(A > 0, lower, upper)
        dtype = self.task.network.dtype
        points = torch.cat([(lower + upper) / 2, corner]).to(dtype)
        points = self._descended(points)
        (shape,) = self.task.network.shapes
        with torch.no_grad():
            margins = self._lowest(points)
        order = margins.topk(min(_REPLAYS, len(margins)), largest=False).indices
        for i in order[margins[order] <= 0].tolist():
            found = replay(self.task, (points[i].reshape(shape),))
            if found is not None:
                return found
        return None

    def _descended(self, points: Tensor) -> Tensor:
        """The points `[P, N]`, and the best of them after some steps down the gradient of their margins."""
        with torch.no_grad():
            best = points[self._lowest(points).topk(min(_DESCENDING, len(points)), largest=False).indices]
        found = [points, best]
        for step in range(_DESCENT):
            z = best.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self._lowest(z).sum(), z)
            size = 0.05 * 0.5**step * (self.limits[1] - self.limits[0])
            best = (best - size * gradient.sign()).clamp(*self.limits)
            found.append(best)
        return torch.cat(found)

    def _lowest(self, points: Tensor) -> Tensor:
        """The lowest margin of the wanted violations at points `[P, N]`: `[P]`."""
        (shape,) = self.task.network.shapes
        values = self.task.rows.values(self.module(points.reshape(-1, *shape)))[:, self.rows]
        margins: Tensor = values.unsqueeze(1).masked_fill(~self.groups, -torch.inf).amax(2).amin(1)
        return margins

    def _concluded(self, queue: Queue) -> Progress:
        """What the closed and the open boxes say together: where none is open, a margin is positive."""
        excluded, searched = self.progress.excluded.clone(), self.progress.searched.clone()
        excluded[self.wanted] |= ~queue.open_violations()
        searched[self.wanted] = searched[self.wanted].maximum(queue.worst_of(len(self.wanted)).clamp(max=0))
        return replace(self.progress, excluded=excluded, searched=searched)

    def _counted(self, progress: Progress, queue: Queue) -> Progress:
        counts = {"subproblems": self.bounded, "open subproblems": len(queue)}
        return replace(progress, counts={**progress.counts, **counts})
