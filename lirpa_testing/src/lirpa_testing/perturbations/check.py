"""`check_perturbation`: a set's minimum, hull, members and projection fit each other."""

from __future__ import annotations

from typing import NoReturn

import torch
from torch import Tensor

from lirpa_core.errors import PerturbationError
from lirpa_core.linear.coefficients import DenseCoefficients, SelectedRows
from lirpa_core.perturbations import Perturbation
from lirpa_testing.perturbations.attack import attack_set
from lirpa_testing.profiles import Profile, profile_of
from lirpa_testing.report import PerturbationReport, PerturbationViolation
from lirpa_testing.tolerance import allowance

_SAMPLES = 256

#: Forms that are minimised at once.
_ROWS = 500

#: Forms whose gradients are compared with differences.
_DIFFERENCES = 32

#: Largest gap, relative to how far a form moves over the hull, between a minimum and an attack's best.
EXACT = 1e-4


def check_perturbation(
    ptb: Perturbation,
    x: Tensor,
    *,
    profile: Profile | str | None = None,
    rows: int | None = None,
    exact: bool = True,
    seed: int = 0,
) -> PerturbationReport:
    """Assert, in float64, that the methods of a perturbation describe one and the same set.

    The minimum of random, sparse and one-hot linear forms is compared with samples and with an attack:
    projected steps of growing length along the form, which on a convex set end near the minimum. The
    rest: samples lie in the hull and are contained; projection ends inside and leaves members alone; a
    structured or shared coefficients give what dense, repeated ones do; gradients are finite, and central differences
    by the form; float32 stays float32; nothing is changed in place.

    Args:
        ptb: The perturbation.
        x: Nominal value `[B, *S]`, examples first.
        profile: How much is tried, or the name of a profile; by default that of the environment variable
            `LIRPA_PROFILE`, else `ci`.
        rows: Number of random forms, instead of those of the profile.
        exact: Whether the minimum must be attained (up to what the attack can find).
        seed: Seed of everything random.

    Returns:
        The largest gap found.

    Raises:
        PerturbationViolation: Naming the method and showing the point.
        PerturbationError: The perturbation itself refuses `x`.
    """
    wanted = rows or profile_of(profile).forms
    tried, gap, turn = 0, 0.0, 0
    while tried < wanted:
        checker = _Checker(ptb.map_tensors(Tensor.double), x.double(), seed + 7919 * turn)
        report = checker.run(min(_ROWS, wanted - tried), exact)
        tried, gap, turn = tried + report.rows, max(gap, report.gap), turn + 1
    return PerturbationReport(repr(ptb), tried, gap)


