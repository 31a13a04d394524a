"""The page of the documentation that the figures of a run fill; what is missing in them is "not measured"."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.device import agreement, capture, cost, synchronisation
from benchmarks.device.models import MODELS

MISSING = "not measured"
Item = Mapping[str, Any]


def write_page(page: Path, figures: Path | None) -> None:
    """Write the page.

    Args:
        page: Where to.
        figures: JSON of `python -m benchmarks.device`; None: there are no figures yet.
    """
    content = json.loads(figures.read_text(encoding="utf-8")) if figures else {"parts": {}}
    page.write_text(text(content), encoding="utf-8")


def text(content: Mapping[str, Any]) -> str:
    """The page as Markdown."""
    items = {name: part["items"] for name, part in content["parts"].items()}
    lines = [
        "# On a device",
        "",
        "`python -m benchmarks.device --json device.json` measures all of this on a CUDA device in one call of",
        "minutes, and `python -m benchmarks.device --page docs/benchmarks/device.md --from device.json` writes this page.",
        "",
        _machine(content),
        *_agreement(items.get("agreement", ())),
        *_waits(items.get("synchronisation", ())),
        *_convolutions(items.get("convolutions", ())),
        *_executed(items.get("executed", ())),
        *_cost(items.get("cost", ())),
        *_capture(items.get("capture", ())),
        *_suite(items.get("suite", ())),
    ]
    return "\n".join(lines) + "\n"


def _machine(content: Mapping[str, Any]) -> str:
    if "device" not in content:
        return "No GPU was at hand so far: everything below is still open."
    kind = "A dry run on the CPU, at small sizes, on" if content["dry"] else "Measured on"
    most = content["most"]
    return (
        f"{kind} {content['device']}, {content['date'][:10]}, commit {content['commit']}, PyTorch {content['torch']},"
        f" CUDA {content['cuda']}; at most {most['flops'] / 1e12:.2f} TFLOP/s in float32 and"
        f" {most['bytes'] / 1e9:.0f} GB/s."
    )


def _find(items: Sequence[Item], **wanted: Any) -> Item | None:
    for item in items:
        if all(item.get(key) == value for key, value in wanted.items()):
            return item
    return None


def _cell(item: Item | None, show: Callable[[Item], str]) -> str:
    if item is None:
        return MISSING
    if "failed" in item:
        return f"failed: {str(item['failed'])[:80]}".replace("|", "/")
    return str(item["skipped"]) if "skipped" in item else show(item)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["", *(f"| {' | '.join(line)} |" for line in lines)]


def _agreement(items: Sequence[Item]) -> list[str]:
    def show(item: Item) -> str:
        return f"{item['units']:.2g}" + ("" if item["equal"] else " **differs**")

    rows = []
    for dtype in ("float32", "float64"):
        for name in MODELS:
            cells = [
                _cell(_find(items, model=name, dtype=dtype, method=m, tf32=False), show)
                for m in agreement.METHODS
            ]
            rows.append([name, dtype, *cells])
    rows += [
        [
            name,
            "float32, TF32 allowed",
            *(_cell(_find(items, model=name, method=m, tf32=True), show) for m in agreement.METHODS),
        ]
        for name in ("MLP, ReLU", "CNN", "ResNet-2B", "LSTM", "transformer")
    ]
    return [
        "",
        "## Bounds of the device and of the CPU",
        "",
        "The largest difference of a bound in units of roundoff times the size of the sums that end in it, which may be",
        f"up to {agreement.GROWTH:g}; a search may end a thousandth of the width away. With TF32 allowed by the program, bounds",
        "have to be those of the same device without it: in units of roundoff of the largest bound, up to 4.",
        *_table(["model", "type", *agreement.METHODS], rows),
    ]


def _waits(items: Sequence[Item]) -> list[str]:
    def show(item: Item) -> str:
        count = item.get("synchronisations")
        return f"{item['waits']}" if count is None else f"{count} ({item['waits']})"

    names = list(dict.fromkeys(item["model"] for item in items if "model" in item)) or list(
        synchronisation._NAMES
    )
    rows = [
        [name, *(_cell(_find(items, model=name, method=m), show) for m in synchronisation.METHODS)]
        for name in names
    ]
    places: Counter[str] = Counter()
    for item in items:
        places.update(item.get("lines") or item.get("places") or {})
    worst = [[f"`{place}`", str(count)] for place, count in places.most_common(10)]
    return [
        "",
        "## Waiting for the device",
        "",
        "How often a call makes the host wait, as `torch.cuda.set_sync_debug_mode` counts; in brackets (alone, where there",
        "was no CUDA device) operators whose result the host has to know.",
        *_table(["model", *synchronisation.METHODS], rows),
        *(
            ["", "The lines that wait most often in these calls:", *_table(["line", "times"], worst)]
            if worst
            else []
        ),
    ]


def _convolutions(items: Sequence[Item]) -> list[str]:
    def milliseconds(item: Item, key: str) -> str:
        return f"{1e3 * item[key]:.3g} ms" if key in item else ""

    rows = []
    for item in items:
        if "case" not in item:
            continue
        kind = "transposed" if item["transposed"] else "forward"
        name = "{} → {}, {}×{}, stride {}, image {}".format(*(item["case"][i] for i in (0, 1, 2, 2, 3, 4)))
        if "failed" in item:
            rows.append([name, str(item["images"]), kind, _cell(item, str), "", "", ""])
            continue
        rows.append([
            name, str(item["images"]), kind, f"{item['units']:.3g}, {item['units_beside']:.3g} of {item['terms']}",
            milliseconds(item, "seconds"), milliseconds(item, "columns"), milliseconds(item, "native"),
        ])  # fmt: skip
    head = ["convolution", "images", "", "units", "time", "by columns", "without cuDNN"]
    return [
        "",
        "## Convolutions",
        "",
        "How far outputs are from those in float64, in units of roundoff times the sum of the products' sizes, for ordinary",
        "numbers, and with a huge number outside of their windows; bounds allow the number of products that follows.",
        *(_table(head, rows) if rows else ["", f"{MISSING}."]),
    ]


def _executed(items: Sequence[Item]) -> list[str]:
    rows = [
        [
            str(i["model"]),
            str(i["method"]),
            _cell(i, lambda i: f"{i['outside']} of {i['outputs']}"),
            f"{i.get('width', 0):.3g}",
        ]
        for i in items
        if "model" in i
    ]
    return [
        "",
        "## The model as the device executes it",
        "",
        'Outputs of the device outside of bounds with `covers="float"` that the CPU computed.',
        *(_table(["model", "method", "outside", "width"], rows) if rows else ["", f"{MISSING}."]),
    ]


def _cost(items: Sequence[Item]) -> list[str]:
    def show(item: Item) -> str:
        launches = item.get("launches", item.get("operators"))
        return f"{1e3 * item['seconds']:.3g} ms, {launches}, {item['mib']:.0f} MiB"

    methods = ("forward pass", f"VJP of {cost.ROWS} rows", *cost.METHODS)
    keys = list(dict.fromkeys((item["model"], item["batch"]) for item in items if "model" in item))
    keys = keys or [(name, batch) for batch in cost.BATCHES for name in cost._MODELS]
    rows = [
        [name, str(batch), *(_cell(_find(items, model=name, batch=batch, method=m), show) for m in methods)]
        for name, batch in keys
    ]
    return [
        "",
        "## Cost",
        "",
        "Least wall time of a call, kernel launches (operators, where there was no CUDA device), peak memory beyond model",
        "and data; float32.",
        *_table(["model", "examples", *methods], rows),
    ]


def _capture(items: Sequence[Item]) -> list[str]:
    def show(item: Item) -> str:
        equal = "" if item["equal"] else " **differs**"
        return f"{1e3 * item['seconds']:.3g} ms for {1e3 * item['eager']:.3g} ms{equal}"

    rows = [
        [
            name,
            method,
            *(_cell(_find(items, model=name, method=method, way=way), show) for way in capture.WAYS),
        ]
        for name in MODELS
        for method in capture.METHODS
    ]
    return [
        "",
        "## Compiled and captured",
        "",
        "Time of a replayed call of `bounded.compiled(...)`, and of `compute_bounds`.",
        *_table(["model", "method", *(f"`{way}`" for way in capture.WAYS)], rows),
    ]


def _suite(items: Sequence[Item]) -> list[str]:
    rows = [
        [str(item["tests"]), _cell(item, lambda item: str(item["last"]))] for item in items if "tests" in item
    ]
    return [
        "",
        "## The tests that need a CUDA device",
        *(_table(["tests", "result"], rows) if rows else ["", f"{MISSING}."]),
    ]
