"""Products with sparse matrices are those with the dense ones."""

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm

A = torch.tensor([[0.0, 2.0, 0.0], [-1.0, 0.0, 0.5]], dtype=torch.float64)
X = torch.tensor([[1.0, 2.0, 3.0], [0.0, -1.0, 1.0]], dtype=torch.float64)


class Product(nn.Module):
    def __init__(self, how, matrix):
        super().__init__()
        self.how = how
        self.register_buffer("matrix", matrix)

    def forward(self, x):
        return self.how(self.matrix, x.T).T


@pytest.mark.parametrize("layout", [Tensor.to_sparse, Tensor.to_sparse_csr], ids=["COO", "CSR"])
@pytest.mark.parametrize(
    "how",
    [torch.sparse.mm, torch.matmul, lambda A, x: torch.sparse.addmm(torch.ones(2, 1, dtype=x.dtype), A, x)],
    ids=["sparse.mm", "matmul", "addmm"],
)
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_bounds_are_those_of_the_dense_matrix(how, layout):
    model = Product(how, layout(A))
    lower, upper = BoundedModule(model, X).compute_bounds(
        x=(BoundedTensor(X, PerturbationLpNorm(eps=0.5)),), method="CROWN"
    )
    torch.testing.assert_close(upper - lower, A.abs().sum(1).expand(2, 2))
    torch.testing.assert_close((upper + lower) / 2, model(X))
