"""Graphs of kernels, which a device runs without the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

Function: TypeAlias = Callable[..., tuple[Tensor, ...]]


def as_cuda_graph(function: Function, tensors: Sequence[Tensor]) -> Function:
    """A function that replays on a CUDA device what a function does.

    Args:
        function: Launches the same kernels, whatever its arguments are.
        tensors: Arguments to record it with; later ones have the same shapes.
    """
    held = [t.detach().clone() for t in tensors]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):  # libraries allocate, and kernels are compiled, when they first run
            function(*held)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = function(*held)

    def replay(*given: Tensor) -> tuple[Tensor, ...]:
        for mine, theirs in zip(held, given, strict=True):
            mine.copy_(theirs)
        graph.replay()
        return tuple([t.clone() for t in found])

    return replay
