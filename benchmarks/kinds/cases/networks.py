"""Models of graphs, vision, language and signals, as their users write them, small."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.kinds.case import Case, net
from benchmarks.kinds.cases.control import mlp

_EDGES = torch.tensor([[0, 1, 1, 2, 2, 3, 0], [1, 0, 2, 1, 3, 2, 0]])


class Gcn(nn.Module):
    """Graph convolution, with its adjacency normalised in `forward`."""

    def __init__(self) -> None:
        super().__init__()
        A = torch.zeros(4, 4)
        A[_EDGES[0], _EDGES[1]] = 1
        self.register_buffer("A", A)
        self.first, self.second = nn.Linear(3, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        A = self.get_buffer("A") + torch.eye(4, dtype=x.dtype)
        d = A.sum(1).pow(-0.5)
        A = d[:, None] * A * d[None, :]
        return A @ self.second(torch.relu(A @ self.first(x)))


class SparseGcn(nn.Module):
    """Messages by `index_add`, as PyTorch Geometric's scatter does."""

    def __init__(self, reduce: str = "sum") -> None:
        super().__init__()
        self.reduce, self.first = reduce, nn.Linear(3, 4)
        self.register_buffer("edges", _EDGES)

    def forward(self, x: Tensor) -> Tensor:
        src, dst = self.get_buffer("edges")
        messages = torch.relu(self.first(x))[:, src]
        if self.reduce == "sum":
            return torch.zeros(x.shape[0], 4, 4, dtype=x.dtype).index_add(1, dst, messages)
        where = dst.view(1, -1, 1).expand_as(messages)
        return torch.zeros(x.shape[0], 4, 4, dtype=x.dtype).scatter_reduce(
            1, where, messages, self.reduce, include_self=False
        )


class Gat(nn.Module):
    """Attention over the neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.W, self.a = nn.Linear(3, 4, bias=False), nn.Linear(8, 1, bias=False)
        mask = torch.eye(4, dtype=torch.bool)
        mask[_EDGES[0], _EDGES[1]] = True
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        h = self.W(x)
        left, right = self.a.weight[0].split(4)
        e = F.leaky_relu((h @ left).unsqueeze(-1) + (h @ right).unsqueeze(-2), 0.2)
        return torch.softmax(e.masked_fill(~self.get_buffer("mask"), -math.inf), -1) @ h


class ResidualBlock(nn.Module):
    """Convolutions with batch norm, and a way around them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1)
        )
        self.out = nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.relu(x + self.body(x)).mean((2, 3)))


