"""How far may the weights of each layer move before a digit classifier's answers change?

The weights of one layer at a time (and then of all layers together, within one common budget) may take any
value in a norm ball around the trained ones: quantisation, drifting analogue hardware or an attacker with
access to the memory. A binary search finds the largest radius at which a share of the test images provably
keeps its class, with each method; projected gradient descent on the weights gives a limit from above.

    python weight_certification.py --norm 2 --samples 30
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from model import HELD_OUT, WEIGHTS, MissingFileError, digits, load
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor, nn
from torch.func import functional_call, vmap

from lirpa_core import (
    BoundedModule,
    BoundedParameter,
    BoundedTensor,
    Perturbation,
    PerturbationJoint,
    PerturbationLpNorm,
)
from lirpa_core.errors import LirpaError

METHODS = ("IBP", "CROWN-IBP", "CROWN")
ATTACK = "attack"
ALL = "all layers"
#: The search runs over radii from this part of the weights' own norm up to the whole of it.
SMALLEST = 1e-5
_NORMS = {"2": 2.0, "inf": float("inf")}


@dataclass(frozen=True)
class Searched:
    """The search for one layer and method.

    Attributes:
        layer: Which weights moved.
        size: How many numbers they are.
        norm: Their own norm.
        method: A bound method, or the attack.
        radius: The largest radius found at which enough images keep their class; 0 where none did.
        shares: The share of images that keep their class, by radius.
        seconds: What the search took.
    """

    layer: str
    size: int
    norm: float
    method: str
    radius: float
    shares: dict[float, float]
    seconds: float


@dataclass(frozen=True)
class Images:
    """Test images `[B, 64]`, the margins `[B, 9, 10]` between their class and the others, and a radius."""

    x: Tensor
    C: Tensor
    input_eps: float

    def point(self) -> Tensor:
        """The images, perturbed themselves where that is asked for."""
        if self.input_eps == 0:
            return self.x
        return BoundedTensor(self.x, PerturbationLpNorm(eps=self.input_eps, x_L=0.0, x_U=1.0))


def margins(labels: Tensor) -> Tensor:
    """Specification `[B, 9, 10]`: the right class's output minus each of the others."""
    identity = torch.eye(10)
    others = torch.stack([torch.cat([identity[:y], identity[y + 1 :]]) for y in labels.tolist()])
    return identity[labels].unsqueeze(1) - others


def layers_of(model: nn.Module) -> dict[str, list[str]]:
    """Which parameters move together: each layer's weight, and all of them."""
    weights = [name for name, p in model.named_parameters() if p.dim() > 1]
    return {**{name: [name] for name in weights}, ALL: weights}


def certifier(
    bounded: BoundedModule, names: list[str], images: Images, p: float, method: str
) -> Callable[[float], Tensor]:
    """From a radius to which images provably keep their class, `[B]`."""

    def certified(eps: float) -> Tensor:
        joint = PerturbationJoint(PerturbationLpNorm(norm=p, eps=eps))
        with torch.no_grad(), perturbed(bounded, names, joint):
            lower, _ = bounded.compute_bounds(
                x=(images.point(),), C=images.C, method=method, bound_upper=False
            )
        return (lower > 0).all(1)

    return certified


@contextmanager
def perturbed(model: nn.Module, names: list[str], ptb: Perturbation) -> Iterator[None]:
    """Perturb some weights for a while; the model is captured only once, its weights are read live."""
    plain = {name: model.get_parameter(name) for name in names}
    try:
        for name, weight in plain.items():
            put(model, name, BoundedParameter(weight, ptb))
        yield
    finally:
        for name, weight in plain.items():
            put(model, name, weight)


def put(model: nn.Module, name: str, weight: nn.Parameter) -> None:
    """Exchange a parameter."""
    owner, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(owner), attribute, weight)


def attacker(model: nn.Module, names: list[str], images: Images, p: float) -> Callable[[float], Tensor]:
    """From a radius to which images keep their class under projected gradient descent, `[B]`."""
    nominal = {name: model.get_parameter(name).detach() for name in names}
    joint = PerturbationJoint(PerturbationLpNorm(norm=p, eps=1.0))
    centre = joint.join(*(w.unsqueeze(0) for w in nominal.values()))  # [1, n]
    batch = len(images.x)

    def margin(weights: dict[str, Tensor], x: Tensor, C: Tensor) -> Tensor:
        return (C @ functional_call(model, weights, (x.unsqueeze(0),))[0]).min()

    def survives(eps: float, steps: int = 25) -> Tensor:
        ball = PerturbationLpNorm(norm=p, eps=eps)
        start = centre.expand(batch, -1)
        z = start.clone()
        alive = torch.ones(batch, dtype=torch.bool)
        for step in range(steps + 1):
            z = z.detach().requires_grad_()
            parts = joint.split(z, *(w.unsqueeze(0) for w in nominal.values()))
            worst = vmap(margin)(dict(zip(nominal, parts, strict=True)), images.x, images.C)
            alive &= worst.detach() > 0
            (g,) = torch.autograd.grad(worst.sum(), z)
            unit = g.sign() if p == float("inf") else g / g.norm(dim=1, keepdim=True).clamp(min=1e-30)
            z = ball.project(start, (z - eps * (1 - step / (steps + 1)) * unit).detach()[None])[0]
        return alive

    return survives


def search(
    holds: Callable[[float], Tensor], largest: float, share: float, steps: int
) -> tuple[float, dict[float, float]]:
    """The largest radius at which a share of the images holds, by bisection of its logarithm."""
    low, high, best = SMALLEST * largest, largest, 0.0
    found: dict[float, float] = {}
    for _ in range(steps):
        eps = (low * high) ** 0.5
        found[eps] = float(holds(eps).double().mean())
        if found[eps] >= share:
            low = best = eps
        else:
            high = eps
    return best, dict(sorted(found.items()))


