"""Typed options of a bounded model, under the names that users of auto_LiRPA know."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from lirpa_core.api.compatibility.options import OPTION_NAMES, SEARCH_NAMES, translated_options
from lirpa_core.api.tripwire import Tripwire
from lirpa_core.errors import OptionError
from lirpa_core.methods.slope_search import SlopeSearch
from lirpa_core.progress import Report

ReluSlope: TypeAlias = Literal["adaptive", "same-slope", "zero-lb", "one-lb", "reversed-adaptive"]
HardtanhSlope: TypeAlias = Literal["adaptive", "same-slope"]
Rounding: TypeAlias = Literal["outward", "nearest"]
Covers: TypeAlias = Literal["real", "float"]
ConvMode: TypeAlias = Literal["patches", "matrix"]


@dataclass(frozen=True)
class BoundOptions:
    """Options of `BoundedModule(..., bound_opts={...})`.

    Attributes:
        relu: Slope of the lower line of an unstable ReLU: `"adaptive"` (0 or 1, the smaller area),
            `"same-slope"` (that of the upper line), `"zero-lb"` (always 0), `"one-lb"` (always 1),
            `"reversed-adaptive"` (1 or 0, the larger area).
        hardtanh: Slopes of a hardtanh where it is not straight: `"adaptive"` (those that lose the least area), or
            `"same-slope"` (that of the upper line for both).
        conv_mode: Form of the coefficients of convolutions, `"patches"` or `"matrix"` (dense), for
            plugins that have a choice.
        crown_batch_size: At most so many rows in one backward pass; None: as many as fit.
        memory_budget: Bytes that coefficients may take; None: 32 MiB on a CPU, where more is slower, and a
            quarter of the free memory elsewhere.
        rounding: `"outward"`: bounds hold in exact arithmetic, the rounding of their own computation included;
            `"nearest"`: as computed, which is faster, and wrong by as much as cancellation makes of it.
        covers: What the bounds are about: `"real"`: the model in real arithmetic; `"float"`: the model as it is executed in
            its floating-point types, whatever the order of summation, on any number of threads and for any batch size;
            a little wider, and refused where it is not known how an operator is executed.
        tripwire: Whether the model itself is run at the nominal point, in evaluation mode, and must give a value inside
            of its bounds: at every computation, with IBP (which costs little more than that) at the first, second,
            fourth, eighth and so on; `"corners"`: always, and at eight extreme points of the sets too.
        optimize_bound_args: How CROWN-Optimized searches: a `SlopeSearch`, or a mapping with some of
            its fields.
        progress: Is called with a `Progress` now and then, while a model is captured and while bounds are computed;
            None: nobody is told. What it raises ends the computation.
    """

    relu: ReluSlope = "adaptive"
    hardtanh: HardtanhSlope = "adaptive"
    conv_mode: ConvMode = "patches"
    crown_batch_size: int | None = None
    memory_budget: int | None = None
    rounding: Rounding = "outward"
    covers: Covers = "real"
    tripwire: Tripwire = True
    optimize_bound_args: SlopeSearch = field(default_factory=SlopeSearch)
    progress: Report | None = None

    def __post_init__(self) -> None:
        _one_of("relu", self.relu, get_args(ReluSlope))
        _one_of("hardtanh", self.hardtanh, get_args(HardtanhSlope))
        _one_of("rounding", self.rounding, get_args(Rounding))
        _one_of("covers", self.covers, get_args(Covers))
        if self.covers == "float" and self.rounding != "outward":
            raise OptionError(
                'covers="float" with rounding="nearest": bounds of what is executed must round outward themselves.'
            )
        _one_of("tripwire", self.tripwire, (True, False, "corners"))
        _one_of("conv_mode", self.conv_mode, get_args(ConvMode))
        if self.progress is not None and not callable(self.progress):
            raise OptionError(
                f"option progress={self.progress!r}: expected a function of a lirpa_core.Progress, or None."
            )
        positive("crown_batch_size", self.crown_batch_size)
        positive("memory_budget", self.memory_budget)
        positive("optimize_bound_args.iteration", self.optimize_bound_args.iteration)

    def updated(self, changes: Mapping[str, Any] | None) -> BoundOptions:
        """These options with some changed.

        Args:
            changes: Option names and values; those of auto_LiRPA as well (see `compatibility`), such as
                `activation_bound_option` for `relu`.

        Raises:
            OptionError: For an unknown name (with the nearest known one) or a wrong value.
        """
        if changes is not None and not isinstance(changes, Mapping):
            raise OptionError(
                f"bound_opts is {changes!r}: expected a dictionary, such as {{'rounding': 'nearest'}}."
            )
        changes = translated_options(changes or {})
        _refuse_unknown(changes, [f.name for f in dataclasses.fields(self)], *OPTION_NAMES)
        search = changes.get("optimize_bound_args")
        if isinstance(search, Mapping):
            _refuse_unknown(search, [f.name for f in dataclasses.fields(SlopeSearch)], *SEARCH_NAMES)
            changes["optimize_bound_args"] = dataclasses.replace(self.optimize_bound_args, **search)
        return dataclasses.replace(self, **changes)


def _refuse_unknown(given: Mapping[str, Any], known: list[str], *aliases: str) -> None:
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(str(name), [*known, *aliases], n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise OptionError(f"unknown option {name!r}.{hint} The options are: {', '.join(known)}.")


def _one_of(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise OptionError(f"option {name}={value!r}: expected one of {', '.join(map(repr, allowed))}.")


def positive(name: str, value: object) -> None:
    """Refuse what is neither None nor a positive whole number."""
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise OptionError(f"option {name}={value!r}: expected a positive whole number, or None.")