class _Checker:
    def __init__(self, ptb: Perturbation, x: Tensor, seed: int) -> None:
        self.ptb, self.x, self.seed = ptb, x, seed
        self.before = x.clone()
        self.size = x[0].numel()

    def run(self, rows: int, exact: bool) -> PerturbationReport:
        ptb, x = self.ptb, self.x
        ptb.validate(x)
        A = self.forms(rows)
        self.check_hull()
        samples = self.check_samples()
        value = ptb.concretize(x, DenseCoefficients(A))
        self.check_value(value, A)
        points = torch.cat([samples, self.check_projection(samples)])
        gap = self.check_minimum(value, A, points, exact)
        self.check_structures(A, value)
        self.check_gradients(A)
        self.check_differences(self.normal(9, *A[:_DIFFERENCES].shape))
        self.check_float32(A)
        if not torch.equal(x, self.before):
            self.fail("purity", "a method changed x in place")
        return PerturbationReport(repr(ptb), A.shape[0], gap)

    def generator(self, salt: int) -> torch.Generator:
        return torch.Generator(self.x.device).manual_seed(self.seed * 1000 + salt)

    def normal(self, salt: int, *shape: int) -> Tensor:
        return torch.randn(shape, dtype=self.x.dtype, device=self.x.device, generator=self.generator(salt))

    def forms(self, rows: int) -> Tensor:
        """A zero row, random rows, sparse rows, and rows of one element: `[R, B, *S]`."""
        A = self.normal(1, rows, *self.x.shape)
        sparse = torch.where(self.normal(2, *A.shape) > 0.5, A, torch.zeros_like(A))
        one = torch.zeros(self.size, self.size, dtype=A.dtype, device=A.device).fill_diagonal_(1.0)[:rows]
        one = one.reshape(-1, 1, *self.x.shape[1:]).expand(-1, *self.x.shape)
        return torch.cat([torch.zeros_like(A[:1]), A, sparse, one, -one])

    def check_hull(self) -> None:
        hull = self.ptb.hull(self.x)
        for side in ("lower", "upper"):
            end = getattr(hull, side)
            if end.shape != self.x.shape or end.dtype != self.x.dtype:
                self.fail("hull", f"hull().{side} is {end.dtype} {list(end.shape)}, not like x")
            if not bool(end.isfinite().all()):
                self.fail("hull", f"hull().{side} is not finite")
        if bool((hull.lower > hull.upper).any()):
            self.fail("hull", "the lower end of the hull exceeds the upper end")

    def check_samples(self) -> Tensor:
        samples = self.ptb.sample(self.x, _SAMPLES, self.generator(3))
        if samples.shape != (_SAMPLES, *self.x.shape) or samples.dtype != self.x.dtype:
            self.fail("sample", f"sample gives {samples.dtype} {list(samples.shape)}")
        if not torch.equal(samples, self.ptb.sample(self.x, _SAMPLES, self.generator(3))):
            self.fail("sample", "the same generator gives other samples")
        self.require_members(samples, "sample", "a sample")
        hull = self.ptb.hull(self.x)
        far = self.x + 3 * (hull.width.amax() + 1) * torch.ones_like(self.x)
        if bool(self.ptb.contains(self.x, far.unsqueeze(0)).any()):
            self.fail("contains", "contains accepts a point far outside of the hull", point=far)
        return samples

    def require_members(self, z: Tensor, check: str, what: str) -> None:
        member = self.ptb.contains(self.x, z)
        if member.dtype != torch.bool or member.shape != z.shape[:2]:
            self.fail(
                "contains",
                f"contains gives {member.dtype} {list(member.shape)}, not bool {list(z.shape[:2])}",
            )
        if not bool(member.all()):
            n, b = (int(i) for i in (~member).nonzero()[0])
            self.fail(check, f"{what} is not contained in the set", example=b, point=z[n, b])
        hull = self.ptb.hull(self.x)
        slack = allowance(self.x.abs() + hull.lower.abs() + hull.upper.abs(), self.size)
        outside = (z < hull.lower - slack) | (z > hull.upper + slack)
        if bool(outside.any()):
            n, b = (int(i) for i in outside.nonzero()[0][:2])
            self.fail("hull", f"{what} lies outside of the hull", example=b, point=z[n, b])

    def check_projection(self, samples: Tensor) -> Tensor:
        reach = self.ptb.hull(self.x).width + 0.1
        z = self.x + 2 * reach * self.normal(4, 32, *self.x.shape)
        kept = z.clone()
        projected = self.ptb.project(self.x, z)
        if not torch.equal(z, kept):
            self.fail("project", "project changed its candidates in place")
        if projected.shape != z.shape:
            self.fail("project", f"project gives {list(projected.shape)} for {list(z.shape)}")
        self.require_members(projected, "project", "a projected point")
        for points, what in ((projected, "a projected point"), (samples, "a member of the set")):
            moved = (self.ptb.project(self.x, points) - points).abs()
            excess = moved - 1e-9 * (points.abs() + self.x.abs() + reach)
            if bool((excess > 0).any()):
                n, b = (int(i) for i in (excess > 0).nonzero()[0][:2])
                self.fail("project", f"project moves {what}", example=b, point=points[n, b])
        return projected

    def check_value(self, value: Tensor, A: Tensor) -> None:
        shape = (A.shape[0], self.x.shape[0])
        if value.shape != shape or value.dtype != self.x.dtype:
            self.fail("concretize", f"concretize gives {value.dtype} {list(value.shape)}, not {list(shape)}")
        if not bool(value.isfinite().all()):
            self.fail("concretize", "concretize is not finite", form=A[(~value.isfinite()).nonzero()[0][0]])
        if bool((value[0] != 0).any()):
            self.fail("concretize", "the minimum of the zero form is not zero", value=value[0])

    def check_minimum(self, value: Tensor, A: Tensor, points: Tensor, exact: bool) -> float:
        hull = self.ptb.hull(self.x)
        size = self._sum(A.abs() * (hull.lower.abs().maximum(hull.upper.abs()) + self.x.abs()))  # [R, B]
        allowed = allowance(size, 4 * self.size)
        span = self._sum(A.abs() * hull.width)
        best, where = torch.einsum("rbi,nbi->nrb", self._flat(A), self._flat(points)).min(0)
        attacked, found, visited = attack_set(self.ptb, self.x, A, points)
        self.require_members(visited, "project", "a projected point")
        better = (attacked < best).reshape(*best.shape, *[1] * (self.x.dim() - 1))
        example = torch.arange(self.x.shape[0], device=self.x.device)
        point = torch.where(better, found, points[where, example])
        best = best.minimum(attacked)
        self.require_not_positive(
            value - best - allowed,
            "concretize",
            "the claimed minimum exceeds the form at a member of the set",
            A,
            point,
        )
        box = self._sum(torch.where(A >= 0, A * hull.lower, A * hull.upper))
        self.require_not_positive(
            box - value - allowed, "concretize", "the claimed minimum is below that over the hull", A, None
        )
        if self.ptb.is_box:
            self.require_not_positive(
                value - box - allowed,
                "is_box",
                "is_box is true, but the minimum is not that over the hull",
                A,
                None,
            )
            corners = torch.where(A >= 0, hull.lower, hull.upper)
            self.require_members(corners, "is_box", "is_box is true, but a corner of the hull")
        gap = (best - value - allowed).clamp(min=0) / span.clamp(min=torch.finfo(span.dtype).tiny)
        if exact:
            self.require_not_positive(
                gap - EXACT,
                "exact",
                "the minimum is not attained: no attack comes near, relative to the hull",
                A,
                point,
            )
        return gap.amax().item()

    def require_not_positive(
        self, excess: Tensor, check: str, what: str, A: Tensor, point: Tensor | None
    ) -> None:
        if not bool((excess > 0).any()):
            return
        r, b = (int(i) for i in torch.unravel_index(excess.argmax(), excess.shape))
        details = {"form": A[r, b]} | ({} if point is None else {"point": point[r, b]})
        amount = excess[r, b].item()
        self.fail(check, f"{what}, by {amount:.3g} more than allowed", example=b, amount=amount, **details)

    def check_structures(self, A: Tensor, value: Tensor) -> None:
        x, ptb, B = self.x, self.ptb, self.x.shape[0]
        index = torch.randint(self.size, (5, B), generator=self.generator(5), device=x.device)
        rows = SelectedRows(index, self.normal(6, 5, 1), tuple(x.shape[1:]))
        self.require_equal(
            ptb.concretize(x, rows),
            ptb.concretize(x, rows.dense()),
            "structured coefficients give another minimum than dense ones",
        )
        shared = ptb.concretize(x, DenseCoefficients(A[:, :1].contiguous()))
        repeated = ptb.concretize(x, DenseCoefficients(A[:, :1].expand_as(A).contiguous()))
        self.require_equal(
            shared.expand_as(repeated),
            repeated,
            "shared coefficients (batch one) give another minimum than repeated ones",
        )
        one = x[:1].contiguous()
        repeat = one.expand_as(x).contiguous()
        try:
            ptb.validate(one)
            ptb.validate(repeat)
        except PerturbationError:
            return
        alone = ptb.concretize(one, DenseCoefficients(A))
        self.require_equal(
            alone.expand_as(value),
            ptb.concretize(repeat, DenseCoefficients(A)),
            "a shared x (batch one) gives another minimum than a repeated one",
        )

    def require_equal(self, a: Tensor, b: Tensor, what: str) -> None:
        if a.shape != b.shape or bool(((a - b).abs() > 1e-10 * (1 + b.abs())).any()):
            self.fail("structures", what, got=a, expected=b)

    def check_gradients(self, A: Tensor) -> None:
        leaves = [self.x.clone().requires_grad_(), A.clone().requires_grad_()]

        def track(t: Tensor) -> Tensor:
            leaves.append(t.detach().clone().requires_grad_())
            return leaves[-1]

        with torch.enable_grad():
            ptb = self.ptb.map_tensors(track)
            total = ptb.concretize(leaves[0], DenseCoefficients(leaves[1])).sum()
            if not total.requires_grad:
                self.fail("gradients", "concretize has no gradient")
            gradients: tuple[Tensor | None, ...] = torch.autograd.grad(total, leaves, allow_unused=True)
        names = ["x", "A", *(f"tensor {i} of the perturbation" for i in range(len(leaves)))]
        for name, gradient in zip(names, gradients, strict=False):
            if gradient is not None and not bool(gradient.isfinite().all()):
                self.fail("gradients", f"the gradient of the minimum by {name} is not finite")

    def check_differences(self, A: Tensor) -> None:
        """The gradient of a minimum by the form is its central difference, but for where one-sided ones disagree."""
        step, move = 1e-6, self.normal(8, *A.shape)

        def value(form: Tensor) -> Tensor:
            return self.ptb.concretize(self.x, DenseCoefficients(form))

        leaf = A.clone().requires_grad_()
        with torch.enable_grad():
            here = value(leaf)
        with torch.no_grad():
            hull = self.ptb.hull(self.x)
            size = hull.lower.abs().maximum(hull.upper.abs())
            right, left = (value(A + step * move) - here) / step, (here - value(A - step * move)) / step
        middle, noise = (right + left) / 2, allowance(self._sum(A.abs() * size), self.size) / step
        smooth = (right - left).abs() <= 1e-4 * (right.abs() + left.abs()) + noise
        (gradient,) = torch.autograd.grad(torch.where(smooth, here, 0).sum(), leaf)
        found = self._sum(gradient * move)
        wrong = smooth & ((found - middle).abs() > 1e-5 * self._sum((gradient * move).abs()) + 2 * noise)
        if bool(wrong.any()):
            r, b = (int(i) for i in wrong.nonzero()[0])
            what = "the gradient of the minimum by A is not its central difference"
            self.fail("differences", what, example=b, gradient=found[r, b], difference=middle[r, b])

    def check_float32(self, A: Tensor) -> None:
        ptb, x = self.ptb.map_tensors(Tensor.float), self.x.float()
        results = {
            "concretize": ptb.concretize(x, DenseCoefficients(A.float())),
            "hull": ptb.hull(x).lower,
            "sample": ptb.sample(x, 2, self.generator(7)),
        }
        for name, value in results.items():
            if value.dtype != torch.float32:
                self.fail("float32", f"a float32 value gives a {name} of {value.dtype}")

    def _flat(self, t: Tensor) -> Tensor:
        return t.reshape(*t.shape[: t.dim() - self.x.dim() + 1], -1)

    def _sum(self, t: Tensor) -> Tensor:
        return self._flat(t).sum(-1)

    def fail(
        self,
        check: str,
        what: str,
        *,
        example: int | None = None,
        amount: float | None = None,
        **details: object,
    ) -> NoReturn:
        pick = slice(None) if example is None else example
        shown: dict[str, object] = {"x": self.x[pick]}
        if example is not None:
            shown["example"] = f"{example} of {self.x.shape[0]}"
        raise PerturbationViolation(repr(self.ptb), check, what, shown | details, amount)
