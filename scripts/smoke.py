"""Use the installed packages as a stranger would. `make smoke` runs it in an empty environment.

The arguments are the short names of the plugins that have to be installed, no more and no fewer:

    python -I scripts/smoke.py core vision nlp perturbations training
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.resources
import importlib.util
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm


def main(expected: list[str]) -> None:
    """Run every check; an assertion that fails ends the run."""
    check_plugins(expected)
    check_command(expected)
    check_bounds()
    print(f"smoke test passed with {', '.join(expected)} (torch {torch.__version__})")


def check_plugins(expected: list[str]) -> None:
    """The entry points are those of the installed packages, which lie in this environment."""
    found = {point.name: point for point in importlib.metadata.entry_points(group="lirpa")}
    assert sorted(found) == sorted(expected), f"plugins found: {sorted(found)}, expected: {sorted(expected)}"
    for point in found.values():
        package = point.value.partition(".")[0]
        home = Path(str(importlib.resources.files(package)))
        assert home.is_relative_to(sys.prefix), (
            f"{package} was imported from {home}, not from this environment"
        )
        assert (home / "py.typed").is_file(), f"{package} carries no py.typed"
        importlib.import_module(point.value)


def check_command(expected: list[str]) -> None:
    """`lirpa plugins` lists them, or says what to install where the extra `cli` is missing."""
    command = [str(Path(sys.executable).with_name("lirpa")), "plugins"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    if importlib.util.find_spec("click") and importlib.util.find_spec("rich"):
        assert done.returncode == 0, output
        missing = [name for name in expected if name not in done.stdout]
        assert not missing, f"`lirpa plugins` does not list {missing}:\n{output}"
        check_new_plugin(command[0])
        check_command_of_the_kit(command[0], "testing" in expected)
    else:
        assert "lirpa-core[cli]" in output, output


def check_new_plugin(lirpa: str) -> None:
    """The wheel carries the template of plugins."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([lirpa, "new-plugin", "lirpa-ops-smoke", "--output", folder], check=True)
        assert (Path(folder) / "lirpa-ops-smoke" / "src" / "lirpa_ops_smoke" / "rules.py").is_file()


def check_command_of_the_kit(lirpa: str, installed: bool) -> None:
    """`lirpa check` works with lirpa-testing, and names it where it is missing."""
    done = subprocess.run(
        [lirpa, "check", "core", "--profile", "fast", "-k", "aten.neg"],
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr
    if installed:
        assert done.returncode == 0, output
        assert "0 failed" in output, output
    else:
        assert done.returncode == 2, output
        assert "pip install lirpa-testing" in output, output


def check_bounds() -> None:
    """The bounds of a network small enough to be worked out by hand."""
    first, last = nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False)
    first.weight.data = torch.tensor([[1.0, -1.0], [2.0, -1.0]])
    last.weight.data = torch.tensor([[1.0, -1.0]])
    network = nn.Sequential(first, nn.ReLU(), last).eval()
    model = BoundedModule(network, torch.zeros(1, 2), bound_opts={"rounding": "nearest"})
    lower, upper = torch.tensor([[-1.0, -2.0]]), torch.tensor([[2.0, 1.0]])
    box = PerturbationLpNorm(norm=math.inf, x_L=lower, x_U=upper)
    x = BoundedTensor((lower + upper) / 2, box)
    for method, expected in {"IBP": (-6.0, 4.0), "CROWN": (-3.0, 3.0)}.items():
        lb, ub = model.compute_bounds(x=(x,), method=method)
        assert (lb.item(), ub.item()) == expected, f"{method}: [{lb.item()}, {ub.item()}], not {expected}"


if __name__ == "__main__":
    main(sys.argv[1:])
