"""VNN-COMP's lists of instances and files of results."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lirpa_verify.digests import digest_of
from lirpa_verify.errors import InstancesError
from lirpa_verify.running.rows import RowsFile

#: What VNN-COMP calls answers.
ANSWERS: Final = {"proved": "unsat", "refuted": "sat", "unknown": "unknown"}

_COLUMNS: Final = 6


@dataclass(frozen=True)
class Instance:
    """A network with a property.

    Attributes:
        network: Path of the ONNX file, as the list has it.
        query: Path of the VNN-LIB file, likewise.
        folder: What the paths are relative to.
        timeout: Seconds that the list allows; None where it says nothing.
        expected: The answer in VNN-COMP's words, where the list has one.
    """

    network: str
    query: str
    folder: Path
    timeout: float | None = None
    expected: str | None = None

    @property
    def paths(self) -> tuple[Path, Path]:
        """Where the network and the query are."""
        return self.folder / self.network, self.folder / self.query

    @property
    def family(self) -> str:
        """The folder of the network, or that of the list."""
        parent = Path(self.network).parent.name
        return parent if parent not in {"", "onnx"} else self.folder.resolve().name


@dataclass(frozen=True)
class Outcome:
    """What came out for an instance: a line of the file of results.

    Attributes:
        family: The benchmark's name.
        network: As in the list.
        query: As in the list.
        preparing: Seconds before the time counted.
        answer: "unsat", "sat", "timeout", "unknown", where a worker failed with what happened, or "error" likewise.
        seconds: How long it took.
    """

    family: str
    network: str
    query: str
    preparing: float
    answer: str
    seconds: float


def read_instances(path: str | Path) -> list[Instance]:
    """Read a list of instances: VNN-COMP's `onnx,vnnlib,timeout`, or columns that are named in the first line.

    Raises:
        InstancesError: If it cannot be read, or a line is too short; says which.
    """
    path = Path(path)
    try:
        with path.open(newline="") as file:
            lines = [
                (i, row) for i, row in enumerate(csv.reader(file), 1) if row and any(v.strip() for v in row)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InstancesError(f"cannot read the list of instances {path}: {error}") from error
    if not lines:
        raise InstancesError(f"{path} lists no instances")
    columns = ["onnx", "vnnlib", "timeout"]
    first = [v.strip().lower() for v in lines[0][1]]
    if "onnx" in first and "vnnlib" in first:
        columns, lines = first, lines[1:]
    return [_instance(path, number, dict(zip(columns, row, strict=False))) for number, row in lines]


def _instance(path: Path, number: int, row: dict[str, str]) -> Instance:
    values = {key: value.strip() for key, value in row.items()}
    if not values.get("onnx") or not values.get("vnnlib"):
        raise InstancesError(
            f"{path}, line {number}: expected a network and a property, got {list(row.values())}"
        )
    timeout = values.get("timeout")
    try:
        limit = float(timeout) if timeout else None
    except ValueError as error:
        raise InstancesError(f"{path}, line {number}: the timeout {timeout!r} is no number") from error
    return Instance(values["onnx"], values["vnnlib"], path.parent, limit, values.get("expected") or None)


class ResultsFile:
    """A file with a line for each finished instance, in VNN-COMP's columns.

    Beside it, in a file of the same name and `.digests`, stands by which contents of networks and properties it is answered,
    so that answers about files that have changed since are not taken for answers about these.

    Args:
        path: The file; it is made where it does not exist.

    Raises:
        InstancesError: If it cannot be read or written, or is no file of results.
    """

    def __init__(self, path: str | Path) -> None:
        self._file = RowsFile(path)
        self.outcomes = [self._parse(number, row) for number, row in enumerate(self._file.rows, 1)]
        self._file.begin()
        self._read = RowsFile(self._file.path.with_name(self._file.path.name + ".digests"))
        self._read.begin()

    def _parse(self, number: int, row: Sequence[str]) -> Outcome:
        try:
            family, network, query, preparing, result, seconds = row
            return Outcome(family, network, query, float(preparing), result, float(seconds))
        except ValueError as error:
            raise InstancesError(
                f"{self._file.path}, line {number}: expected {_COLUMNS} columns (family, network, property, seconds "
                f"of preparation, answer, seconds), got {row}; is it a file of results?"
            ) from error

    def open_instances(self, instances: Sequence[Instance]) -> list[Instance]:
        """The instances that have no line yet.

        Raises:
            InstancesError: If a network or a property of one that has a line is not what it was then.
        """
        answered = {(o.network, o.query) for o in self.outcomes}
        known = dict(self._digests())
        done = [i for i in instances if (i.network, i.query) in answered]
        for name, path in _files(done).items():
            if name in known and _digest(path) != known[name]:
                raise InstancesError(
                    f"{path} is not what it was when its answers were written to {self._file.path}. Give another file for the "
                    f"results, or remove this one, and {self._read.path.name} with it, to have all answered anew."
                )
        return [i for i in instances if (i.network, i.query) not in answered]

    def note_files(self, instances: Sequence[Instance]) -> None:
        """Write down what is in the files of instances that are about to be answered.

        Raises:
            InstancesError: If it cannot be written.
        """
        known = dict(self._digests())
        for name, path in _files(instances).items():
            now = _digest(path)
            if known.get(name) != now:
                self._read.append([name, now])

    def _digests(self) -> list[tuple[str, str]]:
        rows = [row for row in self._read.rows if len(row) == len(("name", "digest"))]
        return [(name, digest) for name, digest in rows]

    def append(self, outcome: Outcome) -> None:
        """Add a line, and see it on the disk.

        Raises:
            InstancesError: If it cannot be written, on a full disk say; the lines before stay whole.
        """
        self._file.append(
            [
                outcome.family,
                outcome.network,
                outcome.query,
                f"{outcome.preparing:.3f}",
                outcome.answer,
                f"{outcome.seconds:.3f}",
            ]
        )
        self.outcomes.append(outcome)


def _files(instances: Sequence[Instance]) -> dict[str, Path]:
    """The files of instances, each once, by the names that the list gives them."""
    return {name: path for i in instances for name, path in zip((i.network, i.query), i.paths, strict=True)}


def _digest(path: Path) -> str:
    """What is in a file; a missing one is answered by an error, and has changed once it is there."""
    try:
        return digest_of(path)
    except OSError:
        return "unreadable"
