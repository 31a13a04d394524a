"""Write the result of `lirpa check --all --save FILE` into docs/conformance.md, below its marker.

python scripts/conformance_page.py FILE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lirpa_core.testing.conformance import Outcome, Report
from lirpa_core.testing.conformance.report import COLUMNS
from lirpa_core.testing.profiles import profile_of

PAGE = Path(__file__).parents[1] / "docs" / "conformance.md"
MARKER = "<!-- below: scripts/conformance_page.py -->"


def main(file: str) -> None:
    """Replace what stands below the marker."""
    head, *lines = (json.loads(line) for line in Path(file).read_text(encoding="utf-8").splitlines())
    report = Report(profile_of(head["profile"]), tuple(Outcome.from_json(line) for line in lines))
    rows = [row.cells() for row in report.rows()]
    table = [COLUMNS, ["---"] * len(COLUMNS), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    above = PAGE.read_text(encoding="utf-8").partition(MARKER)[0]
    body = [f"{above}{MARKER}", "", report.summary() + ".", "", *(f"| {' | '.join(row)} |" for row in table)]
    PAGE.write_text("\n".join(body) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
