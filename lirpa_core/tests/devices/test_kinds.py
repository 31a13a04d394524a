"""The kinds of devices."""

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
