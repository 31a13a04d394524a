"""Certify an MLP on handwritten digits when any few pixels may change to any value.

A small network is trained on scikit-learn's 8x8 digits, by default with certified bounds in its loss
(the L0 budget and its `ratio` grow during training). Then each method bounds the margins of test images
over all images that differ in up to k pixels, and an attack tries to break what is left.

    python l0_certification.py --norm 0 --eps 1,2,3,4
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, Perturbation, PerturbationLpNorm
from lirpa_core.errors import LirpaError
from lirpa_perturbations import PerturbationL0Norm

METHODS = ("IBP", "CROWN-IBP", "forward", "forward+backward", "CROWN")
DEFAULT_EPS = {0.0: (1.0, 2.0, 3.0, 4.0, 6.0), 1.0: (0.5, 1.0, 2.0), 2.0: (0.2, 0.4, 0.8)}


@dataclass(frozen=True)
class Measured:
    """One line of the table: fractions of the test images, and the seconds that bounding took."""

    eps: float
    method: str
    clean: float
    attacked: float
    certified: float
    seconds: float


def digits() -> tuple[Tensor, Tensor]:
    """Images `[1797, 64]` in [0, 1] and their labels, in a fixed random order."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
    return torch.tensor(data.data, dtype=torch.float32)[order] / 16, torch.tensor(data.target)[order].long()


def margins(labels: Tensor) -> Tensor:
    """Specification `[B, 9, 10]`: the right class's output minus each of the others."""
    identity = torch.eye(10)
    others = torch.stack([torch.cat([identity[:y], identity[y + 1 :]]) for y in labels.tolist()])
    return identity[labels].unsqueeze(1) - others


def threat(norm: float, eps: float, ratio: float = 1.0) -> Perturbation:
    """The set around an image: `eps` pixels for norm 0, else a ball within the range of pixels."""
    if norm == 0:
        return PerturbationL0Norm(eps=eps, ratio=ratio)
    return PerturbationLpNorm(eps=eps * ratio, norm=norm, x_L=0.0, x_U=1.0)


