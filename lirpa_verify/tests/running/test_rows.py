"""Rows are whole, whatever ends the program that writes them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from lirpa_verify.errors import InstancesError
from lirpa_verify.running import RowsFile


def opened(path: Path) -> RowsFile:
    file = RowsFile(path)
    file.begin()
    return file


def test_rows_come_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.csv"
    opened(path).append(["a", 'a "quoted", thing', "two\nlines"])
    assert opened(path).rows == [["a", 'a "quoted", thing', "two lines"]]


def test_what_a_killed_run_left_of_a_row_is_removed_by_begin_alone(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    opened(path).append(["a", "b"])
    whole = path.read_bytes()
    path.write_bytes(whole + b'c,"d')
    file = RowsFile(path)
    assert path.read_bytes() == whole + b'c,"d'
    file.begin()
    assert path.read_bytes() == whole
    file.append(["c", "d"])
    assert opened(path).rows == [["a", "b"], ["c", "d"]]


def test_a_full_disk_leaves_whole_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.csv"
    file = opened(path)
    file.append(["a", "b"])
    whole = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InstancesError, match=r"No space left .* 1 rows before are whole"):
        file.append(["c", "d"])
    assert path.read_bytes() == whole


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(InstancesError, match="cannot use the file of results"):
        RowsFile(path)
