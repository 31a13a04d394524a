"""Metrics of a run: a CSV file that is always whole, and TensorBoard where it is wanted."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.errors import TrainingError

Row = dict[str, float]


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write all epochs' metrics; a kill leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".writing")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    temporary.replace(path)


class TensorBoard:
    """Scalars by epoch, for `tensorboard --logdir`; does nothing without a folder."""

    def __init__(self, folder: Path | None) -> None:
        self.writer: Any = None
        if folder is None:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise TrainingError("--tensorboard needs TensorBoard: pip install tensorboard") from error
        self.writer = SummaryWriter(folder)

    def add(self, row: Mapping[str, float]) -> None:
        """Add an epoch's metrics."""
        if self.writer is not None:
            for name, value in row.items():
                self.writer.add_scalar(name, value, int(row["epoch"]))
            self.writer.flush()
