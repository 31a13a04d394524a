"""What certified training gains on scikit-learn's digits: clean and verified error of each way to train.

Trains a small network (64-128-64-10) in each way, with several seeds and for two radii, and certifies 500 held-out
digits with CROWN. Prints a Markdown table with means over the seeds, and writes every run to OUT/evidence.csv.

    python evidence.py
    python evidence.py --seeds 0 --num_epochs 10 --only plain,IBP
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from rich.console import Console
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from training import data, loop, options
from training.sources import ImageSource

#: Options of each way to train.
WAYS: Mapping[str, Mapping[str, Any]] = {
    "plain": {"objective": "plain"},
    "adversarial (PGD)": {"objective": "adversarial"},
    "IBP": {"bound_type": "IBP"},
    "CROWN-IBP": {"bound_type": "CROWN-IBP"},
    "CROWN-IBP, fused": {"bound_type": "CROWN-IBP", "loss_fusion": True},
    "SABR": {"bound_type": "IBP", "objective": "sabr", "ratio": 0.4},
    "MTL-IBP": {"bound_type": "IBP", "objective": "mtl-ibp", "alpha": 0.3},
}


@dataclass(frozen=True)
class Found:
    """One run: errors are shares of the test examples, `seconds` is the time of training on one thread."""

    way: str
    eps: float
    seed: int
    clean: float
    verified: float
    seconds: float


def network() -> nn.Module:
    """The network that is trained."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
    )


def run(way: str, eps: float, seed: int, settings: argparse.Namespace) -> Found:
    """Train once and certify."""
    chosen = argparse.Namespace(**vars(settings))
    chosen.eps, chosen.seed, chosen.verify_every = eps, seed, settings.num_epochs
    chosen.verify_samples, chosen.verify_method = 1, "IBP"
    chosen.out = settings.out / f"{list(WAYS).index(way)}-{eps:g}-{seed}"
    vars(chosen).update(WAYS[way])
    loop.seed(chosen)
    train, test = data.digits()
    if settings.smoke:
        train, test = train.first(64), test.first(16)
    task = loop.Task("evidence", network(), ImageSource(train), ImageSource(test))
    training = loop.Run(task, chosen, Console(quiet=True))
    start = time.process_time()
    training.train()
    seconds = time.process_time() - start
    chosen.verify_samples, chosen.verify_method = None, "CROWN"
    clean, verified = training.test()
    return Found(way, eps, seed, clean, verified, seconds)


def table(found: Sequence[Found]) -> str:
    """Means over the seeds, as Markdown."""
    radii = sorted({f.eps for f in found})
    lines = [
        "| training | "
        + " | ".join(f"clean error, ε = {e:g} | verified error | seconds" for e in radii)
        + " |",
        "|---" * (1 + 3 * len(radii)) + "|",
    ]
    for way in WAYS:
        cells = []
        for eps in radii:
            runs = [f for f in found if f.way == way and f.eps == eps]
            if not runs:
                continue
            spread = max(f.verified for f in runs) - min(f.verified for f in runs)
            cells += [
                f"{mean(f.clean for f in runs):.1%}",
                f"{mean(f.verified for f in runs):.1%} (± {spread / 2:.1%})",
                f"{mean(f.seconds for f in runs):.0f}",
            ]
        if cells:
            lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the program; returns the exit status."""
    usage = options.parser(
        __doc__,
        num_epochs=40,
        batch_size=64,
        lr=1e-3,
        scheduler_opts="start=3,length=20",
        out=Path("out/evidence"),
    )
    usage.add_argument("--seeds", default="0,1,2", help="default: %(default)s")
    usage.add_argument("--radii", default="0.05,0.1", help="default: %(default)s")
    usage.add_argument("--only", help="some of the ways to train, separated by semicolons")
    settings = usage.parse_args(arguments)
    if settings.smoke:
        settings.num_epochs, settings.seeds, settings.radii = 1, "0", "0.1"
        settings.scheduler_opts = "start=1,length=0"
    options.check(settings, usage)
    ways = list(WAYS) if settings.only is None else [w.strip() for w in settings.only.split(";")]
    for way in ways:
        if way not in WAYS:
            usage.error(f"argument --only: {way!r} is none of {'; '.join(WAYS)}")
    torch.set_num_threads(1)
    console, found = Console(), list[Found]()
    for seed in map(int, settings.seeds.split(",")):
        for eps in map(float, settings.radii.split(",")):
            for way in ways:
                found.append(run(way, eps, seed, settings))
                f = found[-1]
                console.print(
                    f"{way}, eps {eps:g}, seed {seed}: clean error {f.clean:.1%}, verified {f.verified:.1%}, "
                    f"{f.seconds:.0f} s",
                    highlight=False,
                )
                settings.out.mkdir(parents=True, exist_ok=True)
                with (settings.out / "evidence.csv").open("w", newline="", encoding="utf-8") as file:
                    writer = csv.DictWriter(file, list(asdict(f)))
                    writer.writeheader()
                    writer.writerows(asdict(one) for one in found)
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
