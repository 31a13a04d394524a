"""A file of rows that are on the disk before the next one is computed."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from lirpa_verify.errors import InstancesError


class RowsFile:
    """A file of comma-separated values to which rows are added; what a killed run left of a row is removed.

    Args:
        path: The file; it is made where it does not exist.

    Attributes:
        path: The file.
        rows: What it has, row by row.

    Raises:
        InstancesError: If it cannot be read or written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            data = self.path.read_bytes() if self.path.exists() else b""
            self._whole = data[: data.rfind(b"\n") + 1]
            self.rows = list(csv.reader(io.StringIO(self._whole.decode(), newline="")))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise self._unusable(error) from error

    def begin(self) -> None:
        """Remove what a killed run left of a row; to be called once the rows are known to be such as are added.

        Raises:
            InstancesError: If the file cannot be written.
        """
        try:
            with self.path.open("ab") as file:
                file.truncate(len(self._whole))
        except OSError as error:
            raise self._unusable(error) from error

    def append(self, row: Sequence[str]) -> None:
        """Add a row, each of its values in one line, and see it on the disk.

        Raises:
            InstancesError: If it cannot be written, on a full disk say; the rows before stay whole.
        """
        row = [" ".join(value.splitlines()) for value in row]
        line = io.StringIO(newline="")
        csv.writer(line, lineterminator="\n").writerow(row)
        size = None
        try:
            with self.path.open("ab") as file:
                size = file.tell()
                file.write(line.getvalue().encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            if size is not None:
                os.truncate(self.path, size)
            raise InstancesError(
                f"cannot write to the file of results {self.path}: {error}; the {len(self.rows)} rows before are whole. "
                f"Make room and run the same command again: it goes on from there."
            ) from error
        self.rows.append(row)

    def _unusable(self, error: Exception) -> InstancesError:
        return InstancesError(f"cannot use the file of results {self.path}: {error}")
