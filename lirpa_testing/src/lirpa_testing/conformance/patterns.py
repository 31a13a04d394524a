"""Patterns: what is written is found, and is bounded as what it becomes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lirpa_core.errors import LirpaError
from lirpa_core.plugins import Pattern, PatternEntry, Registry
from lirpa_testing.methods.names import few_steps, method_names
from lirpa_testing.profiles import Profile, profile_of
from lirpa_testing.report import Violation

#: How much wider the bounds of what is written may be, relatively.
_WIDER = 0.01

#: Numbers and dimensions that are tried.
_NUMBERS = (0.1, 1.0, 1e-5, -1e38)
_SHAPE = (4, 4)
_DIMS = (-1, -2)
_RADII = (0.02, 0.5)
_SETS_OF_DIMS = ((-1,), (-2,), (-2, -1))


class _Model(nn.Module):
    """A function of one perturbed tensor, what else it takes being fixed."""

    def __init__(self, function: Callable[..., Tensor], name: str, others: dict[str, Any]) -> None:
        super().__init__()
        self.function, self.name = function, name
        self.fixed = {k: v for k, v in others.items() if not isinstance(v, Tensor)}
        self.tensors = [k for k, v in others.items() if isinstance(v, Tensor)]
        for k in self.tensors:
            self.register_buffer(f"_{k}", others[k])

    def forward(self, x: Tensor) -> Tensor:
        tensors = {k: getattr(self, f"_{k}") for k in self.tensors}
        return self.function(**{self.name: x}, **tensors, **self.fixed)


def check_pattern(
    entry: PatternEntry, registry: Registry, profile: Profile | str | None = None, *, seed: int = 0
) -> int:
    """Assert that a pattern is found where it is written, and is bounded as what it becomes in every method.

    Args:
        entry: The pattern, and whose it is.
        registry: What models are captured with.
        profile: How hard to try.
        seed: Seed of the values.

    Returns:
        How many settings of its numbers and dimensions were tried.

    Raises:
        Violation: It is not found, or its bounds are wider.
    """
    pattern, subject = entry.pattern, f"pattern '{entry.pattern.name}' of plugin '{entry.plugin}'"
    tried = 0
    x = torch.randn(2, *_SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    for name, others in _settings(pattern, seed):
        written, becomes = (_Model(f, name, others) for f in (pattern.written, pattern.becomes))
        try:
            wanted = written(x)
            apart, size = _apart(wanted, becomes(x)), _size(wanted)
        except (RuntimeError, IndexError):
            continue
        tried += 1
        if apart > 1e-9 * size:
            raise Violation(
                subject, "same function", f"the two functions differ by {apart:.3g}", {"given": others}
            )
        _compare(subject, written, becomes, x, registry, None if profile_of(profile).pairs else tried)
    if tried == 0:
        raise Violation(
            subject, "runs", f"no setting of its parameters suits a tensor of shape {list(x.shape)}"
        )
    return tried


def _apart(written: Tensor, becomes: Tensor) -> float:
    """How far two functions are apart where the one that is written is finite; infinitely where the other one is not."""
    finite = written.isfinite()
    gap = (written - becomes)[finite].abs()
    if gap.isnan().any():
        return math.inf
    return float(gap.max()) if gap.numel() else 0.0


def _size(written: Tensor) -> float:
    """The largest finite value, or one."""
    return float(torch.where(written.isfinite(), written, 1).abs().max().clamp(min=1))


def times_as_wide(
    entry: PatternEntry, registry: Registry, method: str, *, eps: float = 0.5, seed: int = 0
) -> float | None:
    """How wide bounds of what is written are without patterns, behind a linear layer, relative to what it becomes.

    Args:
        entry: The pattern, and whose it is.
        registry: What models are captured with.
        method: The method.
        eps: Radius of the boxes.
        seed: Seed of the values.

    Returns:
        The ratio of mean widths for the first setting of numbers and dimensions; None if there are no bounds without the pattern.
    """
    from lirpa_core import (  # which testing does not need else
        BoundedModule,
        BoundedTensor,
        PerturbationLpNorm,
    )

    name, others = next(_settings(entry.pattern, seed))
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, *_SHAPE, dtype=torch.float64, generator=generator)
    first = nn.Linear(_SHAPE[-1], _SHAPE[-1], dtype=torch.float64)
    with torch.no_grad():
        for p in first.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) / 2)
    widths = []
    for function, rules in (
        (entry.pattern.written, registry.without_patterns()),
        (entry.pattern.becomes, registry),
    ):
        bounded = BoundedModule(nn.Sequential(first, _Model(function, name, others)), x, registry=rules)
        try:
            with torch.no_grad():
                lower, upper = bounded.compute_bounds(
                    x=(BoundedTensor(x, PerturbationLpNorm(eps=eps)),), method=method
                )
        except LirpaError:
            return None
        widths.append(float((upper - lower).mean()))
    return widths[0] / widths[1]


def _settings(pattern: Pattern, seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The first tensor is perturbed; the others are numbers, or masks."""
    kinds = dict(pattern.parameters())
    first, *others = [name for name, kind in kinds.items() if kind is Tensor]
    generator = torch.Generator().manual_seed(seed + 1)
    numbers = torch.randn(1, *_SHAPE, dtype=torch.float64, generator=generator)
    diagonal = torch.eye(*_SHAPE, dtype=torch.bool)
    # Two of each row, then one of them of some rows: two are left, however they are combined.
    masks = [diagonal | diagonal.roll(1, 1), diagonal & (torch.arange(_SHAPE[1]) < 2)]
    choices: dict[str, tuple[Any, ...]] = {}
    for name, kind in kinds.items():
        if name != first:
            mask = masks[min(others.index(name), 1)][None] if kind is Tensor else None
            choices[name] = {Tensor: (numbers, mask), int: _DIMS, float: _NUMBERS}.get(kind, _SETS_OF_DIMS)
    for turn in range(max([len(values) for values in choices.values()], default=1)):
        given = {name: values[turn % len(values)] for name, values in choices.items()}
        if pattern.when is None or pattern.when(**{first: numbers}, **given):
            yield first, given


