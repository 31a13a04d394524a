"""Sets that plugins register, with members that are exact: found in the registry by name, so that none has to be installed."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import torch
from torch import Tensor

from lirpa_core.perturbations import Perturbation, PerturbationLpNorm
from lirpa_core.plugins import default_registry
from lirpa_testing.fuzz.balls import Numbers

Point: TypeAlias = tuple[Fraction, ...]
Options: TypeAlias = Mapping[str, Any]

#: Members at most.
_MOST = 48

#: What a computed deviation is shortened by, so that it belongs to the set whatever its rounding was.
_SHORTER = 1 - Fraction(1, 2**40)


@dataclass(frozen=True)
class PluginSet:
    """A set of a plugin around an example.

    Args:
        name: Its name in the registry.
        options: Numbers that it is made from, exact in the type of the case.
        shape: Shape of one example.
    """

    name: str
    options: dict[str, Any]
    shape: tuple[int, ...]

    def perturbation(self, dtype: torch.dtype, more: Sequence[PluginSet] = ()) -> Perturbation:
        """The set as lirpa knows it; with others that differ from it in their numbers, those of a batch.

        Args:
            dtype: The type.
            more: Sets of the examples that follow.
        """
        cls = default_registry().perturbations[self.name].cls
        many = Many([self.options, *[s.options for s in more]], dtype, len(self.shape))
        made: Perturbation = KINDS[self.name].make(cls, many)
        return made

    def corners(self, x: Sequence[float]) -> list[Point]:
        """Members at which linear functions are extreme, as far as they are few, and the nominal point."""
        found = KINDS[self.name].corners(self.options, tuple(map(Fraction, x)), self.shape)
        return list(itertools.islice(found, _MOST))

    def members(self, x: Sequence[float], z: Tensor) -> list[Point]:
        """Exact members close to what was computed, `[n, width]` in float64."""
        inside = KINDS[self.name].inside
        if inside is None:
            return []
        nominal = tuple(map(Fraction, x))
        return [inside(self.options, nominal, tuple(map(Fraction, row))) for row in z.tolist()]

    def search(self, x: Tensor, more: Sequence[PluginSet] = ()) -> tuple[Perturbation, Tensor] | None:
        """Sets to search in float64, and their nominal points; None where the corners are all there is to it.

        Args:
            x: The examples.
            more: Sets of those behind the first.
        """
        return None if KINDS[self.name].inside is None else (self.perturbation(torch.float64, more), x)

    def source(self, dtype: str) -> str:
        """Python that makes it."""
        return f"PluginSet({self.name!r}, {self.options!r}, {self.shape!r}).perturbation({dtype})"

    def smaller(self) -> Iterator[PluginSet]:
        """Simpler sets: none, because their numbers depend on each other."""
        yield from ()


@dataclass(frozen=True)
class Many:
    """The options of the sets of a batch.

    Args:
        options: Those of each example; what is no number is the same for all.
        dtype: The type.
        rank: How many dimensions an example has.
    """

    options: Sequence[Options]
    dtype: torch.dtype
    rank: int

    def __getitem__(self, name: str) -> Any:
        """An option that all examples share."""
        return self.options[0][name]

    def numbers(self, name: str, *, at: int = 0) -> Tensor:
        """An array of each example, with the examples in a dimension: `[B, ...]`; of one example, the array."""
        each = [torch.tensor(o[name], dtype=self.dtype) for o in self.options]
        return each[0] if len(each) == 1 else torch.stack(each, at)

    def one(self, name: str) -> Any:
        """A number of each example, `[B]`; of one example, the number."""
        return self[name] if len(self.options) == 1 else self.numbers(name)

    def count(self, name: str) -> Any:
        """A whole number of each example, `[B]`; of one example, the number."""
        return self[name] if len(self.options) == 1 else torch.tensor([o[name] for o in self.options])

    def limit(self, name: str) -> Any:
        """A number of each example for all of its elements, `[B, 1...]`; of one example, the number."""
        found = self.one(name)
        return found.reshape(-1, *[1] * self.rank) if isinstance(found, Tensor) else found


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How sets of one kind are drawn and made.

    Args:
        draw: From a source of choices that the sets of a batch share, one of numbers, the nominal point, a size, and what draws
            an array: `(options, shape, x)`, or None for a point of a width that does not fit.
        make: From the class and options to the set.
        corners: Of options, point and shape: members, the nominal point first.
        inside: From options, point and a candidate to a member near it; None where corners are all there is.
    """

    draw: Callable[
        [random.Random, random.Random, tuple[float, ...], float, Callable[[Sequence[int]], Numbers]], Any
    ]
    make: Callable[[Any, Many], Any]
    corners: Callable[[Options, Point, tuple[int, ...]], Iterator[Point]]
    inside: Callable[[Options, Point, Point], Point] | None = None


