"""The derivative of a captured model as a module of its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lirpa_core.capture.derivatives import DifferentiableActivations
from lirpa_core.graph import Graph
from lirpa_core.problem.evaluation import evaluate, parameter_leaves
from lirpa_core.rules.call import Const


class JacobianOf(nn.Module):
    """The derivative of an output of a captured model with respect to one of its inputs.

    What is differentiated is the graph, which computes the model's value: what forward() hides from autograd, by `detach`,
    `no_grad` or a `torch.autograd.Function` with a gradient of its own, is differentiated too.

    Args:
        model: The live model, whose parameters are read.
        graph: Its graph, of operators that PyTorch can differentiate.
        wrt: Number of the input, among the flattened ones.
        output: Number of the output.
    """

    def __init__(self, model: nn.Module, graph: Graph, wrt: int = 0, output: int = 0) -> None:
        super().__init__()
        self.model, self.graph = model, graph
        self.wrt, self.output = wrt, output
        self.training = model.training

    def forward(self, *inputs: Any) -> Tensor:
        """`[B, O, I]`, outputs and inputs flattened.

        Args:
            *inputs: The model's inputs, flattened.
        """
        leaves = parameter_leaves(self.graph, self.model)
        name = self.graph.outputs[self.output]
        assert name is not None
        dims = self.graph.input_batch_dims

        def value(x: Tensor, *others: Any) -> Tensor:  # of one example
            given = [*others[: self.wrt], x, *others[self.wrt :]]
            single = {
                node: Const(v if dim is None else v.unsqueeze(dim))
                for node, v, dim in zip(self.graph.inputs, given, dims, strict=True)
                if isinstance(v, Tensor) and node in self.graph.by_name
            }
            return evaluate(self.graph.nodes, {**leaves, **single})[name].value.flatten()

        x, rest = inputs[self.wrt], [*inputs[: self.wrt], *inputs[self.wrt + 1 :]]
        size = x.numel() // x.shape[dims[self.wrt] or 0]
        outputs = torch.Size(self.graph[name].shape).numel()
        differentiate = torch.func.jacfwd if size < outputs else torch.func.jacrev
        in_dims = (dims[self.wrt], *[d for i, d in enumerate(dims) if i != self.wrt])
        with DifferentiableActivations():
            found: Tensor = torch.func.vmap(differentiate(value), in_dims=in_dims)(x, *rest)  # [B, O, *I]
        found = found.flatten(2)
        # What is constant belongs to every example too.
        nothing: Tensor = 0 * x.movedim(dims[self.wrt] or 0, 0).flatten(1).sum(1).reshape(-1, 1, 1)
        return found + nothing
