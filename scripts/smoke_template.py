"""Make a plugin from the template, as its author would. `make smoke` runs it in the environment of the wheels.

The plugin installs, its tests pass, and so does `lirpa check`. Then a mistake that people make goes into one of its
rules, and `lirpa check` has to say so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

NAME, PLUGIN = "lirpa-ops-smoke", "smoke"

#: The upper bound is made of the lower one's coefficients.
RIGHT = "Relaxation(Affine(tuple(tangent), bias), Affine(tuple(flat), upper))"
WRONG = "Relaxation(Affine(tuple(tangent), bias), Affine(tuple(tangent), bias))"

#: What the report has to say about it.
SAYS = (
    "lirpa_ops_smoke.length.default",
    "FAILED",
    "above the upper affine function",
    "box of x0",
    "point x0",
)


def main() -> None:
    """Run every step; one that fails ends the run."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        try:
            check(home)
        finally:
            run("-m", "pip", "uninstall", "--quiet", "--yes", NAME, where=home)
    print("the template makes a plugin that passes, and that fails once it is broken")


def check(home: Path) -> None:
    """Bake, install, test, check; break, and check again."""
    expect(0, lirpa(home, "new-plugin", NAME, "--output", str(home)))
    package = home / NAME
    install(package)
    expect(0, run("-m", "pytest", "-q", "-p", "no:cacheprovider", where=package))
    expect(0, lirpa(home, "check", PLUGIN, "--profile", "fast"))

    rules = package / "src" / "lirpa_ops_smoke" / "rules.py"
    content = rules.read_text()
    assert content.count(RIGHT) == 1, f"{rules} does not hold {RIGHT}"
    rules.write_text(content.replace(RIGHT, WRONG))
    install(package)
    report = expect(1, lirpa(home, "check", NAME, "--profile", "fast", "-k", "length"))
    missing = [words for words in SAYS if words not in report]
    assert not missing, f"the report does not say {missing}:\n{report}"


def install(package: Path) -> None:
    """What `pip install .` does, with the tools and dependencies that are there."""
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--force-reinstall")
    expect(
        0, run("-m", "pip", "--disable-pip-version-check", "install", *options, str(package), where=package)
    )


def lirpa(where: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command `lirpa`."""
    return run("-m", "lirpa_core", *arguments, where=where)


def run(*arguments: str, where: Path) -> subprocess.CompletedProcess[str]:
    """Run this environment's Python, without the paths of whoever runs this."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=where, env=environment, capture_output=True, text=True, check=False
    )


def expect(code: int, done: subprocess.CompletedProcess[str]) -> str:
    """Require an exit status; returns what was printed."""
    output = done.stdout + done.stderr
    assert done.returncode == code, f"{done.args} ended with {done.returncode}, not {code}:\n{output}"
    return output


if __name__ == "__main__":
    main()
