"""Perturbed leaves of a graph, alone or in groups that share one set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from lirpa_core.linear.coefficients import Coefficients, DenseCoefficients
from lirpa_core.linear.interval import Interval
from lirpa_core.perturbations.base import Perturbation


@dataclass(frozen=True, eq=False)
class Leaf:
    """A perturbed leaf of the graph.

    Attributes:
        name: Node name.
        x: The clean value, batch first and without the graph's singleton batch dimension: `[B, *S]`.
        perturbation: The set around it, its tensors in the same layout.
        batch_dim: Where the graph's shape has that singleton; None for weights.
    """

    name: str
    x: Tensor
    perturbation: Perturbation
    batch_dim: int | None

    @property
    def is_box(self) -> bool:
        """Whether the set is its own hull, so that intervals lose nothing at the leaf."""
        return self.perturbation.is_box

    def laid_out(self, hull: Interval) -> Interval:
        """A box around the leaf, examples first, in the graph's layout `[B, *S]`."""
        if self.batch_dim is None:
            return hull
        dim = self.batch_dim + 1
        stored = (
            None
            if hull.known_midpoint_radius is None
            else (hull.known_midpoint_radius[0].unsqueeze(dim), hull.known_midpoint_radius[1].unsqueeze(dim))
        )
        return Interval(hull.lower.unsqueeze(dim), hull.upper.unsqueeze(dim), known_midpoint_radius=stored)

    def examples_first(self, A: Coefficients) -> Coefficients:
        """Coefficients in the graph's layout for the perturbation."""
        return A if self.batch_dim is None else A.squeeze(self.batch_dim)


@dataclass(frozen=True, eq=False)
class Group:
    """Leaves that share one set; usually a single one with a set of its own."""

    leaves: tuple[Leaf, ...]

    def hulls(self) -> dict[str, Interval]:
        """Elementwise bounds of each leaf in the graph's layout, `[B, *S]`."""
        ptb = self.leaves[0].perturbation
        if len(self.leaves) == 1:
            hulls: tuple[Interval, ...] = (ptb.hull(self.leaves[0].x),)
        else:
            hulls = ptb.hull_joint([leaf.x for leaf in self.leaves])
        return {leaf.name: leaf.laid_out(hull) for leaf, hull in zip(self.leaves, hulls, strict=True)}

    def concretize(self, maps: Mapping[str, Coefficients]) -> Tensor | None:
        """Minimum of `Σ maps[leaf]·leaf` over the set, `[R, B]`; None where no map is over these leaves."""
        given = {leaf.name: leaf.examples_first(maps[leaf.name]) for leaf in self.leaves if leaf.name in maps}
        if not given:
            return None
        first = self.leaves[0]
        if len(self.leaves) == 1:
            return first.perturbation.concretize(first.x, given[first.name])
        rows = next(iter(given.values())).rows
        every = [given[n] if (n := leaf.name) in given else _zero(rows, leaf.x) for leaf in self.leaves]
        return first.perturbation.concretize_joint([leaf.x for leaf in self.leaves], every)


def groups_of(leaves: Mapping[str, Leaf]) -> tuple[Group, ...]:
    """Put leaves of one group together, in their order."""
    found: dict[tuple[str, str], list[Leaf]] = {}
    for name, leaf in leaves.items():
        key = leaf.perturbation.joint_key
        found.setdefault(("leaf", name) if key is None else ("joint", key), []).append(leaf)
    return tuple(Group(tuple(members)) for members in found.values())


def _zero(rows: int, x: Tensor) -> Coefficients:
    return DenseCoefficients(x.new_zeros(rows, 1, *x.shape[1:]))
