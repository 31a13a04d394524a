"""Models of control, reinforcement learning and dynamics, as their users write them, small."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.func import grad, jacrev, vmap

from benchmarks.kinds.case import Case, net


def mlp(*sizes: int, activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    """Linear layers with activations between them."""
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), activation()]
    return nn.Sequential(*layers[:-1])


class Pendulum(nn.Module):
    """An inverted pendulum with a policy that is cut off, some Euler steps."""

    def __init__(self, steps: int = 2) -> None:
        super().__init__()
        self.policy, self.steps = mlp(2, 8, 1), steps

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.steps):
            u = self.policy(x).clamp(-1, 1)
            th, om = x[:, :1], x[:, 1:]
            x = torch.cat([th + 0.05 * om, om + 0.05 * (9.81 * torch.sin(th) - 0.1 * om + u)], 1)
        return x


class Lyapunov(nn.Module):
    """V(f(x)) − (1 − κ) V(x) with V a network plus a quadratic form (Yang et al. 2024)."""

    def __init__(self) -> None:
        super().__init__()
        self.V, self.system, self.R = (
            mlp(2, 8, 1, activation=nn.LeakyReLU),
            Pendulum(1),
            nn.Parameter(torch.randn(2, 2)),
        )

    def value(self, x: Tensor) -> Tensor:
        P = 0.1 * torch.eye(2, dtype=x.dtype) + self.R.T @ self.R
        network = (self.V(x) - self.V(torch.zeros_like(x))).abs()
        return network + torch.sum(x * (x @ P), dim=-1, keepdim=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.value(self.system(x)) - 0.9 * self.value(x)


class Barrier(nn.Module):
    """∇h · f + α h for a unicycle."""

    def __init__(self) -> None:
        super().__init__()
        self.h, self.policy = mlp(3, 8, 1), mlp(3, 8, 2)

    def forward(self, x: Tensor) -> Tensor:
        u = self.policy(x)
        f = torch.stack([u[:, 0] * torch.cos(x[:, 2]), u[:, 0] * torch.sin(x[:, 2]), u[:, 1]], -1)
        slope = vmap(grad(lambda z: self.h(z).sum()))(x)
        return torch.einsum("bi,bi->b", slope, f).unsqueeze(-1) + self.h(x)


class Contraction(nn.Module):
    """The symmetric part of M f' for a constant metric."""

    def __init__(self) -> None:
        super().__init__()
        self.f, self.theta = mlp(2, 8, 2), nn.Parameter(torch.randn(2, 2))

    def forward(self, x: Tensor) -> Tensor:
        M = self.theta @ self.theta.T + torch.eye(2, dtype=x.dtype)
        J = vmap(jacrev(self.f))(x)
        S = M @ J + J.transpose(-1, -2) @ M
        return torch.cat([S.diagonal(dim1=-2, dim2=-1), torch.linalg.det(S).unsqueeze(-1)], -1)


