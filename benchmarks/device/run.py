"""What the parts share: the device, the time left, and the record of what was found."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import torch

Item: TypeAlias = dict[str, Any]
T = TypeVar("T")


@dataclass
class Record:
    """The figures of a run, written to a file after every step.

    Attributes:
        path: The file; None: nowhere.
        content: What is written: facts about the machine, and under `"parts"` the items of each part.
    """

    path: Path | None
    content: dict[str, Any] = field(default_factory=lambda: {"parts": {}})

    def write(self) -> None:
        """Write the file, whole or not at all."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".part")
        draft.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")
        draft.replace(self.path)


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        device: What is measured.
        dry: Whether sizes are small and repetitions few.
        deadline: When the part has to end, in seconds of `time.monotonic`.
        items: Receives what the part finds.
        record: Where the items are kept.
    """

    device: torch.device
    dry: bool
    deadline: float
    items: list[Item]
    record: Record

    @property
    def left(self) -> float:
        """Seconds that the part has left."""
        return self.deadline - time.monotonic()

    def steps(self, wanted: Sequence[T]) -> Iterator[T]:
        """The wanted steps as long as there is time; those left out are recorded."""
        for i, step in enumerate(wanted):
            if self.left <= 0:
                self.add({"left_out": len(wanted) - i, "reason": "time"})
                return
            yield step

    def add(self, item: Item) -> None:
        """Keep an item."""
        self.items.append(item)
        self.record.write()

    def attempt(self, item: Item, work: Callable[[], Item]) -> Item:
        """Do some work and keep what it returns, or why it failed, together with what is known before."""
        try:
            found = work()
        except Exception as error:  # noqa: BLE001  # a part reports every failure and goes on
            found = {"failed": reason(error)}
        whole = {**item, **found}
        self.add(whole)
        return whole

    def synchronize(self) -> None:
        """Wait until the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def reason(error: BaseException) -> str:
    """An error in one line, with the line of lirpa where it was raised, if any."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "lirpa_" in f.filename]
    place = f" ({place_of(frames[-1])})" if frames else ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}{place}"


def place_of(frame: traceback.FrameSummary) -> str:
    """File and line of a frame, from the package on."""
    parts = Path(frame.filename).parts
    start = max((i for i, part in enumerate(parts) if part.startswith("lirpa_")), default=len(parts) - 1)
    return f"{'/'.join(parts[start:])}:{frame.lineno}"


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Let products and convolutions in float32 round their factors to TF32, or not."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