def _replaced(x: Point, values: Mapping[int, Fraction]) -> Point:
    return tuple(values.get(i, v) for i, v in enumerate(x))


def _limits(draw: random.Random, x: Sequence[float], eps: float) -> dict[str, float]:
    size = max(*map(abs, x), eps)
    return {"low": -size * draw.choice((1, 2)), "up": size * draw.choice((1, 2))}


# ---------------------------------------------------------------------- elements and rectangles


def _draw_l0(
    shape: random.Random, draw: random.Random, x: tuple[float, ...], eps: float, numbers: Any
) -> Any:
    return {"eps": draw.randint(0, min(2, len(x))), **_limits(draw, x, eps)}, (len(x),), x


def _l0_corners(o: Options, x: Point, shape: tuple[int, ...]) -> Iterator[Point]:
    yield x
    ends = Fraction(o["low"]), Fraction(o["up"])
    for k in range(1, o["eps"] + 1):
        for places in itertools.combinations(range(len(x)), k):
            for values in itertools.product(ends, repeat=k):
                yield _replaced(x, dict(zip(places, values, strict=True)))


def _draw_patch(
    shape: random.Random, draw: random.Random, x: tuple[float, ...], eps: float, numbers: Any
) -> Any:
    if len(x) % 2 or len(x) < 4:
        return None
    size = shape.choice(([1, 1], [2, 1], [1, 2]))
    fill = numbers(()) if shape.random() < 0.5 else None
    return {"size": size, "fill": fill, **_limits(draw, x, eps)}, (1, 2, len(x) // 2), x


def _patch_corners(o: Options, x: Point, shape: tuple[int, ...]) -> Iterator[Point]:
    yield x
    _, height, width = shape
    h, w = o["size"]
    ends = (Fraction(o["low"]), Fraction(o["up"])) if o["fill"] is None else (Fraction(o["fill"]),)
    for i, j in itertools.product(range(height - h + 1), range(width - w + 1)):
        places = [(i + a) * width + j + b for a in range(h) for b in range(w)]
        for values in itertools.product(ends, repeat=len(places)):
            yield _replaced(x, dict(zip(places, values, strict=True)))


def _make_patch(cls: Any, o: Many) -> Any:
    if o["fill"] is None:
        return cls(tuple(o["size"]), x_L=o.limit("low"), x_U=o.limit("up"))
    return cls(tuple(o["size"]), fill=o.limit("fill"))


# ---------------------------------------------------------------------- categories and words


def _draw_categories(
    shape: random.Random, draw: random.Random, x: tuple[float, ...], eps: float, numbers: Any
) -> Any:
    if len(x) < 2:
        return None
    split = shape.choice((len(x), 2)) if len(x) == 4 else len(x)
    groups = [list(range(k, min(k + split, len(x)))) for k in range(0, len(x), split)]
    chosen = [draw.choice(group) for group in groups]
    hot = tuple(1.0 if i in chosen else 0.0 for i in range(len(x)))
    return {"groups": groups, "budget": draw.randint(0, len(groups))}, (len(x),), hot


def _category_corners(o: Options, x: Point, shape: tuple[int, ...]) -> Iterator[Point]:
    yield x
    for k in range(1, o["budget"] + 1):
        for changed in itertools.combinations(o["groups"], k):
            for columns in itertools.product(*changed):
                values = {i: Fraction(0) for group in changed for i in group}
                yield _replaced(x, values | dict.fromkeys(columns, Fraction(1)))


def _draw_words(
    shape: random.Random, draw: random.Random, x: tuple[float, ...], eps: float, numbers: Any
) -> Any:
    depth = 2 if len(x) == 4 else 1
    words = len(x) // depth
    options = {"budget": draw.randint(0, words), "substitutes": numbers((words, 2, depth))}
    return options, (words, depth), x


def _word_corners(o: Options, x: Point, shape: tuple[int, ...]) -> Iterator[Point]:
    yield x
    words, depth = shape
    for k in range(1, o["budget"] + 1):
        for places in itertools.combinations(range(words), k):
            for picks in itertools.product(range(2), repeat=k):
                values = {
                    t * depth + d: Fraction(o["substitutes"][t][s][d])
                    for t, s in zip(places, picks, strict=True)
                    for d in range(depth)
                }
                yield _replaced(x, values)


# ---------------------------------------------------------------------- convex sets


def _draw_affine(
    shape: random.Random, draw: random.Random, x: tuple[float, ...], eps: float, numbers: Any
) -> Any:
    count = shape.randint(1, 2)
    options = {"eps": eps, "norm": shape.choice(("inf", "2", "1")), "basis": numbers((count, len(x)))}
    return options, (len(x),), x


def _affine_corners(o: Options, x: Point, shape: tuple[int, ...]) -> Iterator[Point]:
    yield x
    n = len(o["basis"])
    moves = [tuple(s if i == k else 0 for k in range(n)) for i in range(n) for s in (-1, 1)]
    moves += list(itertools.product((-1, 1), repeat=n)) if o["norm"] == "inf" else []
    for move in moves:
        weights = [m * Fraction(o["eps"]) for m in move]
        yield tuple(
            v + sum(w * Fraction(row[i]) for w, row in zip(weights, o["basis"], strict=True))
            for i, v in enumerate(x)
        )


def _draw_ellipsoid(
    shape: random.Random, draw: random.Random, x: tuple[float, ...], eps: float, numbers: Any
) -> Any:
    factor = torch.tensor(numbers((len(x), len(x))), dtype=torch.float64)
    unit = torch.eye(len(x), dtype=torch.float64) * float(factor.square().max()) / 8
    matrix = factor @ factor.T + unit
    same = _in_float32(matrix)
    for _ in range(8):  # float32 rounds, and what was nearly singular may be indefinite then
        if int(torch.linalg.cholesky_ex(same)[1]):
            matrix = matrix + unit
            same = _in_float32(matrix)
    return {"covariance": same.tolist(), "eps": eps}, (len(x),), x


def _in_float32(matrix: torch.Tensor) -> torch.Tensor:
    rounded = matrix.float().double()
    return rounded.triu() + rounded.triu(1).T


def _ellipsoid_inside(o: Options, x: Point, z: Point) -> Point:
    move = [a - b for a, b in zip(z, x, strict=True)]
    solved = _solved([[Fraction(v) for v in row] for row in o["covariance"]], move)
    if solved is None:
        return x
    size = sum(a * b for a, b in zip(move, solved, strict=True))
    limit = Fraction(o["eps"]) ** 2
    if size > limit:
        share = (
            Fraction((float(limit) / float(size)) ** 0.5) * _SHORTER
            if 0 < float(size) < 1e300
            else Fraction(0)
        )
        move = [share * m for m in move]
        if share**2 * size > limit:
            return x
    return tuple(a + m for a, m in zip(x, move, strict=True))


def _solved(matrix: list[list[Fraction]], right: Sequence[Fraction]) -> list[Fraction] | None:
    """The solution of a positive definite system, by elimination; None if a pivot is not positive."""
    rows = [[*row, r] for row, r in zip(matrix, right, strict=True)]
    n = len(rows)
    for i in range(n):
        if rows[i][i] <= 0:
            return None
        for k in range(i + 1, n):
            factor = rows[k][i] / rows[i][i]
            rows[k] = [a - factor * b for a, b in zip(rows[k], rows[i], strict=True)]
    found = [Fraction(0)] * n
    for i in reversed(range(n)):
        rest = sum((rows[i][k] * found[k] for k in range(i + 1, n)), Fraction(0))
        found[i] = (rows[i][n] - rest) / rows[i][i]
    return found


def _draw_constraints(
    shape: random.Random, draw: random.Random, x: tuple[float, ...], eps: float, numbers: Any
) -> Any:
    rows = numbers((shape.randint(1, 3), len(x)))
    at = [float(sum(Fraction(a) * Fraction(v) for a, v in zip(row, x, strict=True))) for row in rows]
    size = [sum(abs(a * v) for a, v in zip(row, x, strict=True)) for row in rows]
    slack = [
        draw.choice((0.01, 1.0)) * eps * sum(map(abs, row)) + 1e-5 * s + 1e-30
        for row, s in zip(rows, size, strict=True)
    ]
    right = torch.tensor([a + s for a, s in zip(at, slack, strict=True)], dtype=torch.float64).float()
    ends = torch.tensor(x, dtype=torch.float64)
    low, up = (ends - eps).float().double(), (ends + eps).float().double()
    low, up = low.minimum(ends), up.maximum(ends)
    return {"A": rows, "b": right.tolist(), "low": low.tolist(), "up": up.tolist()}, (len(x),), x


def _make_constraints(cls: Any, o: Many) -> Any:
    return cls(o.numbers("A", at=1), o.numbers("b", at=1), x_L=o.numbers("low"), x_U=o.numbers("up"))


def _constraints_inside(o: Options, x: Point, z: Point) -> Point:
    limits = [*zip(map(Fraction, o["low"]), map(Fraction, o["up"]), strict=True)]
    move = [max(low, min(v, up)) - a for v, (low, up), a in zip(z, limits, x, strict=True)]
    share = Fraction(1)
    for row, right in zip(o["A"], o["b"], strict=True):
        along = sum(Fraction(a) * m for a, m in zip(row, move, strict=True))
        room = Fraction(right) - sum(Fraction(a) * v for a, v in zip(row, x, strict=True))
        if along > 0:
            share = min(share, max(room, Fraction(0)) / along)
    return tuple(a + share * m for a, m in zip(x, move, strict=True))


def _nominal(o: Options, x: Point, shape: tuple[int, ...]) -> Iterator[Point]:
    yield x


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "l0": Kind(
            draw=_draw_l0,
            make=lambda cls, o: cls(o.count("eps"), x_L=o.limit("low"), x_U=o.limit("up")),
            corners=_l0_corners,
        ),
        "patch": Kind(draw=_draw_patch, make=_make_patch, corners=_patch_corners),
        "categorical": Kind(
            draw=_draw_categories,
            make=lambda cls, o: cls([list(g) for g in o["groups"]], budget=o.count("budget")),
            corners=_category_corners,
        ),
        "synonym": Kind(
            draw=_draw_words,
            make=lambda cls, o: cls(o.count("budget"), o.numbers("substitutes")),
            corners=_word_corners,
        ),
        "affine": Kind(
            draw=_draw_affine,
            make=lambda cls, o: cls(
                PerturbationLpNorm(o.one("eps"), float(o["norm"])), o.numbers("basis", at=1)
            ),
            corners=_affine_corners,
        ),
        "ellipsoid": Kind(
            draw=_draw_ellipsoid,
            make=lambda cls, o: cls(o.numbers("covariance"), o.one("eps")),
            corners=_nominal,
            inside=_ellipsoid_inside,
        ),
        "linear_constraints": Kind(
            draw=_draw_constraints, make=_make_constraints, corners=_nominal, inside=_constraints_inside
        ),
    }
)


def draw_plugin_set(
    shape: random.Random,
    draw: random.Random,
    x: tuple[float, ...],
    eps: float,
    numbers: Callable[[Sequence[int]], Numbers],
    name: str,
) -> tuple[PluginSet, tuple[float, ...]] | None:
    """A set of a plugin, and the point that it is around; None where it does not fit, or is not installed.

    Args:
        shape: Where choices come from that the sets of a batch share.
        draw: Where numbers come from.
        x: The nominal point.
        eps: Size, in float32's numbers.
        numbers: Draws arrays.
        name: The set's name in the registry.
    """
    if name not in default_registry().perturbations:
        return None
    drawn = KINDS[name].draw(shape, draw, x, eps, numbers)
    if drawn is None:
        return None
    options, form, around = drawn
    return PluginSet(name, options, form), around
