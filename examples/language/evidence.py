"""What robust training gains on sentences: a transformer and an LSTM, plainly and robustly, under word substitution.

Trains each model in each way with `train.py` and its defaults, certifies the test sentences with up to 6 words
substituted, and prints a Markdown table. A kill loses nothing but the current epoch: call it again with `--resume`.

    python evidence.py --data ~/sst
    python evidence.py --data ~/sst --only lstm --num_epochs 20 --scheduler_opts start=2,length=12
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from language import train as program
from training import sentences

#: Options of each way to train.
WAYS: dict[str, tuple[str, ...]] = {"plain": (), "robust": ("--robust",)}


@dataclass(frozen=True)
class Found:
    """One run: shares of the test sentences, and CPU seconds of training and testing together."""

    model: str
    way: str
    clean: float
    verified: float
    seconds: float


def run(model: str, way: str, arguments: Sequence[str], out: Path) -> Found | None:
    """Train and certify once; None if the program failed, which has said why."""
    folder, start = out / f"{model}-{way}", time.process_time()
    status = program.main(["--model", model, *WAYS[way], *arguments, "--out", str(folder)])
    if status != 0:
        return None
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        last = list(csv.DictReader(file))[-1]
    errors = float(last["test_error"]), float(last["verified_error"])
    return Found(model, way, 1 - errors[0], 1 - errors[1], time.process_time() - start)


def table(found: Sequence[Found], majority: float) -> str:
    """The runs as Markdown, after a constant answer, which certifies without knowing anything."""
    lines = [
        "| model | training | clean accuracy | verified accuracy | CPU seconds |",
        "|---|---|---|---|---|",
        f"| always the more frequent class | | {majority:.1%} | {majority:.1%} | |",
    ]
    lines += [f"| {f.model} | {f.way} | {f.clean:.1%} | {f.verified:.1%} | {f.seconds:.0f} |" for f in found]
    return "\n".join(lines)


def majority(settings: argparse.Namespace) -> float:
    """Share of the test sentences that are of the more frequent class."""
    found = sentences.corpus(settings.data, settings.length, 1, settings.verify_samples)
    positive = found.test_labels.double().mean()
    return float(torch.maximum(positive, 1 - positive))


def main(arguments: list[str] | None = None) -> int:
    """Run the program; returns the exit status."""
    usage = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = usage.add_argument
    add("--data", type=Path, metavar="FOLDER", help=f"with {sentences.FILES}; default: made-up reviews")
    add("--only", choices=tuple(program.MODELS), help="one of the models (default: both)")
    add("--out", type=Path, default=Path("out/sentences"), metavar="FOLDER", help="default: %(default)s")
    add("--num_epochs", type=int, default=12, metavar="N", help="of each run (default: %(default)s)")
    add("--length", type=int, default=20, help="tokens of a sentence (default: %(default)s)")
    add("--verify_samples", type=int, metavar="N", help="test sentences (default: all)")
    add("--smoke", action="store_true", help="a few steps on little data, to see that it works")
    settings, others = usage.parse_known_args(arguments)
    settings.length = 11 if settings.smoke and settings.data is None else settings.length
    shared = ["--num_epochs", str(settings.num_epochs), "--length", str(settings.length), *others]
    shared += ["--verify_every", str(settings.num_epochs)]
    for name in ("data", "verify_samples"):
        if getattr(settings, name) is not None:
            shared += [f"--{name}", str(getattr(settings, name))]
    shared += ["--smoke"] if settings.smoke else []
    torch.set_num_threads(1)
    found = []
    for model in program.MODELS if settings.only is None else (settings.only,):
        for way in WAYS:
            one = run(model, way, shared, settings.out)
            if one is None:
                return 1
            found.append(one)
    print(table(found, majority(settings)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