class Burgers(nn.Module):
    """u_t + u u_x − ν u_xx of a network u (x, t)."""

    def __init__(self) -> None:
        super().__init__()
        self.u = mlp(2, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x if x.requires_grad else x.clone().requires_grad_()
        u = self.u(x)
        (du,) = torch.autograd.grad(u, x, torch.ones_like(u), create_graph=True)
        (ddu,) = torch.autograd.grad(du[:, :1], x, torch.ones_like(u), create_graph=True)
        return du[:, 1:] + u * du[:, :1] - 0.01 * ddu[:, :1]


class RungeKutta(nn.Module):
    """A step of Runge and Kutta of a neural differential equation."""

    def __init__(self) -> None:
        super().__init__()
        self.f = mlp(2, 8, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = 0.1
        k1 = self.f(x)
        k2 = self.f(x + h / 2 * k1)
        k3 = self.f(x + h / 2 * k2)
        k4 = self.f(x + h * k3)
        return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


class VanDerPol(nn.Module):
    """Five Euler steps."""

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(5):
            a, b = x.unbind(-1)
            x = torch.stack((a + 0.05 * b, b + 0.05 * ((1 - a**2) * b - a)), dim=-1)
        return x


class CartPole(nn.Module):
    """One step of cart and pole with a policy."""

    def __init__(self) -> None:
        super().__init__()
        self.policy = mlp(4, 8, 1, activation=nn.ReLU)

    def forward(self, x: Tensor) -> Tensor:
        force = 10 * torch.tanh(self.policy(x))
        _, v, th, om = x.split(1, dim=-1)
        sin, cos = torch.sin(th), torch.cos(th)
        temp = (force + 0.05 * om**2 * sin) / 1.1
        acc = (9.8 * sin - cos * temp) / (0.5 * (4.0 / 3.0 - 0.1 * cos**2 / 1.1))
        return x + 0.02 * torch.cat((v, temp - 0.05 * acc * cos / 1.1, om, acc), -1)


class Quadrotor(nn.Module):
    """A planar quadrotor."""

    def __init__(self) -> None:
        super().__init__()
        self.policy = mlp(6, 8, 2, activation=nn.ReLU)

    def forward(self, s: Tensor) -> Tensor:
        u = self.policy(s)
        phi = s[..., 2]
        total = u[..., 0] + u[..., 1]
        acc = torch.stack(
            [-torch.sin(phi) * total, torch.cos(phi) * total - 9.81, u[..., 0] - u[..., 1]], dim=-1
        )
        return torch.cat([s[..., 3:], acc], dim=-1)


class Dueling(nn.Module):
    """A dueling network of Q-values."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.value, self.advantage = (
            nn.Sequential(nn.Linear(4, 12), nn.ReLU()),
            nn.Linear(12, 1),
            nn.Linear(12, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        a = self.advantage(x)
        return self.value(x) + a - a.mean(dim=1, keepdim=True)


class SoftActor(nn.Module):
    """The log-probability of a squashed normal's own mean (SAC), with PyTorch's distributions."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(4, 12, 4, activation=nn.ReLU)

    def forward(self, x: Tensor) -> Tensor:
        mean, log_std = self.body(x).chunk(2, dim=-1)
        std = log_std.clamp(-5, 2).exp()
        normal = torch.distributions.Normal(mean, std)
        action = torch.tanh(mean)
        return (normal.log_prob(torch.zeros_like(mean)) - torch.log(1 - action.pow(2) + 1e-6)).sum(
            -1, keepdim=True
        )


class Policy(nn.Module):
    """Probabilities and entropy of a categorical policy."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(4, 12, 3)

    def forward(self, x: Tensor) -> Tensor:
        d = torch.distributions.Categorical(logits=self.body(x))
        return torch.cat([d.probs, d.entropy().unsqueeze(-1)], -1)


class Experts(nn.Module):
    """A list of experts and a soft router."""

    def __init__(self) -> None:
        super().__init__()
        self.experts, self.router = (
            nn.ModuleList(mlp(4, 8, 2, activation=nn.GELU) for _ in range(3)),
            nn.Linear(4, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.softmax(self.router(x), dim=-1)
        outputs = torch.stack([expert(x) for expert in self.experts], dim=1)
        return (weights.unsqueeze(-1) * outputs).sum(dim=1)


class TopExperts(Experts):
    """The two best experts of three, by topk, as sparse mixtures do."""

    def forward(self, x: Tensor) -> Tensor:
        scores = self.router(x)
        best = scores.topk(2, dim=-1)
        gates = torch.full_like(scores, -torch.inf).scatter(-1, best.indices, best.values).softmax(-1)
        outputs = torch.stack([expert(x) for expert in self.experts], dim=1)
        return (gates.unsqueeze(-1) * outputs).sum(dim=1)


class Recurrent(nn.Module):
    """A policy with memory."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.out = nn.GRU(2, 6, batch_first=True), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        h, _ = self.gru(x)
        return torch.tanh(self.out(h[:, -1]))


class Liquid(nn.Module):
    """Closed-form continuous-time cell (Hasani et al. 2022)."""

    def __init__(self) -> None:
        super().__init__()
        self.f, self.g, self.h = (nn.Linear(6, 4) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(x.shape[0], 4)
        for t in range(x.shape[1]):
            z = torch.cat([x[:, t], h], -1)
            gate = torch.sigmoid(-self.f(z) * (t + 1))
            h = gate * torch.tanh(self.g(z)) + (1 - gate) * torch.tanh(self.h(z))
        return h


class Hamiltonian(nn.Module):
    """A symplectic step of a learnt energy."""

    def __init__(self) -> None:
        super().__init__()
        self.energy = mlp(2, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        g = vmap(grad(lambda z: self.energy(z).squeeze(-1)))(x)
        return x + 0.1 * torch.stack([g[:, 1], -g[:, 0]], dim=1)


class PowerFlow(nn.Module):
    """Injections of a small grid: products of voltages with sines and cosines of angles (ML4ACOPF)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(4, 12, 6, activation=nn.ReLU)
        self.register_buffer("G", torch.randn(3, 3))
        self.register_buffer("B", torch.randn(3, 3))

    def forward(self, x: Tensor) -> Tensor:
        v, th = self.net(x).chunk(2, -1)
        v = 1 + 0.1 * torch.tanh(v)
        d = th.unsqueeze(-1) - th.unsqueeze(-2)
        flows = self.get_buffer("G") * torch.cos(d) + self.get_buffer("B") * torch.sin(d)
        return v * (flows @ v.unsqueeze(-1)).squeeze(-1)


CASES: tuple[Case, ...] = (
    net("inverted pendulum, two steps", Pendulum, (2,), 0.2),
    net("Lyapunov condition, discrete", Lyapunov, (2,), 0.2),
    net("control barrier function", Barrier, (3,), 0.1),
    net("contraction metric", Contraction, (2,), 0.1),
    net("PINN residual, Burgers", Burgers, (2,), 0.1),
    net("neural ODE, Runge–Kutta", RungeKutta, (2,), 0.2),
    net("Van der Pol, five steps", VanDerPol, (2,), 0.1, around=1.0),
    net("cart and pole", CartPole, (4,), 0.1),
    net("planar quadrotor", Quadrotor, (6,), 0.1),
    net("dueling Q-network", Dueling, (4,), 0.2),
    net("soft actor, log-probability", SoftActor, (4,), 0.1),
    net("categorical policy", Policy, (4,), 0.2),
    net("experts, soft router", Experts, (4,), 0.2),
    net("experts, the two best", TopExperts, (4,), 0.2),
    net("GRU policy", Recurrent, (3, 2), 0.1),
    net("liquid network (CfC)", Liquid, (3, 2), 0.1),
    net("Hamiltonian network", Hamiltonian, (2,), 0.2),
    net("power flow", PowerFlow, (4,), 0.05),
)
