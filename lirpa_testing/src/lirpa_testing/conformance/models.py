"""Models: bounds in every method, compared with samples, corners and attacks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lirpa_core.methods import Method
from lirpa_core.plugins import Registry
from lirpa_testing.conformance.cases import ModelCase
from lirpa_testing.conformance.outcome import ModeResult
from lirpa_testing.methods.names import few_steps, method_names
from lirpa_testing.profiles import Profile
from lirpa_testing.report import Violation
from lirpa_testing.tolerance import allowance

_POINTS = 16


def check_model(
    case: ModelCase,
    registry: Registry,
    profile: Profile,
    *,
    methods: Sequence[str | Method] | None = None,
    seed: int = 0,
) -> tuple[int, tuple[ModeResult, ...]]:
    """Compare the bounds of a model with its outputs at random points, corners, and where attacks end.

    Args:
        case: The model.
        registry: What it is captured with.
        profile: How hard to try.
        methods: The methods, or their names; by default all that are registered.
        seed: Seed of the points.

    Returns:
        How many boxes were tried, and the gaps of each method.

    Raises:
        Violation: An output lies outside of the bounds, or what the model should exercise is not in its graph.
    """
    from lirpa_core import (  # which testing does not need else
        BoundedModule,
        BoundedTensor,
        PerturbationLpNorm,
    )

    model = case.make().double().eval()
    generator = torch.Generator().manual_seed(seed)
    repeats = max(1, -(-min(profile.examples, 1024) // (len(case.eps) * len(case.x))))
    bounded = BoundedModule(model, case.x, registry=registry, bound_opts=few_steps())
    _require_exercised(case, bounded, model, registry)
    tried = method_names(registry=registry) if methods is None else tuple(methods)
    gaps: dict[str, list[float]] = {str(method): [] for method in tried}
    noise = torch.randn(repeats, *case.x.shape, dtype=torch.float64, generator=generator)
    noise[0] = 0
    x = (case.x + noise).flatten(0, 1)  # [repeats * B, *S]
    pairs = profile.pairs or len(tried) < len(case.eps)
    for i, eps in enumerate(case.eps):
        values = _extremes(model, x, eps, profile.attack_steps, generator)
        scale = values.abs().amax(0) + x.flatten(1).abs().amax(1).reshape(-1, *[1] * (values.dim() - 2)) + eps
        slack = 16 * allowance(scale, x[0].numel())
        for k, method in enumerate(tried):
            if not pairs and (i + k) % len(case.eps):
                continue
            with torch.no_grad():
                lower, upper = bounded.compute_bounds(
                    x=(BoundedTensor(x, PerturbationLpNorm(eps=eps)),), method=method
                )
            excess = (lower - values).maximum(values - upper) - slack
            if not bool((excess <= 0).all()):
                _fail(case, str(method), eps, x, excess, values, lower, upper)
            gaps[str(method)].append(((upper - lower) / scale).mean().item())
    results = tuple(ModeResult(method, min(found), max(found)) for method, found in gaps.items())
    return len(x) * len(case.eps), results


def _require_exercised(case: ModelCase, bounded: object, model: nn.Module, registry: Registry) -> None:
    from lirpa_core import BoundedModule

    targets = [node.target for node in bounded.graph.nodes]  # type: ignore[attr-defined]
    missing = [op for op in case.covers if op not in targets]
    if missing:
        found = ", ".join(sorted({str(t) for t in targets if t is not None}))
        what = f"covers {', '.join(map(str, missing))}, but its graph has only {found}"
        raise Violation(f"model '{case.name}' of plugin '{case.plugin}'", "covers", what)
    for op in case.fuses:
        plain = BoundedModule(model, case.x, registry=registry.without_fusion(op))
        if [node.target for node in plain.graph.nodes] == targets:
            what = f"is to exercise the fusion of {op}, which changes nothing in its graph"
            raise Violation(f"model '{case.name}' of plugin '{case.plugin}'", "covers", what)


def _extremes(model: nn.Module, x: Tensor, eps: float, steps: int, generator: torch.Generator) -> Tensor:
    """Outputs at random points and corners, and after signed gradient steps: `[n, B, *S]`."""
    starts = 2 * torch.rand(_POINTS, *x.shape, dtype=x.dtype, generator=generator) - 1
    starts[_POINTS // 2 :] = starts[_POINTS // 2 :].sign()
    points = [x + eps * s for s in starts]
    goals = model(x).detach().flatten(1).shape[1]
    for k in range(min(4, goals)):
        for sign in (1, -1):
            z = x + eps * starts[k]
            for step in range(steps):
                z = z.detach().requires_grad_()
                (gradient,) = torch.autograd.grad((sign * model(z).flatten(1)[:, k]).sum(), z)
                z = (z + 2 * eps * 0.5**step * gradient.sign()).clamp(x - eps, x + eps)
            points.append(z.detach())
    with torch.no_grad():
        return torch.stack([model(p.clamp(x - eps, x + eps)) for p in points])


def _fail(
    case: ModelCase,
    method: str,
    eps: float,
    x: Tensor,
    excess: Tensor,
    values: Tensor,
    lower: Tensor,
    upper: Tensor,
) -> None:
    worst = torch.unravel_index(torch.where(excess.isnan(), torch.inf, excess).argmax(), excess.shape)
    at = tuple(int(i) for i in worst)
    raise Violation(
        f"model '{case.name}' of plugin '{case.plugin}'",
        "bounds",
        f"an output lies outside of the bounds of {method}, or these are NaN",
        {
            "method": method,
            "eps": eps,
            "x": x[at[1]],
            "output element": list(at[2:]),
            "value": values[at].item(),
            "lower": lower[at[1:]].item(),
            "upper": upper[at[1:]].item(),
        },
        excess[at].item(),
    )
