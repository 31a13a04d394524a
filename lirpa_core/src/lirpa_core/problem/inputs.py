"""The perturbed inputs of a problem, model inputs or weights: alone, or several that share one set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from lirpa_core.linear.coefficients import Coefficients, DenseCoefficients
from lirpa_core.linear.interval import Interval
from lirpa_core.perturbations.base import Perturbation


@dataclass(frozen=True, eq=False)
class PerturbedInput:
    """A leaf of the graph, a model input or a weight, that a perturbation is attached to.

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
        """Whether the set is its own hull, so that intervals lose nothing at the input."""
        return self.perturbation.is_box

    def laid_out(self, hull: Interval) -> Interval:
        """A box around the input, examples first, in the graph's layout `[B, *S]`."""
        if self.batch_dim is None:
            return hull
        dim, stored = self.batch_dim + 1, hull.known_midpoint_radius
        if stored is not None:
            stored = (stored[0].unsqueeze(dim), stored[1].unsqueeze(dim))
        return Interval(hull.lower.unsqueeze(dim), hull.upper.unsqueeze(dim), known_midpoint_radius=stored)

    def examples_first(self, A: Coefficients) -> Coefficients:
        """Coefficients in the graph's layout for the perturbation."""
        return A if self.batch_dim is None else A.squeeze(self.batch_dim)


@dataclass(frozen=True, eq=False)
class JointInputs:
    """Several perturbed inputs that share one set."""

    members: tuple[PerturbedInput, ...]

    @property
    def perturbation(self) -> Perturbation:
        """The set that they share."""
        return self.members[0].perturbation

    def hulls(self) -> dict[str, Interval]:
        """Elementwise bounds of each input in the graph's layout, `[B, *S]`."""
        hulls = self.perturbation.hull_joint([member.x for member in self.members])
        return {member.name: member.laid_out(hull) for member, hull in zip(self.members, hulls, strict=True)}

    def concretize(self, coefficients: Mapping[str, Coefficients]) -> Tensor | None:
        """Minimum of `Σ coefficients[name] · name` over the set, `[R, B]`; None where no input is named."""
        given = {
            m.name: m.examples_first(coefficients[m.name]) for m in self.members if m.name in coefficients
        }
        if not given:
            return None
        rows = next(iter(given.values())).rows
        every = [given[m.name] if m.name in given else _zero(rows, m.x) for m in self.members]
        return self.perturbation.concretize_joint([m.x for m in self.members], every)


def deviation(member: PerturbedInput, joint: Sequence[JointInputs], A: Coefficients) -> Tensor | None:
    """See `Perturbation.deviation`, of one input; of those that share a set, as if it alone moved.

    Args:
        member: The input.
        joint: The groups that share sets.
        A: `R` forms over it in the graph's layout, none of whose coefficients is negative.
    """
    A = member.examples_first(A)
    for group in joint:
        if any(m.name == member.name for m in group.members):
            maps = [A if m.name == member.name else _zero(A.rows, m.x) for m in group.members]
            return group.perturbation.deviation_joint([m.x for m in group.members], maps)
    return member.perturbation.deviation(member.x, A)


def joint_inputs(inputs: Mapping[str, PerturbedInput]) -> tuple[JointInputs, ...]:
    """The inputs that share a set, in their order; those with a set of their own are left out."""
    found: dict[str, list[PerturbedInput]] = {}
    for member in inputs.values():
        key = member.perturbation.joint_key
        if key is not None:
            found.setdefault(key, []).append(member)
    return tuple([JointInputs(tuple(members)) for members in found.values()])


def _zero(rows: int, x: Tensor) -> Coefficients:
    return DenseCoefficients(x.new_zeros(rows, 1, *x.shape[1:]))
