"""Instances solved, wrong and unknown, and how long they take from the start of a process, by family.

    python -m benchmarks.verify --instances instances.csv --timeout 60
    python -m benchmarks.verify --instances instances.csv --timeout 60 --every 5 --json verify.json

With `--json` a run that was cut off goes on where it was, as long as the file is there; what it has of other instances is left out of the table.

Every instance is a call of `lirpa verify` in a new process, so the time has Python's start and all imports in it. With
`--processor`, for machines that others use too, the limit and the times are seconds that the processor worked for that
process, on one thread.
"""

from __future__ import annotations

import argparse
import compileall
import json
import math
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, fields
from functools import partial
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from lirpa_verify.instances import Instance, Outcome, read_instances
from lirpa_verify.instances.files import ANSWERS
from lirpa_verify.instances.table import by_family
from rich.console import Console
from rich.table import Table

#: A process that does not end for this long after its time is over is ended.
_GRACE = 20.0

#: Where the processor's time counts, that of the clock may be so many times as long.
_SLOWEST = 20.0


def solve(
    instance: Instance, timeout: float, folder: Path, *, processor: bool = False
) -> tuple[Outcome, float, dict[str, object]]:
    """The outcome of one instance, the seconds that the processor worked, and what the command said."""
    network, query = instance.paths
    command = [sys.executable, "-m", "lirpa_core", "verify", str(network), str(query)]
    clock = _SLOWEST * timeout if processor else timeout
    command += ["--timeout", str(clock), "--json", "--counterexample", str(folder / "counterexample")]
    limit = partial(resource.setrlimit, resource.RLIMIT_CPU, (math.ceil(timeout), math.ceil(timeout) + 1))
    if processor:
        command += ["--threads", "1"]
    said: dict[str, object] = {}
    start, before = time.perf_counter(), _worked()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=clock + _GRACE,
            preexec_fn=limit if processor else None,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        answer = "timeout"
    else:
        said = json.loads(done.stdout) if done.stdout.startswith("{") else said
        if said:
            answer = ANSWERS[str(said["status"])]
        elif done.returncode in {-signal.SIGXCPU, -signal.SIGKILL} and processor:
            answer = "timeout"
        else:
            answer = f"error: {(done.stderr.strip().splitlines() or [str(done.returncode)])[-1]}"
    seconds, worked = time.perf_counter() - start, _worked() - before
    counted = worked if processor else seconds
    outcome = Outcome(instance.family, instance.network, instance.query, 0.0, answer, counted)
    return outcome, worked, said


def _worked() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verify", description=__doc__)
    parser.add_argument("--instances", type=Path, required=True, help="list in VNN-COMP's format")
    parser.add_argument(
        "--timeout", type=float, default=60.0, help="seconds an instance (default: %(default)s)"
    )
    parser.add_argument("--processor", action="store_true", help="count seconds that the processor worked")
    parser.add_argument("--every", type=int, default=1, help="only every so-manieth instance")
    parser.add_argument("--family", action="append", help="only this family; may be repeated")
    parser.add_argument(
        "--json", type=Path, dest="path", help="write everything to this file, and go on from it"
    )
    arguments = parser.parse_args()
    listed = read_instances(arguments.instances)[:: arguments.every]
    listed = [i for i in listed if not arguments.family or i.family in arguments.family]
    path: Path | None = arguments.path
    details = json.loads(path.read_text()) if path is not None and path.exists() else []
    asked = {(i.network, i.query) for i in listed}
    outcomes = [Outcome(*(d[f.name] for f in fields(Outcome))) for d in details]
    outcomes = [o for o in outcomes if (o.network, o.query) in asked]
    if outcomes:
        print(
            f"{len(outcomes)} of {len(listed)} are in {path} already, by the version that wrote them",
            flush=True,
        )
    done = {(o.network, o.query) for o in outcomes}
    folder = Path(tempfile.mkdtemp())
    _compile_packages()
    for number, instance in enumerate(listed, 1):
        if (instance.network, instance.query) in done:
            continue
        outcome, worked, said = solve(instance, arguments.timeout, folder, processor=arguments.processor)
        outcomes.append(outcome)
        details.append({**asdict(outcome), "processor_seconds": worked, "said": said})
        wrong = instance.expected is not None and outcome.answer in {"sat", "unsat"}
        mark = " WRONG" if wrong and outcome.answer != instance.expected else ""
        print(
            f"[{number}/{len(listed)}] {outcome.network} {Path(outcome.query).name}: {outcome.answer}{mark} "
            f"by {said.get('decided_by')}, {outcome.seconds:.2f} s, processor {worked:.2f} s",
            flush=True,
        )
        if path is not None:
            _write(path, json.dumps(details, indent=1))
    columns = (
        "family",
        "instances",
        "proved",
        "refuted",
        "unknown",
        "errors",
        "wrong",
        "≤ 5 s",
        "median s",
        "mean s",
    )
    table = Table(*columns)
    for row in by_family(outcomes, listed):
        counts = (row.instances, row.proved, row.refuted, row.unknown, row.failed, row.wrong, row.quick)
        table.add_row(row.family, *map(str, counts), f"{row.median:.2f}", f"{row.mean:.2f}")
    Console(width=110).print(table)


def _compile_packages() -> None:
    """Compile what is installed to byte code, as pip does: a checkout may have none, nor may Python be allowed to write any."""
    for name in sorted({point.module.split(".")[0] for point in entry_points(group="lirpa")}):
        spec = find_spec(name)
        if spec is not None and spec.origin is not None:
            compileall.compile_dir(Path(spec.origin).parent, quiet=1)


def _write(path: Path, text: str) -> None:
    """Write a file so that whoever stops the program finds the old one or the new one whole."""
    beside = path.with_name(path.name + ".new")
    beside.write_text(text)
    beside.replace(path)


if __name__ == "__main__":
    main()
