"""The command `python -m benchmarks`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks import history
from benchmarks.cases import CASES as CORE
from benchmarks.cases import Case
from benchmarks.measure import Result, peak, run_case
from benchmarks.steps import STEPS
from benchmarks.vision import VISION

CASES: tuple[Case, ...] = (*CORE, *STEPS, *VISION)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure bounds against plain PyTorch work of the same size, in the same run. "
        "Both sides are timed in turn, so that noise strikes both. With --against COMMIT: this version of lirpa "
        "against another one (--against COMMIT --help).",
    )
    add = result.add_argument
    add(
        "--case", action="append", metavar="NAME", help="only cases whose name contains NAME; may be repeated"
    )
    add(
        "--long",
        action="store_true",
        help="cases that take minutes too; --case with a whole name also runs one",
    )
    add("--list", action="store_true", help="list the cases and stop")
    add("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    add("--threads", type=int, help="threads of PyTorch on the CPU (default: PyTorch's own choice)")
    add("--repeat", type=int, default=15, help="pairs of samples a case (default: %(default)s)")
    add(
        "--no-memory",
        action="store_true",
        help="do not measure peak memory (which takes two processes a case)",
    )
    add(
        "--cpu-time",
        action="store_true",
        help="count the time that the processor worked, not the time that passed: on a busy machine",
    )
    add("--compare", action="store_true", help="show the change against the previous run on an equal machine")
    add("--no-save", action="store_true", help="do not add this run to the history")
    add("--history", type=Path, default=history.DEFAULT, help="file of the history (default: %(default)s)")
    add("--peak-of", nargs=2, metavar=("NAME", "SIDE"), help=argparse.SUPPRESS)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    if any(argument.partition("=")[0] == "--against" for argument in given):
        from benchmarks.against.command import main as against

        return against(given)
    options = parser().parse_args(given)
    if options.repeat < 1:
        return _fail("--repeat must be at least 1")
    if options.threads is not None:
        if options.threads < 1:
            return _fail("--threads must be at least 1")
        torch.set_num_threads(options.threads)
    try:
        device = torch.device(options.device)
    except RuntimeError as error:
        return _fail(f"--device {options.device}: {error}")
    if device.type not in ("cpu", "cuda") or (device.type == "cuda" and not torch.cuda.is_available()):
        return _fail(f"--device {options.device}: there is no such device here")
    if options.cpu_time and device.type != "cpu":
        return _fail("--cpu-time does not see what a GPU does")
    if options.peak_of:
        name, side = options.peak_of
        return _print_peak(name, side, device)
    chosen = [c for c in CASES if not options.case or any(part in c.name for part in options.case)]
    if not (options.long or options.list):
        chosen = [c for c in chosen if not c.long or c.name in (options.case or ())]
    if not chosen:
        return _fail(
            f"no case is named {' or '.join(options.case)}; there are {', '.join(c.name for c in CASES)}"
        )
    console = Console()
    if options.list:
        console.print(_case_table(chosen))
        return 0
    results = _run(chosen, device, options, console)
    entry = history.record(results, device, options.repeat, "cpu" if options.cpu_time else "wall")
    earlier = history.before(entry, history.load(options.history)) if options.compare else None
    console.print(_table(chosen, results, entry["machine"], earlier))
    if not options.no_save:
        history.append(entry, options.history)
        console.print(f"added to {options.history}", soft_wrap=True, highlight=False)
    return 0


def _run(
    chosen: Sequence[Case], device: torch.device, options: argparse.Namespace, console: Console
) -> list[Result]:
    results = []
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(chosen) * options.repeat)
        for case in chosen:
            progress.update(task, description=case.name)
            results.append(
                run_case(
                    case,
                    device,
                    repeat=options.repeat,
                    threads=options.threads,
                    memory=not options.no_memory,
                    clock=time.process_time if options.cpu_time else time.perf_counter,
                    after_each=lambda: progress.advance(task),
                )
            )
    return results


def _print_peak(name: str, side: str, device: torch.device) -> int:
    case = next(c for c in CASES if c.name == name)
    pair = case.make(device)
    small = torch.rand(64, 64, device=device)  # starts PyTorch's threads and loads its kernels
    _ = (small @ small).abs().sum()
    print(json.dumps(peak(getattr(pair, side), device)))
    return 0


def _case_table(cases: Sequence[Case]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("case", "what", "target"):
        table.add_column(column)
    for case in cases:
        table.add_row(case.name, case.summary, _target(case))
    return table


def _target(case: Case) -> str:
    if case.target is None:
        return ""
    return f"≤ {case.target:g}" + (" ms" if case.measure == "overhead" else "")


def _table(
    cases: Sequence[Case],
    results: Sequence[Result],
    machine: Mapping[str, object],
    earlier: Mapping[str, Result] | None,
) -> Table:
    table = Table(
        title=f"{machine['device']}, threads: {machine['threads']}; medians, [least, most]",
        title_justify="left",
        caption="a ratio is bounds / plain work, an overhead bounds - plain work; memory beyond model and data",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("case")
    for column in (
        "bounds\nms",
        "plain\nms",
        "ratio or\noverhead",
        "of the\nminima",
        "target",
        "memory\nMiB",
    ):
        table.add_column(column, justify="right")
    if earlier is not None:
        table.add_column("before", justify="right")
        table.add_column("change", justify="right")
    for case, result in zip(cases, results, strict=True):
        unit = " ms" if case.measure == "overhead" else ""
        met = result.target is None or result.value <= result.target
        row = [
            case.name,
            f"{result.subject_ms:.3g}",
            f"{result.plain_ms:.3g}",
            f"{result.value:.2f}{unit}\n[dim]{_span(result)}[/dim]",
            f"{result.of_minima:.2f}{unit}",
            _target(case)
            + ("" if case.target is None else "\n[green]met[/green]" if met else "\n[red]missed[/red]"),
            ""
            if result.subject_mb is None
            else f"{result.subject_mb:.0f}\n[dim]plain {result.plain_mb:.0f}[/dim]",
        ]
        if earlier is not None:
            row += _change(result, earlier.get(case.name))
        table.add_row(*row)
    return table


def _span(result: Result) -> str:
    return f"\\[{result.least:.2f}, {result.most:.2f}]"


def _change(result: Result, old: Result | None) -> list[str]:
    if old is None:
        return ["new", ""]
    return [f"{old.value:.2f}", f"{100 * (result.value / old.value - 1):+.0f}%" if old.value else ""]


def _fail(message: str) -> int:
    print(f"python -m benchmarks: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
