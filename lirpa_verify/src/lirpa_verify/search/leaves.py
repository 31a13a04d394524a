"""Subproblems in which every neuron is decided: there the network is linear, and a linear program settles them.

The program says where the violation's rows are lowest: a candidate for a counterexample. Its dual solution is a choice of
multipliers, for which the bound is as tight as any can be; that bound is computed as all others are, so nothing depends
on the solver's accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from lirpa_core.linear.coefficients import Coefficients, DenseCoefficients, SelectedRows
from lirpa_core.methods import Relaxations, backward
from lirpa_verify.search.ascent import Batch

Array: TypeAlias = np.ndarray[Any, Any]

#: The least weight of a row, so that its logarithm is finite.
_LEAST = 1e-300


@dataclass(frozen=True, eq=False)
class Leaf:
    """What the linear program of a subproblem says.

    Attributes:
        point: Where the largest row is lowest, `[n]`.
        beta: Multipliers of the splits, `[1, D]`, in the units of the batch.
        weights: Logarithms of the rows' weights, `[1, R]`.
    """

    point: Tensor
    beta: Tensor
    weights: Tensor


def solve(batch: Batch, lower: Tensor, upper: Tensor) -> Leaf | None:
    """Solve the linear program of a batch of one subproblem over a box.

    Args:
        batch: The subproblem.
        lower: Lower limits of the only input, `[n]`.
        upper: Upper limits.

    Returns:
        The solution; of an empty subproblem one whose multipliers make the bound positive. None where the solver
        finds none.
    """
    A, b = _linear(batch, batch.output, DenseCoefficients(_laid_out(batch, batch.rows)))
    b = b + batch.constants[:, 0].numpy()
    normals, offsets, used = _splits(batch)
    limits = list(zip(lower.tolist(), upper.tolist(), strict=True))
    # The smallest t with A x + b ≤ t, where every split neuron is on its side.
    found = _least((A, -b, True), (-normals, offsets, False), limits)
    if found is not None:
        return _leaf(batch, used, found.point, found.duals[len(A) :], found.duals[: len(A)])
    # Nowhere are all on their sides. By how much they miss them at least says with which multipliers the bound grows.
    found = _least((A[:0], b[:0], False), (-normals, offsets, True), limits)
    if found is None or not found.value > 0:
        return None
    middle, radius = (upper + lower).numpy() / 2, (upper - lower).numpy() / 2
    worst = (A @ middle - np.abs(A) @ radius + b).min()
    factor = 2 * (abs(worst) + 1) / found.value
    return _leaf(batch, used, found.point, factor * found.duals, np.eye(len(A))[0])


@dataclass(frozen=True, eq=False)
class _Solution:
    value: float
    point: Array
    duals: Array


def _least(
    first: tuple[Array, Array, bool], second: tuple[Array, Array, bool], limits: list[tuple[float, float]]
) -> _Solution | None:
    """The smallest t with `M x ≤ m` of both blocks, or `M x ≤ m + t` where the block says so, in a box."""
    blocks = [np.concatenate([M, np.full((len(M), 1), -float(moves))], 1) for M, _, moves in (first, second)]
    n = len(limits)
    from scipy.optimize import linprog  # takes 0.4 s to import, and few searches come down to a leaf

    found = linprog(
        np.eye(n + 1)[n],
        A_ub=np.concatenate(blocks),
        b_ub=np.concatenate([first[1], second[1]]),
        bounds=[*limits, (None, None)],
        method="highs",
    )
    if not found.success:
        return None
    return _Solution(float(found.fun), found.x[:n], np.maximum(-found.ineqlin.marginals, 0))


def _leaf(batch: Batch, used: Tensor, point: Array, multipliers: Array, weights: Array) -> Leaf:
    beta = torch.zeros_like(batch.constraints.point)
    beta[0, used] = torch.from_numpy(multipliers) / batch.constraints.unit[0, used]
    logarithms = torch.from_numpy(weights).clamp(min=_LEAST).log().unsqueeze(0)
    return Leaf(torch.from_numpy(point), beta, logarithms)


def _laid_out(batch: Batch, rows: Tensor) -> Tensor:
    return rows.reshape(len(rows), -1, *batch.problem.shape(batch.output))


def _linear(batch: Batch, node: str, rows: Coefficients) -> tuple[Array, Array]:
    """Rows over a node as functions of the only input: `[R, n]` and `[R]`."""
    form = backward(batch.problem, node, rows, Relaxations(batch.problem, batch.intervals))
    ((_, A),) = form.coefficients.items()
    return A.to_dense()[:, 0].flatten(1).numpy(), form.bias.expand(-1, 1)[:, 0].numpy()


def _splits(batch: Batch) -> tuple[Array, Array, Tensor]:
    """The splits as `normals · x + offsets ≥ 0`, and their columns."""
    splits = batch.constraints
    used = (splits.sign[0] != 0).nonzero().flatten()
    n = sum(x.x[0].numel() for x in batch.problem.inputs.values())
    normals, offsets = np.zeros((len(used), n)), np.zeros(len(used))
    for layer, first in zip(splits.neurons.layers, splits.neurons.firsts, strict=True):
        inside = splits.neuron[0, used] - first
        here = ((inside >= 0) & (inside < layer.size)).nonzero().flatten()
        if not len(here):
            continue
        rows = SelectedRows.select(inside[here].unsqueeze(1), layer.shape, dtype=batch.problem.dtype)
        A, b = _linear(batch, layer.name, rows)
        sign, point = (x[0, used[here]].numpy() for x in (splits.sign, splits.point))
        normals[here.numpy()] = sign[:, None] * A
        offsets[here.numpy()] = sign * (b - point)
    return normals, offsets, used