def _compare(
    subject: str, written: nn.Module, becomes: nn.Module, x: Tensor, registry: Registry, turn: int | None
) -> None:
    """Compare the widths of both in all methods, at every radius, or at one that goes with the `turn`."""
    from lirpa_core import (
        BoundedModule,
        BoundedTensor,
        PerturbationLpNorm,
    )  # which testing does not need else

    def bounded_with(model: nn.Module, rules: Registry) -> tuple[BoundedModule, list[object]]:
        bounded = BoundedModule(model, x, registry=rules, bound_opts=few_steps())
        return bounded, [node.target for node in bounded.graph.nodes]

    (found, targets), (wanted, others) = (bounded_with(model, registry) for model in (written, becomes))
    if targets == others:
        return
    if targets == bounded_with(written, registry.without_patterns())[1]:
        what = f"it is not found in {', '.join(str(t) for t in targets if t is not None)}"
        raise Violation(subject, "found", what)
    for i, (method, eps) in enumerate(itertools.product(method_names(registry=registry), _RADII)):
        if turn is not None and (i // len(_RADII) + i + turn) % len(_RADII):
            continue
        ball = BoundedTensor(x, PerturbationLpNorm(eps=eps))
        widths = []
        for bounded in (found, wanted):
            try:
                with torch.no_grad():
                    lower, upper = bounded.compute_bounds(x=(ball,), method=method)
            except LirpaError:
                break
            widths.append(float((upper - lower).mean()))
        if len(widths) == 2 and not widths[0] <= widths[1] * (1 + _WIDER):
            what = f"{method} at ε = {eps} gives {widths[0]:.4g} where it is written, {widths[1]:.4g} for what it becomes"
            raise Violation(subject, "width", what)
