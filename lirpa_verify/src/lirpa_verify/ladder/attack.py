"""Counterexamples by projected gradient descent on the margins, with momentum and restarts.

Madry et al. 2018, "Towards deep learning models resistant to adversarial attacks", section 2.1; the momentum
is that of Dong et al. 2018, "Boosting adversarial attacks with momentum", algorithm 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from lirpa_core.errors import OptionError
from lirpa_verify.clock import Clock
from lirpa_verify.region import Region
from lirpa_verify.task import Counterexample, Task, replay

#: Of each step's best points, so many are tried on the original.
_REPLAYS: Final = 4

#: Up to so many inputs, random points alone find much, and are cheap.
_FEW_INPUTS: Final = 32


@dataclass(frozen=True)
class Attack:
    """Settings of the attack.

    Attributes:
        steps: Gradient steps.
        restarts: Starting points for each violation; the first is the nominal input.
        samples: Random points from which starting points are chosen where there are few inputs.
        chosen: How many of them are, for each violation.
        step_sizes: Lengths of the first step, relative to the radius of the set, which restarts take in turn; they
            fall to a tenth of that. Long ones leave flat regions, short ones find narrow ones.
        momentum: What remains of the direction after a step.

    Raises:
        OptionError: For a number that is not positive.
    """

    steps: int = 40
    restarts: int = 6
    samples: int = 4096
    chosen: int = 32
    step_sizes: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03)
    momentum: float = 0.6

    def __post_init__(self) -> None:
        for name in ("steps", "restarts", "samples", "chosen"):
            if not getattr(self, name) > 0:
                raise OptionError(f"Attack: {name}={getattr(self, name)!r} must be positive")
        if not self.step_sizes or not min(self.step_sizes) > 0:
            raise OptionError(f"Attack: step_sizes={self.step_sizes!r} must be positive")

    def run(
        self, task: Task, wanted: Sequence[int], clock: Clock, seed: int, first: Sequence[Tensor] = ()
    ) -> tuple[Counterexample | None, Tensor]:
        """Search for a violation.

        Args:
            task: The task.
            wanted: The violations to search for, by number.
            clock: The attack ends when the time is over.
            seed: Fixes the random points.
            first: A point to begin with for each of the wanted violations, `[G, *S]` for each input; default: none.

        Returns:
            A counterexample that the original network confirms, or None; and the smallest margin that was
            seen for each of the wanted violations, `[G]`.
        """
        target = _Target(task, tuple(wanted))
        generator = torch.Generator().manual_seed(seed)
        points = self._starts(target, generator)  # of each input [P, *S], P = restarts · G
        if first:
            begin = target.project([f.to(p.dtype) for f, p in zip(first, points, strict=True)])
            points = tuple(torch.cat([b, p]) for b, p in zip(begin, points, strict=True))
        rounds = points[0].shape[0] // len(target.wanted)
        sizes = torch.tensor(self.step_sizes, dtype=points[0].dtype)[
            torch.arange(rounds) % len(self.step_sizes)
        ]
        sizes = sizes.repeat_interleave(len(target.wanted))  # [P]
        smallest = sizes.new_full((len(target.wanted),), torch.inf)
        velocity = tuple(torch.zeros_like(p) for p in points)
        found: Counterexample | None = None
        for step in range(self.steps + 1):
            variables = tuple(p.detach().requires_grad_() for p in points)
            margins = target.margins(variables)  # [P, G], of which values and gradients are needed
            own = target.of_owner(margins)
            smallest = smallest.minimum(own.detach().amin(0))
            found = target.confirm(points, margins.detach())
            if found is not None or step == self.steps or clock.expired:
                break
            gradients = torch.autograd.grad(own.sum(), variables, allow_unused=True)
            size = sizes * 0.1 ** (step / self.steps)
            points, velocity = self._moved(target, points, velocity, gradients, size)
        return found, smallest

    def _starts(self, target: _Target, generator: torch.Generator) -> tuple[Tensor, ...]:
        groups = len(target.wanted)
        few = sum(x.numel() for x in target.region.nominal) <= _FEW_INPUTS
        wanted = min(self.chosen, self.samples) if few else self.restarts
        count = self.samples if few else wanted * groups
        drawn = target.draw(count, generator)
        if few:
            order = target.values(drawn).topk(wanted, 0, largest=False).indices  # [restarts, G]
            drawn = tuple(d[order.reshape(-1)] for d in drawn)
        nominal = target.region.nominal
        return tuple(
            torch.cat([x.expand(groups, *x.shape[1:]), d[groups:]])
            for x, d in zip(nominal, drawn, strict=True)
        )

    def _moved(
        self,
        target: _Target,
        points: tuple[Tensor, ...],
        velocity: tuple[Tensor, ...],
        gradients: tuple[Tensor | None, ...],
        size: Tensor,
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        moved: list[Tensor] = []
        kept: list[Tensor] = []
        for p, v, g in zip(points, velocity, gradients, strict=True):
            g = torch.zeros_like(p) if g is None else g
            length = g.flatten(1).abs().mean(1).clamp(min=torch.finfo(g.dtype).tiny)
            each = (-1, *[1] * (g.dim() - 1))
            v = self.momentum * v + g / length.reshape(each)
            kept.append(v)
            moved.append(p - size.reshape(each) * target.direction(v, len(moved)))
        return target.project(moved), tuple(kept)


class _Target:
    """Margins of the wanted violations, and the set to stay in."""

    def __init__(self, task: Task, wanted: tuple[int, ...]) -> None:
        self.task = task
        self.wanted = wanted
        self.region: Region = task.region.to(task.network.dtype)
        self._module: nn.Module = task.module(task.network.dtype)
        self._radii = [
            torch.zeros_like(x) if p is None else p.hull(x).width / 2
            for x, p in zip(self.region.nominal, self.region.perturbations, strict=True)
        ]

    def margins(self, points: Sequence[Tensor]) -> Tensor:
        """`[P, G]`; a violation is where its margin is not positive."""
        rows = self.task.rows
        return rows.margins(rows.values(self._module(*points)))[:, list(self.wanted)]

    def values(self, points: Sequence[Tensor]) -> Tensor:
        """The margins without gradients."""
        with torch.no_grad():
            return self.margins(points)

    def of_owner(self, margins: Tensor) -> Tensor:
        """From `[P, G]` to `[P / G, G]`: of each point that violation which it is to reach."""
        groups = len(self.wanted)
        return margins.reshape(-1, groups, groups).diagonal(dim1=1, dim2=2)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Random members, `[count, *S]` each."""
        return tuple(
            x.expand(count, *x.shape[1:]) if p is None else p.sample(x, count, generator)[:, 0]
            for x, p in zip(self.region.nominal, self.region.perturbations, strict=True)
        )

    def project(self, points: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The nearest members, `[P, *S]` each."""
        return tuple(
            x.expand_as(z) if p is None else p.project(x, z.unsqueeze(1))[:, 0]
            for x, p, z in zip(self.region.nominal, self.region.perturbations, points, strict=True)
        )

    def direction(self, gradient: Tensor, which: int) -> Tensor:
        """Steepest ascent: in a box by the signs, else along the gradient, as long as the set is wide."""
        set_, radius = self.region.perturbations[which], self._radii[which]
        if set_ is None or set_.is_box:
            return gradient.sign() * radius
        length = gradient.flatten(1).norm(dim=1).clamp(min=torch.finfo(gradient.dtype).tiny)
        scale: Tensor = radius.max() / length
        return gradient * scale.reshape(-1, *[1] * (gradient.dim() - 1))

    def confirm(self, points: Sequence[Tensor], margins: Tensor) -> Counterexample | None:
        """Replay the points that seem to reach a violation, by their margins `[P, G]`."""
        least = margins.amin(1)
        order = least.argsort()[:_REPLAYS]
        for i in order[least[order] <= 0].tolist():
            found = replay(self.task, tuple(p[i] for p in points))
            if found is not None:
                return found
        return None