def train(x: Tensor, y: Tensor, norm: float, eps: float, steps: int, certified: bool) -> nn.Module:
    """A classifier trained on clean images, or on worst-case margins (CROWN-IBP) for a growing set."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    bounded = BoundedModule(model, x[:1])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(steps):
        batch = torch.randint(len(x), (96,))
        loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
        ratio = min(1.0, max(0.0, 2 * step / steps - 0.25))
        if certified and ratio > 0:
            inputs = BoundedTensor(x[batch], threat(norm, eps, ratio))
            lower, _ = bounded.compute_bounds(
                x=(inputs,), C=margins(y[batch]), method="CROWN-IBP", bound_upper=False
            )
            worst = torch.cat([torch.zeros(len(batch), 1), -lower], 1)
            loss = 0.3 * loss + 0.7 * nn.functional.cross_entropy(worst, torch.zeros(len(batch)).long())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.eval()


def survives(model: nn.Module, x: Tensor, C: Tensor, ptb: Perturbation, starts: int = 18) -> Tensor:
    """Which images keep their class under projected gradient steps from random members: `[B]`."""
    z = ptb.sample(x, starts, torch.Generator().manual_seed(1))
    alive = torch.ones(len(x), dtype=torch.bool)
    for _ in range(12):
        z = z.detach().requires_grad_()
        m = torch.einsum("bkc,nbc->nbk", C, model(z))
        alive &= (m > 0).flatten(2).all(2).all(0)
        goal = m[torch.arange(starts), :, torch.arange(starts) % m.shape[2]].sum()
        (g,) = torch.autograd.grad(goal, z)
        z = ptb.project(x, z - 2 * g / g.norm(dim=-1, keepdim=True).clamp(min=1e-12))
    return alive


def run(options: argparse.Namespace) -> list[Measured]:
    """Train, attack and certify for every radius."""
    x, y = digits()
    model = train(x[:1400], y[:1400], options.norm, max(options.eps) / 2, options.steps, not options.plain)
    x, y = x[1400 : 1400 + options.samples], y[1400 : 1400 + options.samples]
    C, bounded = margins(y), BoundedModule(model, x[:1])
    clean = (model(x).argmax(1) == y).float().mean().item()
    found = []
    for eps in options.eps:
        ptb = threat(options.norm, eps)
        alive = survives(model, x, C, ptb)
        for method in METHODS:
            start = time.perf_counter()
            with torch.no_grad():
                lower, _ = bounded.compute_bounds(
                    x=(BoundedTensor(x, ptb),), C=C, method=method, bound_upper=False
                )
            seconds = time.perf_counter() - start
            proved = (lower > 0).all(1)
            if bool((proved & ~alive).any()):
                raise RuntimeError(f"{method} certified an image that an attack breaks; please report this")
            shares = (alive.float().mean().item(), proved.float().mean().item())
            found.append(Measured(eps, method, clean, *shares, seconds))
    return found


def table(found: list[Measured], norm: float, samples: int) -> Table:
    """The measurements as a table."""
    what = "changed pixels" if norm == 0 else f"L{norm:g} radius"
    result = Table(title=f"{samples} test images, by {what}")
    for name in (what, "method", "clean", "attacked", "certified", "seconds"):
        result.add_column(name, justify="left" if name == "method" else "right")
    for m in found:
        shares = (f"{share:.1%}" for share in (m.clean, m.attacked, m.certified))
        result.add_row(f"{m.eps:g}", m.method, *shares, f"{m.seconds:.3f}")
    return result


def write(found: list[Measured], norm: float, folder: Path) -> list[Path]:
    """The plot and the numbers."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    plot, numbers = folder / "l0_certification.png", folder / "l0_certification.csv"
    figure, axes = plt.subplots(figsize=(6, 4))
    radii = sorted({m.eps for m in found})
    attacked = [next(m.attacked for m in found if m.eps == eps) for eps in radii]
    axes.plot(radii, attacked, "k--o", label="survives the attack")
    for method in METHODS:
        shares = [next(m.certified for m in found if (m.eps, m.method) == (eps, method)) for eps in radii]
        axes.plot(radii, shares, "-o", label=f"certified by {method}")
    label = "pixels that may change" if norm == 0 else f"L{norm:g} radius"
    axes.set(xlabel=label, ylabel="share of test images", ylim=(0, 1))
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
    figure.savefig(plot, dpi=120, bbox_inches="tight")
    plt.close(figure)
    with numbers.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(asdict(found[0])))
        writer.writeheader()
        writer.writerows(asdict(m) for m in found)
    return [plot, numbers]


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(sorted({float(part) for part in text.split(",")}))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 1,2,4") from error


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(description="Certify an MLP on digits when a few pixels may change.")
    add = result.add_argument
    add("--norm", type=float, default=0.0, help="0, 1, 2, ... or inf (default: 0, changed pixels)")
    add(
        "--eps",
        type=_numbers,
        metavar="E,E,...",
        help="radii; for norm 0 numbers of pixels (default: 1,2,3,4,6)",
    )
    add("--samples", type=int, default=200, help="how many test images (default: %(default)s)")
    add("--steps", type=int, default=600, help="training steps (default: %(default)s)")
    add("--plain", action="store_true", help="train on clean images only")
    add("--out", type=Path, default=Path("out"), help="folder for plot and numbers (default: %(default)s)")
    return result


def main(arguments: list[str] | None = None) -> int:
    """Run the example; returns the exit status."""
    options = parser().parse_args(arguments)
    options.eps = options.eps or DEFAULT_EPS.get(options.norm, (0.02, 0.05, 0.1))
    start = time.perf_counter()
    try:
        found = run(options)
    except LirpaError as error:
        print(f"l0_certification.py: {error}", file=sys.stderr)
        return 1
    Console().print(table(found, options.norm, options.samples))
    written = write(found, options.norm, options.out)
    print(f"wrote {', '.join(map(str, written))} in {time.perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
