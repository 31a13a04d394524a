"""Ctrl-C while PyTorch's exporter is imported waits until that is done."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest

from lirpa_core.capture import exporter


def test_an_interrupt_waits_for_the_end_of_an_import(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []

    def slow(name: str) -> Any:
        steps.append(f"begin {name}")
        signal.raise_signal(signal.SIGINT)
        steps.append("end")

    monkeypatch.setattr(exporter.importlib, "import_module", slow)
    before = signal.getsignal(signal.SIGINT)
    exporter.load_exporter.cache_clear()
    with pytest.raises(KeyboardInterrupt):
        exporter.load_exporter()
    assert steps == ["begin torch.export._trace", "end"]
    assert signal.getsignal(signal.SIGINT) is before


def test_what_fails_by_itself_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), exporter.uninterrupted():
        _ = 1 / 0
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_leave_signals_alone() -> None:
    seen = []

    def work() -> None:
        with exporter.uninterrupted():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]
