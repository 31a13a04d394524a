"""`lirpa explain`: where the bounds of a model are lost."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import torch
from torch import Tensor

from lirpa_core.capture.quiet import quiet
from lirpa_core.cli.progress import progress_bar
from lirpa_core.cli.report import json_option, print_json, print_table, registry_of
from lirpa_core.errors import CaptureError, InputError

if TYPE_CHECKING:
    from lirpa_core.perturbations.tensors import BoundedTensor

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(
    "explain",
    short_help="Show where the bounds of a model are lost.",
    epilog="""\b
    Examples:
      lirpa explain model.pt2 x.pt --eps 0.01
      lirpa explain model.pt2 x.pt --eps 0.01 --time-budget 60
      lirpa explain model.pt2 x.npy --eps 0.5 --norm 2 --method CROWN-IBP
      lirpa explain model.pt2 bounded.pt          a saved BoundedTensor has its set
    """,
)
@click.argument("model", type=_FILE)
@click.argument("data", type=_FILE)
@click.option("--eps", type=float, help="Radius of the ball around every example of DATA.")
@click.option(
    "--norm", type=float, default=float("inf"), show_default=True, help="Its norm: 1, 2, inf, or another."
)
@click.option("--method", default="auto", show_default=True, help="How to bound, see `lirpa methods`.")
@click.option("--time-budget", type=float, help="Seconds that auto may take; default: 10.")
@click.option("--memory-budget", type=int, help="Bytes that coefficients may take.")
@click.option("--output", help="Node or module to look at; default: the first output.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    model: Path,
    data: Path,
    eps: float | None,
    norm: float,
    method: str,
    time_budget: float | None,
    memory_budget: int | None,
    output: str | None,
    as_json: bool,
) -> None:
    """Bound MODEL, saved with torch.export.save, around the examples of DATA, and show where the width arises.

    DATA is a tensor: a .npy file, or one that torch.save wrote. For every operator the table shows the mean width of
    its operands and of its own bounds, the share of elements that are not decided (unstable neurons), the share of the
    output's width that its lines lose, the time of its lines, and memory. Advice follows.
    """
    from lirpa_core.api.bounded_module import BoundedModule  # torch.export takes a while to import
    from lirpa_core.api.explanation import cells

    x = _read(data, eps, norm)
    with progress_bar() as bar:
        bounded = BoundedModule(_program(model), x, {"progress": bar}, registry=registry_of(ctx))
        result = bounded.compute_bounds(
            x=x, method=method, output=output, time_budget=time_budget, memory_budget=memory_budget
        )
    found = result.explain(output)
    if as_json:
        print_json({"model": str(model), "data": str(data), **asdict(found), "reason": result.reason})
        return
    click.echo(
        f"{found.method}: mean width {found.width:.4g} of '{found.output}', "
        f"{found.from_inputs:.0%} of it from the inputs' sets"
    )
    if result.reason:
        click.echo(f"{method} chose {result.method}: {result.reason}")
    click.echo("")
    print_table(
        ("layer", "operator", "rule", "width in", "width out", "unstable", "lost", "ms", "MiB"),
        [cells(row) for row in found.layers],
    )
    click.echo("")
    for sentence in found.advice:
        click.echo(sentence)


def _program(path: Path) -> Any:
    try:
        with quiet():  # torch logs a traceback before it raises
            return torch.export.load(path)
    except Exception as error:  # torch raises whatever its readers raise
        raise CaptureError(
            f"cannot read {path} as a model saved with torch.export.save: {type(error).__name__}: "
            f"{' '.join(str(error).split())}"
        ) from error


def _read(path: Path, eps: float | None, norm: float) -> BoundedTensor:
    """The tensor of a file, with a set.

    Raises:
        InputError: If the file holds no tensor, or no set is known.
    """
    from lirpa_core.perturbations.lp import PerturbationLpNorm
    from lirpa_core.perturbations.tensors import BoundedTensor

    found: Any
    try:
        if path.suffix == ".npy":
            import numpy as np

            found = torch.from_numpy(np.load(path, allow_pickle=False))
        else:
            found = torch.load(path, weights_only=True)
    except Exception as error:  # torch and numpy raise whatever their readers raise
        raise InputError(
            f"cannot read {path}: {type(error).__name__}: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(found, Tensor) or not found.is_floating_point():
        raise InputError(f"{path} holds {type(found).__name__}, and not a tensor of floating point numbers.")
    if eps is not None:
        return BoundedTensor(found, PerturbationLpNorm(norm=norm, eps=eps))
    if isinstance(found, BoundedTensor) and found.has_set:
        return found
    raise InputError(f"{path} is a tensor without a set of values around it: give --eps.")
