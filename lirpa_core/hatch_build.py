"""Puts `plugins_template`, which lies beside this package in the repository, into wheels and sdists.

In an sdist it lies in `src/lirpa_core` already, where a wheel built from the sdist finds it. An
editable installation needs no copy: `lirpa new-plugin` looks in the repository.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TEMPLATE = "plugins_template"


class CustomBuildHook(BuildHookInterface):
    """See the module."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Include the template, unless this is an editable build or a build from an sdist."""
        source = Path(self.root).parent / TEMPLATE
        if version == "editable" or not source.is_dir():
            return
        folder = "src/lirpa_core" if self.target_name == "sdist" else "lirpa_core"
        build_data["force_include"][str(source)] = f"{folder}/{TEMPLATE}"
