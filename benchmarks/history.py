"""The history of measurements: one JSON object a line and run, and the comparison with the run before."""

from __future__ import annotations

import datetime
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import Result

DEFAULT = Path(__file__).with_name("history.jsonl")


def record(
    results: Sequence[Result], device: torch.device, repeat: int, clock: str = "wall"
) -> dict[str, Any]:
    """One run as a line of the history."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": machine(device),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "lirpa-core": _version("lirpa-core"),
        },
        "repeat": repeat,
        "clock": clock,
        "results": [asdict(result) for result in results],
    }


def machine(device: torch.device) -> dict[str, Any]:
    """What timings depend on, besides the code; runs are compared where this is equal."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {"system": platform.system(), "device": name, "threads": torch.get_num_threads()}


def append(entry: Mapping[str, Any], path: Path) -> None:
    """Add a run to the history."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def load(path: Path) -> list[dict[str, Any]]:
    """All runs, oldest first; none where there is no history yet.

    Raises:
        ValueError: Naming the line that is not JSON.
    """
    if not path.exists():
        return []
    found = []
    for i, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {i} is not JSON: {error}") from error
    return found


def before(entry: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> dict[str, Result]:
    """For each case of a run, its latest earlier result on an equal machine."""
    latest: dict[str, Result] = {}
    for run in runs:
        if run["machine"] == entry["machine"]:
            latest.update({r["name"]: Result(**r) for r in run["results"]})
    return latest


def _commit() -> str | None:
    """The checked-out commit, with a plus where files differ from it."""
    here = Path(__file__).parent
    try:
        head = _git(here, "rev-parse", "--short", "HEAD")
        changed = _git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
