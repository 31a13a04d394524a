"""Writes the table of docs/written_out.md: how much wider bounds are where a pattern is not recognised.

python scripts/written_out_page.py
"""

from __future__ import annotations

from pathlib import Path

from lirpa_core.plugins import default_registry
from lirpa_testing.conformance.patterns import times_as_wide

PAGE = Path(__file__).parents[1] / "docs" / "written_out.md"
MARK = "<!-- below: scripts/written_out_page.py -->"
METHODS = ("IBP", "CROWN")


def main() -> None:
    """Measure every pattern, and write the page."""
    registry = default_registry()
    lines = [
        "| function | written | plugin | " + " | ".join(METHODS) + " |",
        "| --- | --- | --- |" + " --- |" * len(METHODS),
    ]
    for name, entry in registry.patterns.items():
        function, _, way = name.partition(": ")
        cells = []
        for method in METHODS:
            ratio = times_as_wide(entry, registry, method)
            cells.append("no bound" if ratio is None else f"{ratio:.3g}")
        lines.append(
            f"| {function} | {way.replace('|', chr(92) + '|')} | {entry.plugin} | " + " | ".join(cells) + " |"
        )
        print(lines[-1], flush=True)
    head = PAGE.read_text().partition(MARK)[0]
    PAGE.write_text(head + MARK + "\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
