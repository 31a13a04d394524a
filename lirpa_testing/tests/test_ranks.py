"""A function runs in every process of a group, and what went wrong there is said here."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

from lirpa_testing.ranks import in_processes

needs_groups = pytest.mark.skipif(not dist.is_available(), reason="no torch.distributed in this build")


def broken_in_one() -> float:
    total = torch.tensor(float(dist.get_rank() + 1))
    dist.all_reduce(total)
    if dist.get_rank() == 1:
        raise ValueError(f"{total:g} is what the ranks are together")
    return float(total)


@needs_groups
def test_processes_work_together_and_one_that_fails_is_an_error_here() -> None:
    with pytest.raises(
        RuntimeError, match=r"(?s)broken_in_one failed in 2 processes.*3 is what the ranks are"
    ):
        in_processes(broken_in_one, 2, seconds=20)
