"""Entry point of the command `lirpa`. It needs the extra `cli`; without it, it says how to get it."""

from __future__ import annotations

import sys
from typing import NoReturn

_NEEDED = ("click", "rich")


def main() -> NoReturn:
    """Run the command line; the console command and `python -m lirpa_core` both call this."""
    try:
        from lirpa_core.cli.group import cli
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _NEEDED:
            raise
        sys.stderr.write(
            f"the command lirpa needs the package {error.name}; "
            f"install it with: pip install 'lirpa-core[cli]'\n"
        )
        sys.exit(2)
    sys.exit(cli(prog_name="lirpa"))
