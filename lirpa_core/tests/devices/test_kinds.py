"""The kinds of devices, of which nobody else asks."""

import re
from pathlib import Path

import torch

from lirpa_core.devices import accelerator_of, is_cpu, is_cuda, synchronize, unreadable


def test_kinds() -> None:
    host, other, gpu = torch.zeros(1), torch.zeros(1, device="meta"), torch.device("cuda")
    assert is_cpu(host, None) and is_cpu() and not is_cpu(host, other)
    assert is_cuda(gpu) and not is_cuda(torch.device("cpu")) and not is_cuda(None)
    assert accelerator_of(gpu) == "cuda" and accelerator_of(torch.device("cpu")) is None


def test_waiting_for_the_host_is_no_error() -> None:
    synchronize(torch.device("cpu"))


def test_what_cannot_be_read() -> None:
    x = torch.ones(2, 3)
    assert unreadable(x) is None and unreadable(x.t()) is None
    assert "to_dense" in str(unreadable(x.to_sparse())) and "meta" in str(unreadable(x.to("meta")))


def test_only_one_folder_knows_kinds_of_devices() -> None:
    """Elsewhere `is_cuda(device)` and its like are asked, so that what differs between devices is found in one place."""
    known = re.compile(r"\.device\.type\b|\bdevice\.type\b|\btorch\.(cuda|mps|xpu)\.|\.is_cuda\b")
    root = Path(__file__).parents[3]
    files = [
        p for p in root.glob("lirpa_*/src/**/*.py") if p.parent != root / "lirpa_core/src/lirpa_core/devices"
    ]
    assert len(files) > 300
    found = [
        f"{path.relative_to(root)}:{number}"
        for path in files
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if known.search(line)
    ]
    assert found == []