def run(options: argparse.Namespace, progress: Progress) -> list[Searched]:
    """Every layer with every method.

    Raises:
        MissingFileError: If the weights or the data set are not there.
    """
    model = load(options.weights)
    x, labels = digits(held_out=True)
    right = (model(x).argmax(1) == labels).nonzero()[: options.samples, 0]
    images = Images(x[right], margins(labels[right]), options.input_eps)
    p, bounded = _NORMS[options.norm], BoundedModule(model, images.x)
    layers = layers_of(model)
    task = progress.add_task("searching", total=len(layers) * (len(options.methods) + 1))
    result = []
    for layer, names in layers.items():
        flat = torch.cat([model.get_parameter(name).flatten() for name in names])
        norm = float(torch.linalg.vector_norm(flat, p))
        for method in (*options.methods, ATTACK):
            progress.update(task, description=f"{layer} {method}")
            start = time.perf_counter()
            if method == ATTACK:
                holds = attacker(model, names, images, p)
            else:
                holds = certifier(bounded, names, images, p, method)
            radius, shares = search(holds, norm, options.share, options.steps)
            seconds = time.perf_counter() - start
            result.append(Searched(layer, flat.numel(), norm, method, radius, shares, seconds))
            progress.advance(task)
    return result


def table(found: list[Searched], options: argparse.Namespace) -> Table:
    """One line a layer, one column a method."""
    methods = list(dict.fromkeys(s.method for s in found))
    result = Table(
        title=f"largest L{options.norm} radius of the weights at which {options.share:.0%} of "
        f"{options.samples} images keep their class"
    )
    for name in ("weights", f"L{options.norm} norm", *methods, "of norm"):
        result.add_column(name, justify="left" if name == "weights" else "right")
    for layer in dict.fromkeys(s.layer for s in found):
        here = [s for s in found if s.layer == layer]
        best = max(s.radius for s in here if s.method != ATTACK)
        result.add_row(
            layer, f"{here[0].norm:.3f}", *(f"{s.radius:.4f}" for s in here), f"{best / here[0].norm:.2%}"
        )
    return result


def write(found: list[Searched], options: argparse.Namespace) -> list[Path]:
    """The plot and the numbers."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    options.out.mkdir(parents=True, exist_ok=True)
    plot, numbers = (options.out / f"weight_certification.{end}" for end in ("png", "csv"))
    layers = list(dict.fromkeys(s.layer for s in found))
    figure, axes = plt.subplots(
        1, len(layers), figsize=(2.6 * len(layers), 3), sharey=True, layout="constrained"
    )
    for axis, layer in zip(axes, layers, strict=True):
        for s in (s for s in found if s.layer == layer):
            style = "k--" if s.method == ATTACK else "-o"
            label = "survives the attack" if s.method == ATTACK else f"certified by {s.method}"
            axis.semilogx(list(s.shares), list(s.shares.values()), style, markersize=3, label=label)
        axis.set(title=layer, xlabel=f"L{options.norm} radius", ylim=(0, 1.02))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("share of images")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize="small")
    figure.savefig(plot, dpi=80)
    plt.close(figure)
    with numbers.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["layer", "size", "norm", "method", "radius", "seconds"])
        writer.writerows((s.layer, s.size, s.norm, s.method, s.radius, s.seconds) for s in found)
    return [plot, numbers]


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= HELD_OUT:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number from 1 to {HELD_OUT}, the held-out images"
        )
    return int(text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from error
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"the share must be above 0 and at most 1, not {text}")
    return value


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        description="Find how far each layer's weights may move before a digit classifier errs."
    )
    add = result.add_argument
    add("--norm", choices=list(_NORMS), default="2", help="norm of the weights' ball (default: %(default)s)")
    add("--samples", type=_count, default=30, help="how many test images (default: %(default)s)")
    add(
        "--share", type=_share, default=0.5,
        help="share of the images that has to keep its class (default: %(default)s)",
    )  # fmt: skip
    add("--steps", type=int, default=9, help="steps of the binary search (default: %(default)s)")
    add(
        "--methods", type=lambda text: tuple(text.split(",")), default=METHODS, metavar="M,M,...",
        help=f"methods (default: {','.join(METHODS)})",
    )  # fmt: skip
    add(
        "--input-eps", type=float, default=0.0,
        help="L-infinity radius of the images, perturbed as well (default: %(default)s)",
    )  # fmt: skip
    add("--out", type=Path, default=Path("out"), help="folder for plot and numbers (default: %(default)s)")
    add("--weights", type=Path, default=WEIGHTS, help="trained weights (default: those of the example)")
    add("--smoke", action="store_true", help="few images and steps, to see that it works")
    return result


def main(arguments: list[str] | None = None) -> int:
    """Run the example; returns the exit status."""
    options = parser().parse_args(arguments)
    if options.smoke:
        options.samples, options.steps = min(options.samples, 4), min(options.steps, 4)
    console = Console()
    start = time.perf_counter()
    try:
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            found = run(options, progress)
        console.print(table(found, options))
        written = write(found, options)
    except (MissingFileError, LirpaError, OSError) as error:
        print(f"weight_certification.py: {error}", file=sys.stderr)
        return 1
    print(f"wrote {', '.join(map(str, written))} in {time.perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)  # the model is so small that threads would mostly wait for one another
    raise SystemExit(main())
