"""The packages of a checkout as a path of imports, plugins included, without installing anything."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tomllib
from hashlib import sha256
from pathlib import Path

#: Root of the checkout that this file belongs to.
HERE = Path(__file__).parents[1]
#: Where a package is declared, from the root of a checkout.
_PROJECTS = "lirpa_*/pyproject.toml"


def sources(root: Path) -> list[Path]:
    """The `src` folders of a checkout's packages."""
    return sorted(project.parent / "src" for project in root.glob(_PROJECTS))


def write_metadata(root: Path, folder: Path) -> Path:
    """Write what `importlib.metadata` wants to know of each package of a checkout, as if it were installed.

    A folder with this metadata in front of the import path makes the checkout's plugins known, and hides those
    of another version that is installed.

    Args:
        root: Root of the checkout.
        folder: Receives a `*.dist-info` folder for each package.

    Returns:
        The folder.
    """
    for path in root.glob(_PROJECTS):
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        info = folder / f"{project['name'].replace('-', '_')}-0.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        lines = [f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0\n"]
        (info / "METADATA").write_text("".join(lines), encoding="utf-8")
        points = [
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
            for group, entries in project.get("entry-points", {}).items()
        ]
        (info / "entry_points.txt").write_text("\n".join(points), encoding="utf-8")
    return folder


def extract(commit: str, folder: Path, root: Path = HERE) -> Path:
    """Lay the packages of a commit down in a folder.

    Args:
        commit: Anything that git calls a commit.
        folder: Receives the packages' folders.
        root: A checkout whose repository holds the commit.

    Returns:
        The folder.

    Raises:
        ValueError: If there is no such commit.
    """
    listed = _git(root, "ls-tree", "-d", "--name-only", commit).decode().split()
    packages = [name for name in listed if name.startswith("lirpa_")]
    with tarfile.open(fileobj=io.BytesIO(_git(root, "archive", commit, *packages))) as archive:
        archive.extractall(folder, filter="data")
    return folder


def commit_of(name: str, root: Path = HERE) -> str:
    """The short hash of a commit.

    Raises:
        ValueError: If there is no such commit.
    """
    return _git(root, "rev-parse", "--short", f"{name}^{{commit}}").decode().strip()


def fingerprint(root: Path) -> str:
    """A hash of all Python sources of a checkout's packages: equal hashes run equal code."""
    state = sha256()
    for folder in sources(root):
        for path in sorted(folder.rglob("*.py")):
            state.update(str(path.relative_to(root)).encode())
            state.update(path.read_bytes())
    return state.hexdigest()[:16]


def _git(root: Path, *arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)
    if done.returncode:
        message = done.stderr.decode(errors="replace").strip()
        raise ValueError(f"git {' '.join(arguments)} in {root}: {message}")
    return done.stdout
