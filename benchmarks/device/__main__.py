"""The command `python -m benchmarks.device`."""

from __future__ import annotations

import argparse
import datetime
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.device.imports import prepare
from benchmarks.device.run import Record, Run, reason

#: Seconds of a whole run.
BUDGET = 330.0
#: Parts in the order in which they run, the most valuable first, and their share of the time that is left then.
SHARES = {
    "agreement": 0.28, "synchronisation": 0.12, "convolutions": 0.15, "executed": 0.2, "capture": 0.35, "cost": 0.75,
    "suite": 1.0,
}  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="python -m benchmarks.device",
        description="What has to be seen on a GPU, in one call of minutes. Parts: " + ", ".join(SHARES),
    )
    add = result.add_argument
    add("--dry-run", action="store_true", help="all of it on the CPU, at small sizes")
    add("--device", default="cuda", help="default: %(default)s; of a dry run: cpu")
    add("--part", action="append", choices=list(SHARES), help="only this part; may be repeated")
    add("--seconds", type=float, default=BUDGET, help="for everything (default: %(default)s)")
    add("--json", type=Path, help="file of the figures, written after every step")
    add("--wheels", type=Path, help="folder of pure Python wheels to import what this machine lacks from")
    add("--page", type=Path, help="write the page of the documentation from a file of figures, and stop")
    add("--from", dest="figures", type=Path, help="that file; without it, nothing counts as measured")
    return result


def parts() -> Mapping[str, Callable[[Run], None]]:
    """The parts by name; they import lirpa, so the import path has to be prepared before."""
    from benchmarks.device.agreement import agreement
    from benchmarks.device.capture import capture
    from benchmarks.device.convolutions import convolutions
    from benchmarks.device.cost import cost
    from benchmarks.device.executed import executed
    from benchmarks.device.suite import suite
    from benchmarks.device.synchronisation import synchronisation

    return {
        "agreement": agreement,
        "synchronisation": synchronisation,
        "convolutions": convolutions,
        "executed": executed,
        "cost": cost,
        "capture": capture,
        "suite": suite,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 1 where bounds of the device differ from those of the CPU."""
    options = parser().parse_args(arguments)
    prepare(options.wheels)
    if options.page:
        from benchmarks.device.page import write_page

        write_page(options.page, options.figures)
        return 0
    device = torch.device("cpu" if options.dry_run else options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print(
            "python -m benchmarks.device: there is no CUDA device here; --dry-run needs none", file=sys.stderr
        )
        return 2
    if options.dry_run:
        torch.set_num_threads(1)  # small sizes gain nothing from more
    record = Record(options.json)
    record.content |= facts(device, dry=options.dry_run)
    end = time.monotonic() + options.seconds
    wanted = [name for name in SHARES if not options.part or name in options.part]
    for name in wanted:
        run_part(name, device, record, end, dry=options.dry_run)
    agreed = record.content["parts"].get("agreement", {"items": []})["items"]
    return int(any(item.get("equal") is False for item in agreed))


def run_part(name: str, device: torch.device, record: Record, end: float, *, dry: bool) -> None:
    """Run a part in its share of the time until `end`, and say what it found."""
    start = time.monotonic()
    found: dict[str, Any] = {"items": []}
    record.content["parts"][name] = found
    run = Run(device, dry, start + SHARES[name] * max(end - start, 0.0), found["items"], record)
    try:
        if run.left > 0:
            parts()[name](run)
    except Exception as error:  # noqa: BLE001  # the other parts go on
        found["failed"] = reason(error)
    found["seconds"] = time.monotonic() - start
    record.write()
    failed = [item for item in found["items"] if "failed" in item]
    unequal = [item for item in found["items"] if item.get("equal") is False]
    print(
        f"{name}: {len(found['items'])} items, {len(failed)} failed, {len(unequal)} differ, {found['seconds']:.0f} s",
        flush=True,
    )
    for item in (*failed, *unequal):
        print("   ", ", ".join(f"{key} {value}" for key, value in item.items()), flush=True)
    if "failed" in found:
        print("    failed:", found["failed"], flush=True)


def facts(device: torch.device, *, dry: bool) -> dict[str, Any]:
    """What the figures depend on: machine, versions, commit, and the most that the machine does."""
    from benchmarks import history
    from benchmarks.against.roofline import measure_machine

    cuda = device.type == "cuda"
    size, numbers = (256, 2**18) if dry else (4096, 2**27)
    with torch.no_grad():
        most = measure_machine(device, size, numbers)
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "dry": dry,
        "device": history.machine(device)["device"],
        "memory_gib": torch.cuda.get_device_properties(device).total_memory / 2**30 if cuda else None,
        "cuda": torch.version.cuda,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": history._commit(),
        "tf32_by_default": [torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32],
        "most": asdict(most),
    }


if __name__ == "__main__":
    raise SystemExit(main())
