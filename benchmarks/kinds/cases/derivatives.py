"""Derivatives inside of the model."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

from benchmarks.kinds.case import Case, Function


class Differentiated(nn.Module):
    """What a function makes of a small network and an input."""

    def __init__(
        self,
        function: Callable[[Function, Tensor], Tensor],
        activation: type[nn.Module] = nn.Tanh,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        self.function = function
        self.network = nn.Sequential(nn.Linear(2, 8), activation(), nn.Linear(8, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.network, x)


def of(
    name: str,
    function: Callable[[Function, Tensor], Tensor],
    outputs: int = 1,
    activation: type[nn.Module] = nn.Tanh,
) -> Case:
    """A case of a derivative of a network from 2."""
    return Case(name, lambda: Differentiated(function, activation, outputs), (2,), -0.3, 0.3)


def by_autograd(network: Function, x: Tensor) -> Tensor:
    x = x if x.requires_grad else x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
    return gradient


def second_by_autograd(network: Function, x: Tensor) -> Tensor:
    x = x if x.requires_grad else x.clone().requires_grad_()
    (first,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first[:, 0].sum(), x, create_graph=True)
    return second


def decrease(network: Function, x: Tensor) -> Tensor:
    system = torch.stack([x[:, 1], -x[:, 0].sin() - x[:, 1]], 1)
    return (vmap(grad(lambda z: network(z).sum()))(x) * system).sum(1, keepdim=True)


def laplacian(network: Function, x: Tensor) -> Tensor:
    second = vmap(hessian(lambda z: network(z).squeeze()))(x)
    return second.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True)


def contraction(network: Function, x: Tensor) -> Tensor:
    J = vmap(jacrev(network))(x)
    return J + J.mT


def lipschitz(network: Function, x: Tensor) -> Tensor:
    return vmap(jacrev(network))(x).abs().sum(-1).amax(-1, keepdim=True)


def with_vjp(network: Function, x: Tensor) -> Tensor:
    out, pull = vjp(network, x)  # type: ignore[misc]  # of three with `has_aux`
    (result,) = pull(torch.ones_like(out))
    return result


def jacobian_of_autograd(network: Function, x: Tensor) -> Tensor:
    return torch.autograd.functional.jacobian(lambda z: network(z).sum(0), x, create_graph=True).movedim(0, 1)


CASES: tuple[Case, ...] = (
    of("func.grad", lambda f, x: vmap(grad(lambda z: f(z).sum()))(x)),
    of("func.grad, without vmap", lambda f, x: grad(lambda z: f(z).sum())(x)),
    of("func.grad_and_value", lambda f, x: vmap(torch.func.grad_and_value(lambda z: f(z).sum()))(x)[0]),
    of("func.vjp", with_vjp, 2),
    of("func.jvp", lambda f, x: jvp(f, (x,), (torch.ones_like(x),))[1], 2),
    of("func.linearize", lambda f, x: torch.func.linearize(f, x)[1](torch.ones_like(x)), 2),
    of("vmap(jacrev)", lambda f, x: vmap(jacrev(f))(x), 2),
    of("vmap(jacfwd)", lambda f, x: vmap(jacfwd(f))(x), 2),
    of("vmap(hessian)", lambda f, x: vmap(hessian(lambda z: f(z).squeeze()))(x)),
    of("jacfwd of jacrev", lambda f, x: vmap(jacfwd(jacrev(lambda z: f(z).squeeze())))(x)),
    of("third derivative", lambda f, x: vmap(jacfwd(hessian(lambda z: f(z).squeeze())))(x)),
    of("autograd.grad", by_autograd),
    of("autograd.grad twice", second_by_autograd),
    of("autograd.functional.jacobian", jacobian_of_autograd, 2),
    of(
        "autograd.functional.hessian",
        lambda f, x: torch.autograd.functional.hessian(lambda y: f(y).sum(), x, create_graph=True).sum(2),
    ),
    of(
        "autograd.functional.vjp",
        lambda f, x: torch.autograd.functional.vjp(f, x, torch.ones_like(x[:, :1]), create_graph=True)[1],
    ),
    of("Lyapunov decrease ∇V · f", decrease),
    of("Laplacian of a PINN", laplacian),
    of("contraction J + Jᵀ", contraction, 2),
    of("Lipschitz constant ‖J‖∞", lipschitz, 2),
    of("Frobenius norm of J", lambda f, x: vmap(jacrev(f))(x).flatten(1).norm(dim=1, keepdim=True), 2),
    of("gradient penalty", lambda f, x: (vmap(grad(lambda z: f(z).sum()))(x).norm(dim=1, keepdim=True) - 1) ** 2),
    of("Hamiltonian dynamics", lambda f, x: vmap(grad(lambda z: f(z).sum()))(x) @ x.new_tensor([[0.0, -1.0], [1.0, 0.0]])),
    *(
        of(f"Jacobian of {activation.__name__}", lambda f, x: vmap(jacrev(f))(x), 2, activation)
        for activation in (
            nn.ReLU, nn.Sigmoid, nn.GELU, nn.SiLU, nn.Softplus, nn.ELU, nn.LogSigmoid, nn.LeakyReLU, nn.Mish, nn.SELU,
            nn.CELU, nn.Softsign, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Tanhshrink, nn.Softshrink, nn.ReLU6,
        )
    ),
)  # fmt: skip
