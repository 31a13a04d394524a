"""Makes the checkout's packages and plugins importable where nothing is installed."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import tempfile
from importlib.metadata import entry_points
from pathlib import Path

from benchmarks.checkout import HERE, sources, write_metadata


def prepare(wheels: Path | None = None) -> str | None:
    """Put what is missing on the import path.

    The packages are those of this checkout, unless others are on the path already; plugins that no installed
    metadata names get metadata in a temporary folder.

    Args:
        wheels: Folder of wheels of pure Python packages, which are imported without being installed.

    Returns:
        The temporary folder of metadata, for processes started from this one; None where none was needed.
    """
    if wheels is not None:
        sys.path[:0] = sorted(str(wheel) for wheel in wheels.glob("*.whl"))
    for folder in sources(HERE):
        package = next(folder.glob("lirpa_*")).name
        found = importlib.util.find_spec(package)
        if (
            found is None or found.origin is None
        ):  # a folder of that name in the working directory is no package
            sys.path.insert(0, str(folder))
            importlib.invalidate_caches()
    declared = {folder.parent.name for folder in sources(HERE)}
    known = {point.value.partition(".")[0] for point in entry_points(group="lirpa")}
    if declared <= known:
        return None
    metadata = tempfile.mkdtemp(prefix="lirpa-metadata-")
    sys.path.insert(0, str(write_metadata(HERE, Path(metadata))))
    importlib.invalidate_caches()
    return metadata
