"""Dense coefficients against patches: time and peak memory of CROWN on convolutional networks.

Each measurement runs in a process of its own, so that peaks do not mix. The peak is what the process
needed above what it held when the bounds were asked for.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from models import ZOO, resnet_2b, resnet_4b, small_cnn
from rich.console import Console
from rich.table import Table
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm

#: Models with the size of their input, made small enough for CROWN on a laptop.
MODELS = {
    "small_cnn": lambda width: (small_cnn(), (1, 28, 28)),
    "resnet_2b": lambda width: (resnet_2b(), (3, 32, 32)),
    "resnet_4b": lambda width: (resnet_4b(), (3, 32, 32)),
    **{name: lambda width, make=make: (make(width=width), (3, 32, 32)) for name, make in ZOO.items()},
}


@dataclass(frozen=True)
class Measured:
    """One model with one form of coefficients.

    Attributes:
        model: Name of the model.
        form: `"matrix"` or `"patches"`.
        seconds: Processor time of the bounds.
        peak: MiB of memory above what was held before.
        width: Mean of upper minus lower bound.
    """

    model: str
    form: str
    seconds: float
    peak: float
    width: float


def megabytes() -> float:
    """Largest resident size of this process so far."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def measure(name: str, form: str, options: argparse.Namespace) -> Measured:
    """Bound one model once, after a warm-up with IBP that captures it."""
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    model, shape = MODELS[name](options.width)
    perturb_statistics(model)
    x = torch.rand(options.batch, *shape)
    point = BoundedTensor(x, PerturbationLpNorm(eps=options.eps))
    bounded = BoundedModule(model.eval(), x, bound_opts={"conv_mode": form})
    with torch.no_grad():
        bounded.compute_bounds(x=point, method="IBP")
        before, start = megabytes(), time.process_time()
        lower, upper = bounded.compute_bounds(x=point, method=options.method)
        seconds = time.process_time() - start
    return Measured(name, form, seconds, megabytes() - before, (upper - lower).mean().item())


def perturb_statistics(model: nn.Module) -> None:
    """Statistics of batch norm that are not those of a new module."""
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.running_mean = 0.1 * torch.randn(module.num_features)
            module.running_var = 0.5 + torch.rand(module.num_features)


def table(found: list[Measured]) -> Table:
    """What is printed: both forms of each model, and their ratio."""
    result = Table()
    for name in (
        "model",
        "dense s",
        "patches s",
        "ratio",
        "dense MiB",
        "patches MiB",
        "ratio",
        "widths agree",
    ):
        result.add_column(name, justify="left" if name == "model" else "right")
    for dense, patches in zip(found[::2], found[1::2], strict=True):
        agree = abs(dense.width - patches.width) <= 1e-3 * dense.width
        result.add_row(
            dense.model, f"{dense.seconds:.2f}", f"{patches.seconds:.2f}", f"{patches.seconds / dense.seconds:.2f}",
            f"{dense.peak:.0f}", f"{patches.peak:.0f}", f"{patches.peak / max(dense.peak, 1):.2f}",
            "yes" if agree else "NO",
        )  # fmt: skip
    return result


def plot(found: list[Measured], path: Path) -> None:
    """Bars of time and memory."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for axes, key, label in zip(panels, ("seconds", "peak"), ("seconds", "MiB"), strict=True):
        for i, form in enumerate(("matrix", "patches")):
            chosen = [m for m in found if m.form == form]
            places = [k + 0.4 * i for k in range(len(chosen))]
            axes.bar(places, [getattr(m, key) for m in chosen], 0.4, label=form)
        axes.set_xticks(range(len(found) // 2), [m.model for m in found[::2]], rotation=20)
        axes.set(ylabel=label, yscale="log")
    panels[0].legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="small_cnn,resnet_2b,resnet_4b", help=f"of {', '.join(MODELS)}")
    parser.add_argument(
        "--width", type=float, default=0.125, help="width of the zoo's models (default: 0.125)"
    )
    parser.add_argument("--batch", type=int, default=1, help="images (default: 1)")
    parser.add_argument("--eps", type=float, default=0.002, help="L∞ radius (default: 0.002)")
    parser.add_argument("--method", default="CROWN", help="default: CROWN")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch (default: 1)")
    parser.add_argument("--out", type=Path, help="folder for the plot")
    options = parser.parse_args(arguments)
    names = options.models.split(",")
    if unknown := [n for n in names if n not in MODELS]:
        parser.error(f"unknown models {', '.join(unknown)}; there are {', '.join(MODELS)}")
    context = multiprocessing.get_context("spawn")
    found = []
    for name in names:
        for form in ("matrix", "patches"):
            with context.Pool(1) as pool:
                found.append(pool.apply(measure, (name, form, options)))
    Console().print(table(found))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        plot(found, options.out / "convolution.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
