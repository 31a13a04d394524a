"""Products with sparse matrices are those with the dense ones."""

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import UnsupportedOperatorError

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


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x.to_sparse() * 2).to_dense(),
        lambda x: torch.sparse_coo_tensor(torch.arange(3)[None], x[0], (3,)).to_dense()[None],
        lambda x: x.sparse_mask(torch.eye(3, dtype=x.dtype)[:1].to_sparse()).to_dense(),
    ],
    ids=["to_sparse", "elements", "mask"],
)
def test_perturbed_elements_of_a_sparse_tensor_are_refused(function):
    with pytest.raises(UnsupportedOperatorError, match=r"test_sparse.* makes a sparse tensor"):
        BoundedModule(function, X[:1])
