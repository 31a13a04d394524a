"""Tabular data: features in one-hot encoding take other categories, numbers move a little."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from lirpa_core import Interval, Perturbation
from lirpa_core.errors import PerturbationError
from lirpa_core.linear.coefficients import Coefficients
from lirpa_core.perturbations import broadcasts, examples_first, parse_limit, require_real_finite, show
from lirpa_perturbations.box import like, slack
from lirpa_perturbations.budget import parse_count, require_count, show_count
from lirpa_perturbations.knapsack import Alternatives


@dataclass(frozen=True, eq=False, repr=False)
class PerturbationCategorical(Perturbation):
    """Rows of a table in which up to `budget` categorical features change their category.

    A categorical feature is a group of columns in one-hot encoding; changed, it holds `on` in the column
    of its new category and `off` in its others. All remaining columns are numbers within `eps` of their
    nominal value. Bounds are exact: features contribute independently.

    Attributes:
        groups: The columns of each categorical feature, `[[0, 1, 2], [5, 6]]`; flattened examples.
        budget: How many of them may change: a whole number, or a tensor of one an example; None: all.
        allowed: For each group the columns that it may change to; None: all of its columns.
        eps: How far the other columns move: a number, or a tensor broadcastable to the perturbed one.
        on: Value of the column of the category.
        off: Value of the group's other columns.

    Raises:
        PerturbationError: Naming the argument: `groups` empty, overlapping or outside the table,
            `allowed` not a part of its group or empty, `budget` negative or above the number of groups.
    """

    groups: Any
    budget: Any = None
    allowed: Any = None
    eps: Any = 0.0
    on: float = 1.0
    off: float = 0.0

    def __post_init__(self) -> None:
        groups = _columns("groups", self.groups)
        columns = list(chain.from_iterable(groups))
        if len(set(columns)) < len(columns) or min(columns) < 0:
            raise PerturbationError(
                "groups must be lists of different columns, numbered from 0, that do not overlap"
            )
        allowed = groups if self.allowed is None else _columns("allowed", self.allowed)
        if len(allowed) != len(groups) or not all(
            set(a) <= set(g) for a, g in zip(allowed, groups, strict=False)
        ):
            raise PerturbationError("allowed must hold, for each group, some of that group's columns")
        budget = len(groups) if self.budget is None else parse_count("budget", self.budget)
        eps = parse_limit("eps", self.eps)
        values = torch.as_tensor(0.0 if eps is None else eps).detach()
        if eps is None or not bool((values >= 0).all() & values.isfinite().all()):
            raise PerturbationError(f"eps must be finite and not negative, but is {self.eps!r}")
        for name, value in (("groups", groups), ("budget", budget), ("allowed", allowed), ("eps", eps)):
            object.__setattr__(self, name, value)

    @property
    def is_box(self) -> bool:
        return False

    def validate(self, x: Tensor) -> None:
        require_real_finite(x)
        n, last = x[0].numel(), max(chain.from_iterable(self.groups))
        if last >= n:
            raise PerturbationError(f"groups name column {last}, but an example has only {n}")
        if isinstance(self.eps, Tensor) and not broadcasts(self.eps, x):
            raise PerturbationError(
                f"eps has shape {list(self.eps.shape)}, which does not broadcast to {list(x.shape)}"
            )
        require_count("budget", self.budget, x, len(self.groups), "groups")

    def aligned(self, batch_dim: int | None, ndim: int) -> PerturbationCategorical:
        eps = self.eps
        return replace(self, eps=examples_first(eps, batch_dim, ndim) if isinstance(eps, Tensor) else eps)

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> PerturbationCategorical:
        return replace(self, eps=function(self.eps) if isinstance(self.eps, Tensor) else self.eps)

    def hull(self, x: Tensor) -> Interval:
        radius, point = self._radius(x), x.reshape(x.shape[0], -1)
        lower, upper = point - radius, point + radius
        possible = torch.as_tensor(self.budget, device=x.device).reshape(-1, 1) > 0
        for value, columns in ((self.on, self._targets), (self.off, self._losers)):
            reached = torch.zeros_like(point, dtype=torch.bool)
            reached[:, list(columns())] = True
            reached = reached & possible
            lower = torch.where(reached, lower.clamp(max=value), lower)
            upper = torch.where(reached, upper.clamp(min=value), upper)
        return Interval(lower.reshape(x.shape), upper.reshape(x.shape))

    def concretize(self, x: Tensor, A: Coefficients) -> Tensor:
        gains = self._gains(x, A.to_dense().flatten(2))
        numbers = A.dual_norm(1, self._radius(x).reshape(-1, *x.shape[1:]))
        return A.dot(x) - numbers - self._alternatives(x).best_sum(gains)

    def sample(self, x: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
        with torch.no_grad():
            alternatives = self._alternatives(x)
            shape = (n, x.shape[0], *alternatives.mask.shape[1:])
            gains = torch.rand(shape, dtype=x.dtype, device=x.device, generator=generator)
            few = torch.rand((n, 1, 1, 1), dtype=x.dtype, device=x.device, generator=generator)
            keep = torch.rand(shape, dtype=x.dtype, device=x.device, generator=generator) <= few
            z = self._place(x, alternatives.choose(torch.where(keep, gains, 0)))
            t = 2 * torch.rand(
                (n, x.shape[0], x[0].numel()), dtype=x.dtype, device=x.device, generator=generator
            )
            snap = torch.arange(n, device=x.device).reshape(-1, 1, 1) % 2 == 0
            t = torch.where(snap, (t > 1) * 2.0, t) - 1
            return (z + t * self._radius(x)).reshape(n, *x.shape)

    def contains(self, x: Tensor, z: Tensor) -> Tensor:
        """Which candidates belong to the set: `[n, B]`; the allowance is 32 units in the last place."""
        point, flat, radius = x.flatten(1), z.flatten(2), self._radius(x)
        allowed = slack(flat, point, radius)
        near = (flat - point).abs() <= radius + allowed
        fits = (near | self._grouped(x)).all(-1)
        changes = torch.zeros_like(fits, dtype=torch.long)
        for g, columns in enumerate(self.groups):
            index = list(columns)
            same = near[..., index].all(-1)
            other = torch.zeros_like(same)
            for vector in self._categories(x, g):
                other = other | ((flat[..., index] - vector).abs() <= slack(flat[..., index], vector)).all(-1)
            fits = fits & (same | other)
            changes = changes + (~same).long()
        return fits & (changes <= torch.as_tensor(self.budget, device=x.device))

    def project(self, x: Tensor, z: Tensor) -> Tensor:
        point, flat, radius = x.flatten(1), z.flatten(2), self._radius(x)
        members, mask = _padded(self.groups, x.device)
        old = torch.where(mask, point[:, members], 0).square().sum(-1)  # [B, G]
        new = self.on**2 + (mask.sum(-1) - 1) * self.off**2  # [G]
        gains = (old - new).unsqueeze(-1) - 2 * self._gains(x, flat)  # of squared distance
        chosen = self._place(x, self._alternatives(x).choose(gains))
        numbers = flat.maximum(point - radius).minimum(point + radius)
        return torch.where(self._grouped(x), chosen, numbers).reshape(z.shape)

    def _grouped(self, x: Tensor) -> Tensor:
        """Which columns are categorical, boolean `[n]`."""
        mark = torch.zeros(x[0].numel(), dtype=torch.bool, device=x.device)
        mark[list(chain.from_iterable(self.groups))] = True
        return mark

    def _radius(self, x: Tensor) -> Tensor:
        """How far each column moves as a number, `[B, n]`: zero for the categorical ones."""
        eps = like(self.eps, x).expand_as(x).reshape(x.shape[0], -1)
        return torch.where(self._grouped(x), 0, eps)

    def _categories(self, x: Tensor, g: int) -> Tensor:
        """The vectors `[S, columns]` that a group may change to."""
        columns, targets = (torch.tensor(c, device=x.device) for c in (self.groups[g], self.allowed[g]))
        return torch.where(columns == targets.unsqueeze(1), x.new_tensor(self.on), x.new_tensor(self.off))

    def _gains(self, x: Tensor, a: Tensor) -> Tensor:
        """By how much each change lowers `a · x`: `[..., B, G, S]` for `a` of `[..., B, n]`."""
        members, mask = _padded(self.groups, x.device)
        part = torch.where(mask, a[..., members], 0)  # [..., B, G, C]
        now = (part * x.flatten(1)[:, members]).sum(-1) - self.off * part.sum(-1)
        targets, _ = _padded(self.allowed, x.device)
        return now.unsqueeze(-1) - (self.on - self.off) * a[..., targets]

    def _targets(self) -> Iterator[int]:
        """Columns that a change may turn on."""
        return chain.from_iterable(self.allowed)

    def _losers(self) -> Iterator[int]:
        """Columns that a change may turn off: it turns on another one."""
        for group, allowed in zip(self.groups, self.allowed, strict=True):
            yield from (column for column in group if any(target != column for target in allowed))

    def _alternatives(self, x: Tensor) -> Alternatives:
        _, mask = _padded(self.allowed, x.device)
        return Alternatives(mask.unsqueeze(0), None, self.budget)

    def _place(self, x: Tensor, chosen: Tensor) -> Tensor:
        """Examples `[n, B, m]` with the chosen categories, `[n, B, G]`, -1 for none."""
        z = x.flatten(1).expand(*chosen.shape[:2], -1).clone()
        for g, columns in enumerate(self.groups):
            pick = chosen[..., g]
            vector = self._categories(x, g)[pick.clamp(min=0)]  # [n, B, columns]
            index = list(columns)
            z[..., index] = torch.where((pick >= 0).unsqueeze(-1), vector, z[..., index])
        return z

    def __repr__(self) -> str:
        budget = f"budget={show_count(self.budget)}"
        return f"PerturbationCategorical({len(self.groups)} groups, {budget}, eps={show(self.eps)})"


def _padded(groups: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Lists of columns as one tensor `[G, most]`, and which of its elements count."""
    most = max(map(len, groups))
    columns = torch.tensor([[*group, *[0] * (most - len(group))] for group in groups], device=device)
    sizes = torch.tensor([len(group) for group in groups], device=device)
    return columns, torch.arange(most, device=device) < sizes.unsqueeze(1)


def _columns(name: str, value: Any) -> tuple[tuple[int, ...], ...]:
    """Lists of columns as tuples.

    Raises:
        PerturbationError: Naming the argument.
    """
    try:
        lists: Sequence[Any] = [
            group.tolist() if isinstance(group, Tensor) else list(group) for group in value
        ]
    except TypeError as error:
        raise PerturbationError(f"{name} must be lists of columns, not {value!r}") from error
    if not lists or not all(lists) or not all(type(column) is int for group in lists for column in group):
        raise PerturbationError(f"{name} must be lists of columns, none of them empty, not {value!r}")
    return tuple(tuple(group) for group in lists)