class Squeeze(nn.Module):
    """An inverted residual with squeeze and excitation (MobileNet v3)."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.depth = nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.fc, self.down = (
            nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 4), nn.Hardsigmoid()),
            nn.Conv2d(4, 2, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = F.hardswish(self.depth(F.hardswish(self.up(x))))
        scale = self.fc(F.adaptive_avg_pool2d(y, 1).flatten(1))
        return x + self.down(y * scale[:, :, None, None])


class ConvNext(nn.Module):
    """A block of ConvNeXt, layer norm over channels by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.depth, self.a, self.b = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Linear(4, 8), nn.Linear(8, 4)
        self.gamma = nn.Parameter(0.1 * torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        y = self.depth(x).permute(0, 2, 3, 1)
        u = y.mean(-1, keepdim=True)
        y = (y - u) / torch.sqrt((y - u).pow(2).mean(-1, keepdim=True) + 1e-6)
        return x + (self.gamma * self.b(F.gelu(self.a(y)))).permute(0, 3, 1, 2)


class UNet(nn.Module):
    """One level, with group norm, transposed convolution, and a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.SiLU())
        self.mid = nn.Sequential(nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.GroupNorm(2, 4), nn.SiLU())
        self.up, self.out = nn.ConvTranspose2d(4, 4, 2, stride=2), nn.Conv2d(8, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.down(x)
        return self.out(torch.cat([a, self.up(self.mid(a))], 1))


class Yolo(nn.Module):
    """The head of a detector: boxes from sigmoids and exponentials, kept where they are sure."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(1, 6, 1)
        self.register_buffer("anchors", torch.tensor([1.0, 2.0]))

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(x).permute(0, 2, 3, 1)
        h, w = y.shape[1:3]
        grid = torch.stack(torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij"), -1).to(x.dtype)
        xy, wh = torch.sigmoid(y[..., :2]) + grid, torch.exp(y[..., 2:4]) * self.get_buffer("anchors")
        sure, kind = torch.sigmoid(y[..., 4:5]), torch.sigmoid(y[..., 5:])
        return torch.cat([xy, wh, torch.where(sure > 0.5, sure * kind, torch.zeros_like(kind))], -1)


class Vit(nn.Module):
    """Patches, a token of its class, an encoder layer."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.token = nn.Conv2d(1, 4, 2, stride=2), nn.Parameter(torch.randn(1, 1, 4))
        self.position = nn.Parameter(0.1 * torch.randn(1, 5, 4))
        self.layer, self.out = (
            nn.TransformerEncoderLayer(4, 2, 8, 0.0, "gelu", batch_first=True, norm_first=True),
            nn.Linear(4, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        return self.out(self.layer(x)[:, 0])


class Llama(nn.Module):
    """A decoder block: RMS norm by hand, rotary embeddings, grouped queries, a causal mask, SwiGLU."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = nn.Linear(4, 4), nn.Linear(4, 2), nn.Linear(4, 2), nn.Linear(4, 4)
        self.gate, self.up, self.down, self.g = (
            nn.Linear(4, 8),
            nn.Linear(4, 8),
            nn.Linear(8, 4),
            nn.Parameter(torch.ones(4)),
        )

    def norm(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.g

    def rope(self, x: Tensor) -> Tensor:
        angle = torch.arange(x.shape[-2], dtype=x.dtype).unsqueeze(-1) * torch.ones(1, dtype=x.dtype)
        cos, sin = torch.cos(angle).repeat(1, 2), torch.sin(angle).repeat(1, 2)
        a, b = x.chunk(2, -1)
        return x * cos + torch.cat([-b, a], -1) * sin

    def forward(self, x: Tensor) -> Tensor:
        B, T, _ = x.shape
        y = self.norm(x)
        q = self.rope(self.q(y).view(B, T, 2, 2).transpose(1, 2))
        k = self.rope(self.k(y).view(B, T, 1, 2).transpose(1, 2)).repeat_interleave(2, 1)
        v = self.v(y).view(B, T, 1, 2).transpose(1, 2).expand(B, 2, T, 2)
        x = x + self.o(
            F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(B, T, 4)
        )
        y = self.norm(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Gpt(nn.Module):
    """A block of GPT-2 with a causal mask in a buffer, and GELU by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.qkv, self.o = nn.LayerNorm(4), nn.LayerNorm(4), nn.Linear(4, 12), nn.Linear(4, 4)
        self.up, self.down = nn.Linear(4, 8), nn.Linear(8, 4)
        self.register_buffer("bias", torch.tril(torch.ones(3, 3)).view(1, 1, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        q, k, v = (z.view(B, T, 2, C // 2).transpose(1, 2) for z in self.qkv(self.a(x)).split(C, dim=2))
        s = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        s = s.masked_fill(self.get_buffer("bias")[:, :, :T, :T] == 0, float("-inf"))
        x = x + self.o((F.softmax(s, dim=-1) @ v).transpose(1, 2).contiguous().view(B, T, C))
        y = self.up(self.b(x))
        y = 0.5 * y * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (y + 0.044715 * torch.pow(y, 3.0))))
        return x + self.down(y)


class Bert(nn.Module):
    """An encoder of PyTorch's own layers with a padding mask, and mean pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True), 1)
        self.out = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        mask = torch.tensor([[False, False, True]]).expand(x.shape[0], 3)
        y = self.encoder(x, src_key_padding_mask=mask)
        return self.out((y * (~mask).unsqueeze(-1)).sum(1) / (~mask).sum(1, keepdim=True))


class Lstm(nn.Module):
    """Two directions, the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.out = nn.LSTM(2, 4, bidirectional=True, batch_first=True), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(x)[0][:, -1])


class Mamba(nn.Module):
    """A selective state space: the step is a softplus of the input, the scan a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.A, self.delta, self.B, self.C = (
            nn.Parameter(torch.rand(2, 3)),
            nn.Linear(2, 2),
            nn.Linear(2, 3),
            nn.Linear(2, 3),
        )

    def forward(self, u: Tensor) -> Tensor:
        delta, B, C = F.softplus(self.delta(u)), self.B(u), self.C(u)
        h, out = u.new_zeros(u.shape[0], 2, 3), []
        for t in range(u.shape[1]):
            A = torch.exp(-delta[:, t].unsqueeze(-1) * self.A.abs())
            h = A * h + delta[:, t].unsqueeze(-1) * B[:, t].unsqueeze(1) * u[:, t].unsqueeze(-1)
            out.append((h * C[:, t].unsqueeze(1)).sum(-1))
        return torch.stack(out, 1)


class DeepSet(nn.Module):
    """A function of each element, a maximum, and a function of it (PointNet)."""

    def __init__(self) -> None:
        super().__init__()
        self.each, self.out = mlp(2, 8, 6, activation=nn.ReLU), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.each(x).max(dim=1)[0])


class Fourier(nn.Module):
    """A Fourier neural operator in one dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.lift, self.local, self.out = nn.Linear(1, 2), nn.Conv1d(2, 2, 1), nn.Linear(2, 1)
        self.weight = nn.Parameter(torch.randn(2, 2, 3, 2) / 2)

    def forward(self, x: Tensor) -> Tensor:
        v = self.lift(x.unsqueeze(-1)).permute(0, 2, 1)
        modes = torch.einsum("bix,iox->box", torch.fft.rfft(v)[:, :, :3], torch.view_as_complex(self.weight))
        full = torch.zeros(x.shape[0], 2, x.shape[1] // 2 + 1, dtype=modes.dtype)
        full[:, :, :3] = modes
        v = F.gelu(torch.fft.irfft(full, n=x.shape[1]) + self.local(v))
        return self.out(v.permute(0, 2, 1)).squeeze(-1)


class Siren(nn.Module):
    """Sines of 30 times a linear layer, after positional encoding (NeRF)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(8, 8), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        rate = 2.0 ** torch.arange(2, dtype=x.dtype) * torch.pi
        angle = (x[..., None] * rate).flatten(-2)
        return self.out(torch.sin(3 * self.first(torch.cat([angle.sin(), angle.cos()], -1))))


class Coupling(nn.Module):
    """A coupling layer of a flow, and its log-determinant (RealNVP)."""

    def __init__(self) -> None:
        super().__init__()
        self.s, self.t = mlp(2, 6, 2), mlp(2, 6, 2)

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, -1)
        s = torch.tanh(self.s(a))
        return torch.cat([a, b * torch.exp(s) + self.t(a), s.sum(-1, keepdim=True)], -1)


class Convex(nn.Module):
    """An input-convex network: weights by softplus."""

    def __init__(self) -> None:
        super().__init__()
        self.x0, self.x1, self.W = nn.Linear(3, 6), nn.Linear(3, 1), nn.Parameter(torch.randn(1, 6))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(F.linear(F.softplus(self.x0(x)), F.softplus(self.W)) + self.x1(x))


class Kan(nn.Module):
    """A Kolmogorov–Arnold layer: B-splines by the recursion of Cox and de Boor, and SiLU."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("grid", torch.linspace(-2, 2, 8))
        self.base, self.spline = nn.Linear(2, 2), nn.Parameter(torch.randn(2, 2, 5) / 2)

    def forward(self, x: Tensor) -> Tensor:
        grid, z = self.get_buffer("grid"), x.unsqueeze(-1)
        bases = ((z >= grid[:-1]) & (z < grid[1:])).to(x.dtype)
        for k in (1, 2):
            bases = (z - grid[: -(k + 1)]) / (grid[k:-1] - grid[: -(k + 1)]) * bases[..., :-1] + (
                grid[k + 1 :] - z
            ) / (grid[k + 1 :] - grid[1:-k]) * bases[..., 1:]
        return self.base(F.silu(x)) + torch.einsum("bik,oik->bo", bases, self.spline)


class Radial(nn.Module):
    """Gaussians around centres."""

    def __init__(self) -> None:
        super().__init__()
        self.centres, self.out = nn.Parameter(torch.randn(5, 3)), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.exp(-torch.cdist(x, self.centres).pow(2)))


class Mixture(nn.Module):
    """The negative log-likelihood of a mixture density network, by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.pi, self.mu, self.sigma = nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        s = F.softplus(self.sigma(x)) + 0.1
        logs = F.log_softmax(self.pi(x), -1) - 0.5 * ((0.3 - self.mu(x)) / s) ** 2 - torch.log(s)
        return -torch.logsumexp(logs, -1, keepdim=True)


class Equilibrium(nn.Module):
    """A deep equilibrium by six steps of its fixed-point iteration."""

    def __init__(self) -> None:
        super().__init__()
        self.W, self.U = nn.Linear(4, 4), nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        z = torch.zeros(x.shape[0], 4, dtype=x.dtype)
        for _ in range(6):
            z = torch.tanh(0.3 * self.W(z) + self.U(x))
        return z


class Decoder(nn.Module):
    """Transposed convolutions from a code (cGAN, VAE)."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.up = (
            nn.Linear(4, 8),
            nn.Sequential(
                nn.ConvTranspose2d(2, 2, 4, 2, 1),
                nn.BatchNorm2d(2),
                nn.ReLU(),
                nn.Conv2d(2, 1, 3, padding=1),
                nn.Tanh(),
            ),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.up(F.leaky_relu(self.fc(x), 0.2).view(-1, 2, 2, 2))


class Binary(nn.Module):
    """Signs of a linear layer with weights that are signs (traffic signs of VNN-COMP)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(
            torch.sign(F.linear(x, self.first.weight.sign())), self.second.weight.sign(), self.second.bias
        )


class TwoLevel(nn.Module):
    """A lattice: the largest of the smallest of linear functions (TLLVerifyBench)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 12)

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x).view(-1, 4, 3).amin(-1).amax(-1, keepdim=True)


class PieceWise(nn.Module):
    """A learnt index: a piecewise linear function by comparisons (NN4Sys)."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("knots", torch.linspace(-1, 1, 5))
        self.slope = nn.Parameter(torch.randn(5))

    def forward(self, x: Tensor) -> Tensor:
        return (F.relu(x.unsqueeze(-1) - self.get_buffer("knots")) * self.slope).sum(-1)


class Sparsemax(nn.Module):
    """Attention by sparsemax (TabNet)."""

    def __init__(self) -> None:
        super().__init__()
        self.mask, self.out = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        z = self.mask(x)
        s, _ = torch.sort(z, dim=-1, descending=True)
        k = torch.arange(1, 5, dtype=x.dtype)
        inside = s * k > s.cumsum(-1) - 1
        size = inside.sum(-1, keepdim=True)
        tau = (s.cumsum(-1).gather(-1, size - 1) - 1) / size.to(x.dtype)
        return self.out(x * torch.clamp(z - tau, min=0))


class Contrast(nn.Module):
    """Cosine similarities to fixed texts, scaled by an exponential (CLIP)."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.text, self.scale = (
            nn.Linear(4, 6),
            nn.Parameter(torch.randn(3, 6)),
            nn.Parameter(torch.tensor(1.0)),
        )

    def forward(self, x: Tensor) -> Tensor:
        a = self.image(x)
        a = a / a.norm(dim=-1, keepdim=True)
        t = self.text / self.text.norm(dim=-1, keepdim=True)
        return self.scale.exp() * a @ t.t()


class Cayley(nn.Module):
    """Orthogonal layers by the Cayley transform, and GroupSort (Lipschitz networks)."""

    def __init__(self) -> None:
        super().__init__()
        self.A, self.B = nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.randn(4, 4))

    @staticmethod
    def orthogonal(W: Tensor) -> Tensor:
        S, eye = W - W.T, torch.eye(4, dtype=W.dtype)
        return torch.linalg.inv(eye + S) @ (eye - S)

    def forward(self, x: Tensor) -> Tensor:
        y = (x @ self.orthogonal(self.A)).view(-1, 2, 2).sort(-1).values.flatten(1)
        return y @ self.orthogonal(self.B)


class Spectral(nn.Module):
    """PyTorch's own parametrisations: spectral norm, weight norm, orthogonal."""

    def __init__(self) -> None:
        super().__init__()
        from torch.nn.utils import parametrizations as p

        self.body = nn.Sequential(
            p.spectral_norm(nn.Linear(4, 6)), nn.ReLU(), p.weight_norm(nn.Linear(6, 6)), nn.ReLU(), p.orthogonal(nn.Linear(6, 4))
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


CASES: tuple[Case, ...] = (
    net("graph convolution", Gcn, (4, 3), 0.2),
    net("graph convolution, index_add", SparseGcn, (4, 3), 0.2),
    net("GraphSAGE, maximum", lambda: SparseGcn("amax"), (4, 3), 0.2),
    net("GraphSAGE, mean", lambda: SparseGcn("mean"), (4, 3), 0.2),
    net("graph attention", Gat, (4, 3), 0.1),
    net("residual block", ResidualBlock, (2, 4, 4), 0.1),
    net("squeeze and excitation", Squeeze, (2, 4, 4), 0.1),
    net("ConvNeXt block", ConvNext, (4, 3, 3), 0.05),
    net("U-Net with group norm", UNet, (1, 4, 4), 0.05),
    net("detection head", Yolo, (1, 2, 2), 0.2),
    net("vision transformer", Vit, (1, 4, 4), 0.02),
    net("LLaMA block", Llama, (3, 4), 0.02, around=0.5),
    net("GPT-2 block", Gpt, (3, 4), 0.01),
    net("BERT layer with padding", Bert, (3, 4), 0.01),
    net("LSTM, two directions", Lstm, (3, 2), 0.1),
    net("selective state space", Mamba, (3, 2), 0.1, around=0.5),
    net("PointNet", DeepSet, (4, 2), 0.1),
    net("Fourier neural operator", Fourier, (8,), 0.1),
    net("SIREN with positional encoding", Siren, (2,), 0.02),
    net("coupling flow", Coupling, (4,), 0.2),
    net("input-convex network", Convex, (3,), 0.2),
    net("Kolmogorov–Arnold layer", Kan, (2,), 0.3),
    net("radial basis functions", Radial, (3,), 0.2),
    net("mixture density network", Mixture, (3,), 0.2),
    net("deep equilibrium, unrolled", Equilibrium, (3,), 0.2),
    net("decoder", Decoder, (4,), 0.1),
    net("binarised network", Binary, (4,), 0.1),
    net("two-level lattice", TwoLevel, (2,), 0.3),
    net("learnt index", PieceWise, (1,), 1.0),
    net("TabNet with sparsemax", Sparsemax, (4,), 0.2),
    net("CLIP", Contrast, (4,), 0.1, around=0.5),
    net("Cayley layers and GroupSort", Cayley, (4,), 0.2),
    net("spectral, weight, orthogonal norm", Spectral, (4,), 0.2),
)
