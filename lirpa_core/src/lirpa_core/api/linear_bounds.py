"""The linear bounds of an output, in the dictionary that users of auto_LiRPA know."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import Tensor

from lirpa_core.errors import OptionError
from lirpa_core.linear.affine import AffineForm
from lirpa_core.linear.coefficients import Coefficients
from lirpa_core.linear.interval import Interval
from lirpa_core.methods.base import RowBounds
from lirpa_core.methods.rows import every_element
from lirpa_core.methods.traversal import backward
from lirpa_core.problem.problem import Problem
from lirpa_core.problem.relaxations import Relaxations


def linear_bounds_dict(
    problem: Problem,
    found: RowBounds,
    wanted: str | Collection[str] | None,
    node: str,
    intervals: Mapping[str, Interval],
    rows: Coefficients | None = None,
) -> Mapping[str, Mapping[str, Tensor | None]]:
    """`{name: {"lA", "uA", "lbias", "ubias"}}`.

    `lA` and `uA` are `[B, K, *input]` (`*input` without the batch dimension), biases `[B, K]`:
    `lA·x + lbias ≤ output ≤ uA·x + ubias` for every `x` in the set, summed over the inputs. Over an inner node `h` the
    bounds are `lA·h + lbias ≤ output ≤ uA·h + ubias` for the values that `h` takes: what else reaches the output is in
    the biases, at its least and greatest.

    Args:
        problem: The problem.
        found: Bounds of rows over the output.
        wanted: Names of perturbed inputs, or of inner nodes or modules; None: all inputs.
        node: The output.
        intervals: Bounds of the inner nodes.
        rows: The rows; None: every element of the output.

    Raises:
        OptionError: If something is named that no perturbation reaches.
    """
    names = list(problem.inputs) if wanted is None else [wanted] if isinstance(wanted, str) else list(wanted)
    inner = {name: _inner_node(problem, name) for name in names if name not in problem.inputs}
    result: dict[str, Mapping[str, Tensor | None]] = {}
    for name, source in inner.items():
        low, up = found.lower is not None, found.upper is not None
        result[name] = _over_inner_node(problem, node, rows, intervals, source, lower=low, upper=up)
    names = [name for name in names if name not in inner]
    sides = {"l": (found.lower_form, 1), "u": (found.upper_form, -1)}
    for name in names:
        entry: dict[str, Tensor | None] = {}
        for side, (form, sign) in sides.items():
            entry[f"{side}A"] = None if form is None else sign * _coefficients(problem, form, name)
            entry[f"{side}bias"] = None if form is None else sign * _expanded(form.bias, problem.batch).T
        result[name] = entry
    return result


def _inner_node(problem: Problem, name: str) -> str:
    node = problem.graph.find(name)
    if node is None or node.name not in problem.calls:
        raise OptionError(
            f"needed_A_dict: {name!r} is not a perturbed input, nor a node or module that a perturbation reaches; "
            f"the perturbed inputs are {list(problem.inputs)}, the nodes {list(problem.calls)}."
        )
    return node.name


def _over_inner_node(
    problem: Problem,
    node: str,
    rows: Coefficients | None,
    intervals: Mapping[str, Interval],
    source: str,
    *,
    lower: bool,
    upper: bool,
) -> dict[str, Tensor | None]:
    chosen = every_element(problem, node) if rows is None else rows
    relaxations = Relaxations(problem, intervals)
    entry: dict[str, Tensor | None] = dict.fromkeys(("lA", "lbias", "uA", "ubias"))
    for side, wanted, sign in (("l", lower, 1), ("u", upper, -1)):
        if not wanted:
            continue
        start = chosen if sign > 0 else chosen.negate()
        form = backward(problem, node, start, relaxations, stop_at={source})
        rest = {name: A for name, A in form.coefficients.items() if name != source}
        bias = problem.minimum(AffineForm(rest, form.bias))  # [R, B]
        shape = problem.shape(source)
        if source in form.coefficients:
            A = form.coefficients[source].to_dense()
        else:
            A = bias.new_zeros(bias.shape[0], 1, *shape)
        A = A.squeeze(2) if shape[:1] == (1,) else A
        entry[f"{side}A"] = sign * A.expand(-1, problem.batch, *A.shape[2:]).transpose(0, 1)
        entry[f"{side}bias"] = sign * bias.T
    return entry


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
