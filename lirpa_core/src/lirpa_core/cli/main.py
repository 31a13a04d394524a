"""Entry point of the command `lirpa`. It needs the extra `cli`; without it, it says how to get it."""

from __future__ import annotations

import gc
import sys
from importlib.util import find_spec
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line; the console command and `python -m lirpa_core` both call this."""
    missing = [package for package in ("click", "jinja2", "rich") if find_spec(package) is None]
    if missing:
        sys.stderr.write(
            f"the command lirpa needs the package {' and the package '.join(missing)}; "
            f"install with: pip install 'lirpa-core[cli]'\n"
        )
        sys.exit(2)
    from lirpa_core.cli.group import cli

    gc.freeze()  # what has been imported stays: a tenth of a second each time that it is searched for garbage
    sys.exit(cli(prog_name="lirpa"))
