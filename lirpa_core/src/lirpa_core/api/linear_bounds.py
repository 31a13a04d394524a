"""The linear bounds of an output, in the dictionary that users of the reference system know."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import Tensor

from lirpa_core.errors import OptionError
from lirpa_core.linear.affine import AffineForm
from lirpa_core.methods.base import RowBounds
from lirpa_core.problem.problem import Problem


def linear_bounds_dict(
    problem: Problem, found: RowBounds, inputs: Collection[str] | None
) -> Mapping[str, Mapping[str, Tensor | None]]:
    """`{input: {"lA", "uA", "lbias", "ubias"}}`.

    `lA` and `uA` are `[B, K, *input]` (`*input` without the batch dimension), biases `[B, K]`:
    `lA·x + lbias ≤ output ≤ uA·x + ubias` for every `x` in the set, summed over the inputs.

    Raises:
        OptionError: If an input is named that is not perturbed.
    """
    names = list(problem.inputs) if inputs is None else list(inputs)
    for name in names:
        if name not in problem.inputs:
            raise OptionError(
                f"needed_A_dict: {name!r} is not a perturbed input; those are {list(problem.inputs)}."
            )
    sides = {"l": (found.lower_form, 1), "u": (found.upper_form, -1)}
    result: dict[str, Mapping[str, Tensor | None]] = {}
    for name in names:
        entry: dict[str, Tensor | None] = {}
        for side, (form, sign) in sides.items():
            entry[f"{side}A"] = None if form is None else sign * _coefficients(problem, form, name)
            entry[f"{side}bias"] = None if form is None else sign * _expanded(form.bias, problem.batch).T
        result[name] = entry
    return result


def _coefficients(problem: Problem, form: AffineForm, name: str) -> Tensor:
    perturbed = problem.inputs[name]
    A = form.coefficients[name].to_dense() if name in form.coefficients else None
    if A is None:
        A = form.bias.new_zeros(form.bias.shape[0], 1, *problem.shape(name))
    if perturbed.batch_dim is not None:
        A = A.squeeze(perturbed.batch_dim + 2)
    return A.expand(-1, problem.batch, *A.shape[2:]).transpose(0, 1)


def _expanded(bias: Tensor, batch: int) -> Tensor:
    return bias.expand(-1, batch)
