"""How far one warm call walks through the source: files, functions, Python calls, moves from file to file.

    python scripts/count_walk.py
    python scripts/count_walk.py --model convolutional --method IBP --files
    python scripts/count_walk.py --json walk.json

The default is CROWN of the MLP of five layers `Linear(16, 16), ReLU, Linear(16, 16), ReLU, Linear(16, 10)`
with random weights (seed 0), four examples in an L∞ ball of radius 0.1, the third call on one `BoundedModule`.
At commit 7efb288, on Python 3.11, it passes 47 files, 191 functions, 1,297 calls and 736 moves.

What is counted, of the sources of lirpa only:

* files: those in which at least one call ran;
* functions: distinct functions and methods that a module or a class defines. Lambdas, comprehensions and functions
  inside functions belong to the function around them;
* calls: all starts of Python frames, comprehensions and each resumption of a generator among them (Python 3.12
  runs list comprehensions without a frame of their own, so it counts fewer);
* moves: how often a call ran in another file than the call before it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import CodeType, FrameType

import torch
from torch import Tensor, nn

import lirpa_core
from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm


@dataclass(frozen=True)
class Walk:
    """What one call passed.

    Attributes:
        files: Source files in which a call ran.
        functions: Functions and methods of modules and classes.
        calls: Starts and resumptions of Python frames.
        moves: How often the file changed from one call to the next.
        by_file: Calls of each file, by its path from the folder that holds its package.
    """

    files: int
    functions: int
    calls: int
    moves: int
    by_file: dict[str, int]


def mlp(linear: int) -> Callable[[], tuple[nn.Module, Tensor]]:
    """A builder of an MLP of so many linear layers with ReLUs between them, 16 neurons wide, and four inputs."""

    def make() -> tuple[nn.Module, Tensor]:
        sizes = [16] * linear + [10]
        layers = [layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(*layers[:-1]), torch.rand(4, 16)

    return make


def convolutional() -> tuple[nn.Module, Tensor]:
    """Two convolutions and two linear layers on images of 8 × 8."""
    layers = [nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 8, 3, 2, 1), nn.ReLU()]
    head = [nn.Flatten(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 10)]
    return nn.Sequential(*layers, *head), torch.rand(4, 1, 8, 8)


#: Builders of a model and its inputs, by name.
MODELS: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "mlp": mlp(3),
    "mlp-deep": mlp(5),
    "convolutional": convolutional,
}


def walk(call: Callable[[], object], roots: Sequence[Path]) -> Walk:
    """Run a call and count what it passes in the files below some folders.

    Args:
        call: What is run, once; run it before, if caches should be warm.
        roots: Folders of packages, such as `.../src/lirpa_core`.
    """
    prefixes = tuple(f"{root}/" for root in roots)
    entered: list[CodeType] = []

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(prefixes):
            entered.append(frame.f_code)

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    files = [code.co_filename for code in entered]
    by_file = Counter(_short(file, roots) for file in files)
    return Walk(
        files=len(by_file),
        functions=len(
            {(c.co_filename, c.co_qualname, c.co_firstlineno) for c in entered if "<" not in c.co_qualname}
        ),
        calls=len(entered),
        moves=sum(a != b for a, b in itertools.pairwise(files)),
        by_file=dict(by_file.most_common()),
    )


def _short(file: str, roots: Sequence[Path]) -> str:
    path = Path(file)
    root = next(r for r in roots if path.is_relative_to(r))
    return str(path.relative_to(root.parent))


def package_folders() -> list[Path]:
    """The folders of the packages of lirpa that are loaded."""
    assert lirpa_core.__file__ is not None
    names = {name for name in sys.modules if name.startswith("lirpa_") and "." not in name}
    files = [sys.modules[name].__file__ for name in sorted(names)]
    return [Path(file).parent for file in files if file is not None]


def count(model: str, method: str, eps: float) -> Walk:
    """The walk of a warm call of one of `MODELS`."""
    torch.manual_seed(0)
    network, x = MODELS[model]()
    bounded = BoundedModule(network.eval(), x)
    ball = BoundedTensor(x, PerturbationLpNorm(norm=math.inf, eps=eps))

    def call() -> object:
        return bounded.compute_bounds(x=(ball,), method=method)

    call()
    call()
    return walk(call, package_folders())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", choices=sorted(MODELS), default="mlp", help="default: %(default)s")
    add("--method", default="CROWN", help="default: %(default)s")
    add("--eps", type=float, default=0.1, help="radius of the L∞ ball (default: %(default)s)")
    add("--files", action="store_true", help="also list the calls of each file")
    add("--json", type=Path, help="file for the figures")
    options = parser.parse_args(arguments)
    found = count(options.model, options.method, options.eps)
    print(f"{options.method} of {options.model}: ", end="")
    print(
        f"{found.files} files, {found.functions} functions, {found.calls:,} calls, {found.moves:,} moves between files"
    )
    if options.files:
        for file, calls in found.by_file.items():
            print(f"{calls:6,}  {file}")
    if options.json:
        options.json.write_text(json.dumps(asdict(found), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
