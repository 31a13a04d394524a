"""Two processes with `DistributedDataParallel` get the gradients of one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lirpa_core import PerturbationLpNorm
from lirpa_training import CertifiedLoss

PROGRAM = """
import sys
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from lirpa_core import PerturbationLpNorm
from lirpa_training import CertifiedLoss
from torch import nn

def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).double()

def data():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(6, 4, generator=generator).double(), torch.randint(0, 3, (6,), generator=generator)

if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, (x, y) = dist.get_rank(), data()
    criterion = CertifiedLoss(network(), method="CROWN-IBP", fusion=True)
    parallel = DistributedDataParallel(criterion)
    parallel(x[rank::2], y[rank::2], PerturbationLpNorm(eps=0.1)).backward()
    if rank == 0:
        torch.save([p.grad for p in criterion.parameters()], sys.argv[1])
    dist.barrier()  # a process that leaves while another one still tidies up may bring it down
    dist.destroy_process_group()
"""


def test_two_processes_get_the_gradients_of_one(tmp_path: Path) -> None:
    if not torch.distributed.is_available():
        pytest.skip("this build of PyTorch has no torch.distributed")
    path, result = tmp_path / "program.py", tmp_path / "gradients.pt"
    path.write_text(PROGRAM)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    shared |= {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(path), str(result)],
            env={**shared, "RANK": str(rank)},
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    errors = [p.communicate(timeout=120)[1].decode() for p in processes]
    assert all(p.returncode == 0 for p in processes), errors

    scope: dict[str, object] = {"__name__": "program"}
    exec(compile(PROGRAM, str(path), "exec"), scope)
    network, data = scope["network"], scope["data"]
    assert callable(network) and callable(data)
    criterion, (x, y) = CertifiedLoss(network(), method="CROWN-IBP", fusion=True), data()
    criterion(x, y, PerturbationLpNorm(eps=0.1)).backward()
    for parameter, gradient in zip(criterion.parameters(), torch.load(result), strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
