"""What two processes of a training program share."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

EXAMPLES = Path(__file__).parents[2] / "examples"

PROGRAM = """
import sys
import torch
from training.ranks import Ranks, process_group

with process_group("cpu") as device:
    ranks = Ranks.current()
    mine = ranks.share(torch.arange(5))
    assert (ranks.total(torch.ones(())), ranks.total(mine.sum())) == (2, 10)
    weight = torch.nn.Parameter(torch.ones(2))
    if ranks.first:  # the other has no gradient, as a table of which it read no row
        (weight * torch.tensor([2.0, 4.0])).sum().backward()
    ranks.average_gradients([weight])
    torch.save((device, ranks.first, mine, weight.grad), sys.argv[1] + str(ranks.rank))
"""


def test_shares_sums_and_mean_gradients(tmp_path: Path) -> None:
    if not torch.distributed.is_available():
        pytest.skip("this build of PyTorch has no torch.distributed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    shared |= {
        "PYTHONPATH": os.pathsep.join([str(EXAMPLES), *filter(None, sys.path)]),
        "OMP_NUM_THREADS": "1",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path / "of")], env={**shared, "RANK": str(rank)}
        )
        for rank in range(2)
    ]
    assert [p.wait(timeout=120) for p in processes] == [0, 0]
    found = [torch.load(tmp_path / f"of{rank}") for rank in range(2)]
    assert [(device, first, mine.tolist()) for device, first, mine, _ in found] == [
        ("cpu", True, [0, 2, 4]), ("cpu", False, [1, 3])
    ]  # fmt: skip
    assert all(gradient.tolist() == [1.0, 2.0] for *_, gradient in found)
