"""`check_method`: the bounds of one method, on random networks and on the models that plugins declare."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor

from lirpa_core.methods import Method
from lirpa_core.plugins import Registry, default_registry
from lirpa_testing.conformance.cases import ModelCase
from lirpa_testing.conformance.declarations import conformance_cases
from lirpa_testing.conformance.models import check_model
from lirpa_testing.methods.attack import worst_escape
from lirpa_testing.methods.names import few_steps
from lirpa_testing.methods.networks import RandomNetwork, random_network
from lirpa_testing.profiles import Profile, profile_of
from lirpa_testing.report import Violation
from lirpa_testing.tolerance import allowance

if TYPE_CHECKING:
    from lirpa_core import BoundedModule, BoundedTensor

_NORMS = (math.inf, 2.0, 1.0, 3.5)
_RADII = (0.1, 0.7, 1e-3, 0.0)

#: A random network takes about as long as six boxes of a rule; no run takes more than these.
_BOXES_A_NETWORK = 6
_MOST_NETWORKS = 200

#: Rounding of a network is that of a sum of so many numbers.
_SUMMANDS = 4096

_SAMPLES = 64


@dataclass(frozen=True)
class MethodReport:
    """What `check_method` tried.

    Attributes:
        subject: The method.
        networks: How many random networks were bounded.
        models: How many declared models were bounded.
        boxes: Sets on which bounds were compared with samples and attacks, one an example.
        tightest: Smallest mean gap between the bounds, relative to the scale of the outputs.
        loosest: Largest mean gap.
    """

    subject: str
    networks: int
    models: int
    boxes: int
    tightest: float
    loosest: float

    def __str__(self) -> str:
        return (
            f"{self.subject}: {self.networks} random networks and {self.models} models, {self.boxes} sets; "
            f"relative gaps: {self.tightest:.3g} to {self.loosest:.3g}"
        )


def check_method(
    method: str | Method,
    *,
    registry: Registry | None = None,
    profile: Profile | str | None = None,
    seed: int = 0,
) -> MethodReport:
    """Assert, in float64, that the bounds of a method hold, by samples and by attacks.

    Random networks (activations, products, quotients, maxima, residual connections) are bounded over Lp balls of
    several norms and radii, and the models that plugins declare for conformance over boxes. Asserted are, in
    this order: bounds have the shape of the output and are not NaN; no sample and no attack by gradient leaves them;
    bounds of random specification rows `C` hold; linear bounds (`return_A`) hold where the method says that it
    gives them; a second call gives the same numbers.

    Args:
        method: A registered name, or a method. Methods that search for slopes take few steps.
        registry: Where rules and models come from; by default the default registry.
        profile: How much is tried, or the name of a profile; by default that of the environment variable
            `LIRPA_PROFILE`, else `ci`.
        seed: Seed of everything random.

    Returns:
        What was tried.

    Raises:
        Violation: Naming the method, the network and the radius.
        OptionError: No method has this name.
    """
    registry, profile = registry or default_registry(), profile_of(profile)
    report = check_networks(method, registry, profile, seed=seed)
    models = [case for case in conformance_cases(registry) if isinstance(case, ModelCase)]
    for case in models:
        boxes, (found,) = check_model(case, registry, profile, methods=[method], seed=seed)
        report = dataclasses.replace(
            report,
            models=report.models + 1,
            boxes=report.boxes + boxes,
            tightest=min(report.tightest, found.tightest),
            loosest=max(report.loosest, found.loosest),
        )
    return report


@dataclass(frozen=True, eq=False)
class Networks:
    """Random networks, each captured once, however many methods bound it.

    Attributes:
        registry: What they are captured with.
        captured: Those that were, by number.
    """

    registry: Registry
    captured: dict[int, BoundedModule] = field(default_factory=dict)

    def capture(self, number: int, x: Tensor) -> BoundedModule:
        """The captured form of `random_network(number)`, whose input is like `x`."""
        if number not in self.captured:
            from lirpa_core import BoundedModule  # which takes long to import

            self.captured[number] = BoundedModule(
                random_network(number), x, registry=self.registry, bound_opts=few_steps()
            )
        return self.captured[number]


def check_networks(
    method: str | Method,
    registry: Registry,
    profile: Profile,
    *,
    seed: int = 0,
    networks: Networks | None = None,
) -> MethodReport:
    """The part of `check_method` that needs no model: random networks, of which several methods may share the captured form."""
    found = registry.find_method(method) if isinstance(method, str) else method
    count = min(_MOST_NETWORKS, max(1, profile.examples // _BOXES_A_NETWORK))
    trials = list(_trials(method, found, networks or Networks(registry), count, seed))
    gaps = [trial.run() for trial in trials]
    boxes = sum(len(trial.point) for trial in trials)
    return MethodReport(f"method '{found}'", count, 0, boxes, min(gaps), max(gaps))


def _trials(
    method: str | Method, found: Method, networks: Networks, count: int, seed: int
) -> Iterator[_Trial]:
    from lirpa_core import BoundedTensor, PerturbationLpNorm  # which take long to import

    for i in range(count):
        network = random_network(seed * _MOST_NETWORKS + i)
        generator = torch.Generator().manual_seed(i)
        x = torch.randn(1 + i % 3, network.head.in_features, dtype=torch.float64, generator=generator)
        norm, eps = _NORMS[i % len(_NORMS)], _RADII[i % len(_RADII)]
        point = BoundedTensor(x, PerturbationLpNorm(norm=norm, eps=eps))
        bounded = networks.capture(seed * _MOST_NETWORKS + i, x)
        yield _Trial(method, found, network, bounded, point, generator)


@dataclass(frozen=True, eq=False)
class _Trial:
    """One network, with a set around one input."""

    method: str | Method
    found: Method
    network: RandomNetwork
    bounded: BoundedModule
    point: BoundedTensor
    generator: torch.Generator

    def run(self) -> float:
        """Check everything; the mean gap, relative to the scale of the outputs."""
        lower, upper = self.bounds()
        self.check_bounds(lower, upper)
        self.check_rows()
        if self.found.gives_linear_bounds:
            self.check_linear_bounds()
        again, _ = self.bounds()
        if not torch.equal(lower, again):
            self.fail("pure", "a second call gives other bounds than the first", first=lower, second=again)
        return float((upper - lower).mean() / (1 + upper.abs().amax().maximum(lower.abs().amax())))

    def bounds(self, **arguments: Any) -> Any:
        with torch.no_grad():
            return self.bounded.compute_bounds(x=(self.point,), method=self.method, **arguments)

    def check_bounds(self, lower: Tensor, upper: Tensor) -> None:
        shape = self.network(self.point.plain()).shape
        if lower.shape != shape or upper.shape != shape:
            self.fail(
                "shape",
                f"bounds have shapes {list(lower.shape)} and {list(upper.shape)}, the output {list(shape)}",
            )
        if bool((lower.isnan() | upper.isnan()).any()):
            self.fail("bounds", "bounds are NaN", lower=lower, upper=upper)
        escape = worst_escape(self.network, self.point, lower, upper)
        if not escape <= self.slack(lower, upper):
            self.fail(
                "bounds",
                f"an output of the network leaves the bounds by {escape:.3g}",
                lower=lower,
                upper=upper,
            )

    def check_rows(self) -> None:
        C = torch.randn(len(self.point), 2, 3, dtype=torch.float64, generator=self.generator)  # [B, K, 3]
        lower, upper = self.bounds(C=C)  # [B, K]
        values = torch.einsum("bkj,nbj->nbk", C, self.values())  # [n, B, K]
        excess = float((lower - values).maximum(values - upper).max())
        if not excess <= self.slack(lower, upper):
            self.fail("rows", f"a row of C leaves its bounds by {excess:.3g}", C=C, lower=lower, upper=upper)

    def check_linear_bounds(self) -> None:
        lower, upper, found = self.bounds(return_A=True)
        (sides,) = found[self.bounded.output_name[0]].values()
        z, values = self.samples(), self.values()  # [n, B, width], [n, B, 3]
        below = torch.einsum("bki,nbi->nbk", sides["lA"], z) + sides["lbias"]
        above = torch.einsum("bki,nbi->nbk", sides["uA"], z) + sides["ubias"]
        excess = float((below - values).maximum(values - above).max())
        if not excess <= self.slack(lower, upper, below, above):
            self.fail("linear bounds", f"an output leaves the linear bounds by {excess:.3g}", **sides)

    def samples(self) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        return self.point.ptb.sample(self.point.plain(), _SAMPLES, generator)

    def values(self) -> Tensor:
        z = self.samples()
        with torch.no_grad():
            outputs: Tensor = self.network(z.flatten(0, 1))
        return outputs.reshape(*z.shape[:2], -1)

    def slack(self, *sizes: Tensor) -> float:
        largest = max(float(size.abs().max()) for size in sizes)
        return float(allowance(torch.tensor(1 + largest, dtype=torch.float64), _SUMMANDS))

    def fail(self, check: str, what: str, **details: Any) -> NoReturn:
        shown = {"network": self.network.extra_repr(), "set": repr(self.point.ptb), "x": self.point.plain()}
        raise Violation(f"method '{self.found}'", check, what, shown | details)
