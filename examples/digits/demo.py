"""Certify a small digit classifier: how many test images provably keep their class, and at which radius.

Nothing is trained. For every norm, radius and method, the margins between the right class and each of
the nine others are bounded over all images near a test image (and with pixels in [0, 1]); the image is
certified where all nine lower bounds are positive.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from attack import survives
from model import HELD_OUT, WEIGHTS, MissingFileError, digits, load
from report import Measured, table, write_numbers, write_plot
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import LirpaError

METHODS = ("IBP", "CROWN-IBP", "forward", "forward+backward", "CROWN")
NORMS = {"linf": ("L∞", float("inf")), "l2": ("L2", 2.0), "l1": ("L1", 1.0)}
DEFAULT_EPS = {
    "linf": (0.005, 0.01, 0.02, 0.04, 0.06, 0.08),
    "l2": (0.025, 0.05, 0.1, 0.2, 0.3, 0.4),
    "l1": (0.1, 0.25, 0.5, 0.75, 1.0, 1.5),
}


class WrongCertificateError(RuntimeError):
    """An image that was certified fell to the attack: a defect of the library."""


def margins(labels: Tensor, classes: int = 10) -> Tensor:
    """Specification `[B, 9, 10]`: the right class's output minus each of the others."""
    identity = torch.eye(classes)
    others = torch.stack([torch.cat([identity[:y], identity[y + 1 :]]) for y in labels.tolist()])
    return identity[labels].unsqueeze(1) - others


def certify(
    bounded: BoundedModule, x: Tensor, C: Tensor, ptb: PerturbationLpNorm, method: str
) -> tuple[Tensor, float, float]:
    """Bound the margins: which images are certified `[B]`, the mean width, and the seconds it took."""
    start = time.perf_counter()
    lower, upper = bounded.compute_bounds(x=(BoundedTensor(x, ptb),), C=C, method=method)
    seconds = time.perf_counter() - start
    return (lower > 0).all(1), float((upper - lower).mean()), seconds


def run(options: argparse.Namespace, progress: Progress) -> list[Measured]:
    """All norms, radii and methods.

    Raises:
        MissingFileError: If the weights or the data set are not there.
        WrongCertificateError: If a certified image falls to the attack.
    """
    model = load(options.weights)
    x, labels = digits(held_out=True)
    generator = torch.Generator().manual_seed(options.seed)
    chosen = torch.randperm(len(labels), generator=generator)[: options.samples]
    x, labels = x[chosen], labels[chosen]
    C = margins(labels)
    correct = model(x).argmax(1) == labels
    bounded = BoundedModule(model, x)
    plan = [(norm, eps) for norm in options.norms for eps in options.eps or DEFAULT_EPS[norm]]
    task = progress.add_task("bounding", total=len(plan) * len(options.methods))
    found = []
    for norm, eps in plan:
        name, p = NORMS[norm]
        ptb = PerturbationLpNorm(eps=eps, norm=p, x_L=0.0, x_U=1.0)
        alive = survives(model, x, C, ptb, generator=generator)
        for method in options.methods:
            progress.update(task, description=f"{name} eps {eps:g} {method}")
            certified, width, seconds = certify(bounded, x, C, ptb, method)
            if bool((certified & ~alive).any()):
                raise WrongCertificateError(
                    f"{int((certified & ~alive).sum())} images certified by {method} ({name}, eps {eps:g}) fell "
                    "to the attack. Please report this."
                )
            clean, attacked, proved = (float(mask.double().mean()) for mask in (correct, alive, certified))
            found.append(Measured(name, eps, method, clean, attacked, proved, width, seconds))
            progress.advance(task)
    return found


def _numbers(text: str) -> tuple[float, ...]:
    try:
        values = tuple(sorted({float(part) for part in text.split(",")}))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 0.01,0.02") from error
    if values[0] <= 0:
        raise argparse.ArgumentTypeError("every radius must be positive")
    return values


def _norm_names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",")))
    unknown = [name for name in names if name not in NORMS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown norm {unknown[0]!r}; the norms are {', '.join(NORMS)}")
    return names


def _method_names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",")))


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= HELD_OUT:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number from 1 to {HELD_OUT}, the held-out images"
        )
    return int(text)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        description="Certify a small classifier of handwritten digits with several bounding methods."
    )
    grids = "; ".join(f"{norm}: {','.join(f'{e:g}' for e in eps)}" for norm, eps in DEFAULT_EPS.items())
    add = result.add_argument
    add("--samples", type=_count, default=200, help="how many test images (default: %(default)s)")
    add("--eps", type=_numbers, metavar="E,E,...", help=f"radii, for every norm (default: {grids})")
    add(
        "--methods", type=_method_names, default=METHODS, metavar="M,M,...",
        help=f"methods (default: {','.join(METHODS)})",
    )  # fmt: skip
    add(
        "--norms", type=_norm_names, default=("linf", "l2"), metavar="N,N,...",
        help=f"norms, of {', '.join(NORMS)} (default: linf,l2)",
    )  # fmt: skip
    add("--widths", action="store_true", help="also show the mean widths of bounds")
    add(
        "--out",
        type=Path,
        default=Path("out"),
        help="folder for the plot and the numbers (default: %(default)s)",
    )
    add("--weights", type=Path, default=WEIGHTS, help="weights to certify (default: those of the example)")
    add(
        "--seed",
        type=int,
        default=0,
        help="chooses the images and the attack's starts (default: %(default)s)",
    )
    return result


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; returns the exit status."""
    options = parser().parse_args(arguments)
    console = Console()
    start = time.perf_counter()
    try:
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            found = run(options, progress)
        console.print(table(found, options.samples, widths=options.widths))
        options.out.mkdir(parents=True, exist_ok=True)
        written = [write_plot(found, options.out), *write_numbers(found, options.out)]
    except (MissingFileError, WrongCertificateError, LirpaError, OSError) as error:
        print(f"demo.py: {error}", file=sys.stderr)
        return 1
    except ImportError as error:
        print(f"demo.py: {error}. The demo needs: pip install matplotlib rich scikit-learn", file=sys.stderr)
        return 1
    print(f"wrote {', '.join(map(str, written))} in {time.perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)  # the model is so small that threads would mostly wait for one another
    raise SystemExit(main())
