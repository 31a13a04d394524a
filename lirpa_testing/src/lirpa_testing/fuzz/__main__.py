"""`python -m lirpa_testing.fuzz`: attack random networks for some minutes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from lirpa_testing.fuzz import log
from lirpa_testing.fuzz.methods import fuzzed_methods, method_of
from lirpa_testing.fuzz.run import run


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 1 if anything was found.

    Args:
        arguments: Of the command line; by default the program's.
    """
    parser = argparse.ArgumentParser(
        prog="python -m lirpa_testing.fuzz",
        description="Draw random networks, sets and scales, bound them by every method with rounding outward, attack "
        "the bounds, and judge them in balls of 400 bits. Findings become scripts beside the log.",
    )
    parser.add_argument("--minutes", type=float, required=True, help="how long")
    parser.add_argument("--seed", type=int, required=True, help="of the stream of cases")
    parser.add_argument(
        "--log", type=Path, default=Path("fuzz.jsonl"), help="JSON lines (default: %(default)s)"
    )
    parser.add_argument("--resume", action="store_true", help="go on where the log ends for this seed")
    parser.add_argument(
        "--methods",
        nargs="+",
        default=list(fuzzed_methods()),
        help="default: all that are registered, and CROWN with drawn slopes",
    )
    options = parser.parse_args(arguments)
    if not options.resume and log.next_index(options.log, options.seed):
        parser.error(
            f"{options.log} holds cases of seed {options.seed}: give --resume, or another --log or --seed"
        )
    torch.set_num_threads(1)
    options.log.parent.mkdir(parents=True, exist_ok=True)
    methods = [method_of(name, options.seed) for name in options.methods]
    found = run(options.log, seed=options.seed, seconds=options.minutes * 60, methods=methods)
    sys.stdout.write(log.summary(options.log) + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
