"""Keywords of `BoundedModule` and of `compute_bounds` that auto_LiRPA has."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lirpa_core.api.compatibility.wording import unknown, warn_of
from lirpa_core.api.intermediate_bounds import given_intervals
from lirpa_core.api.options import BoundOptions
from lirpa_core.errors import OptionError
from lirpa_core.methods.base import IntermediateBounds
from lirpa_core.problem.problem import Problem

_ANEW = "everything is computed anew, so nothing can be out of date"

#: Keywords of `compute_bounds` that may be ignored, because the bounds hold as well, and what happens instead.
_TAKEN: Mapping[str, str] = {
    "reuse_ibp": _ANEW,
    "reuse_alpha": "slopes are optimised anew; interm_bounds= hands over the bounds of inner nodes",
    "alpha_idx": "slopes are optimised anew",
    "cache_bounds": "the result keeps the bounds of inner nodes, result.intermediate",
    "aux_reference_bounds": "bounds of inner nodes that are known go to interm_bounds= or reference_bounds=",
    "need_A_only": "the bounds are computed as well",
    "decision_thresh": "all examples are bounded to the end; lirpa_verify stops where a property is decided",
    "update_mask": "all examples are bounded",
    "ibp_nodes": "the method says how inner nodes are bounded, and method='IBP' bounds all of them by intervals",
}

#: Keywords without which the result would be another one.
_REFUSED: Mapping[str, str] = {
    "aux": "data that a set needs belongs to the set: give it to the perturbation",
    "average_A": "average the linear bounds that return_A=True gives: A[output][input]['lA'].mean(0)",
    "intermediate_constr": "constraints on neurons belong to lirpa_verify, which splits and proves",
    "cutter": "cutting planes belong to a verifier, and lirpa_verify searches without them",
}

_TRANSLATED = ("final_node_name", "reference_bounds")


@dataclass(frozen=True, eq=False)
class Keywords:
    """What other keywords mean.

    Attributes:
        output: The node to bound.
        reference: Bounds of inner nodes to intersect with, by node name or module path.
    """

    output: int | str | None
    reference: Mapping[str, Any] | None = None

    def intersected(self, problem: Problem, inner: IntermediateBounds) -> IntermediateBounds:
        """Bounds of inner nodes, the tighter of what a method found and the reference."""
        if not self.reference:
            return inner
        known = given_intervals(problem, self.reference)
        intervals = {
            name: interval.intersect(known[name]) if name in known else interval
            for name, interval in inner.intervals.items()
        }
        return dataclasses.replace(inner, intervals=intervals, relaxations=None)


def other_keywords(given: Mapping[str, Any], output: int | str | None) -> Keywords:
    """Keywords of auto_LiRPA's `compute_bounds` that lirpa's has not.

    Warns once of those that mean nothing here, and says what happens instead. Their defaults pass in silence.

    Args:
        given: Keywords and values.
        output: What `output=` says.

    Raises:
        OptionError: For an unknown keyword, or one without which the result would be another one.
    """
    taken: dict[str, str] = {}
    for name, value in given.items():
        if name in _REFUSED and _is_set(value):
            raise OptionError(f"compute_bounds({name}=...): {_REFUSED[name]}.")
        if name in _TAKEN and _is_set(value):
            taken[name] = _TAKEN[name]
        if name not in _REFUSED and name not in _TAKEN and name not in _TRANSLATED:
            if name == "bound_opts" or name in _OPTIONS:
                raise OptionError(
                    f"compute_bounds takes no {name!r}: options belong to the model. Give them as "
                    "BoundedModule(..., bound_opts={...}), or change them by set_bound_opts({...})."
                )
            known = (*_TRANSLATED, *_TAKEN, *_REFUSED, *_KEYWORDS)
            raise unknown("keyword of compute_bounds", name, known)
    warn_of("keywords", taken)
    named = given.get("final_node_name")
    return Keywords(named if output is None else output, given.get("reference_bounds"))


#: Keywords of `init_alpha`, and what happens instead.
_TAKEN_BY_INIT: Mapping[str, str] = {
    "share_alphas": "optimize_bound_args={'use_shared_alpha': True} shares slopes",
    "activation_opt_params": "CROWN-Optimized finds its first slopes by itself",
    "skip_bound_compute": "the bounds are computed, since they are what the call is for",
}


def without_init_keywords(given: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords of `init_alpha` that go on to `compute_bounds`; warns once of those that mean nothing here."""
    warn_of("keywords", {n: text for n, text in _TAKEN_BY_INIT.items() if _is_set(given.get(n))})
    return {name: value for name, value in given.items() if name not in _TAKEN_BY_INIT}


#: Keywords of `compute_bounds` in both systems, for suggestions.
_KEYWORDS = (
    "x", "C", "method", "IBP", "forward", "bound_lower", "bound_upper", "return_A", "needed_A_dict", "interm_bounds",
    "kwargs", "output", "batch_state", "time_budget", "memory_budget",
)  # fmt: skip


#: Names of options of a bounded module.
_OPTIONS = frozenset(field.name for field in dataclasses.fields(BoundOptions))


def _is_set(value: Any) -> bool:
    empty = isinstance(value, (dict, list, tuple, set)) and not value
    return not (value is None or value is False or empty)


def constructor_keywords(given: Mapping[str, Any], example: Any) -> Any:
    """The example input of a `BoundedModule`, from keywords that auto_LiRPA has.

    Args:
        given: Keywords and values: `global_input`, `verbose`, `custom_ops`.
        example: What was given in the place of the example.

    Raises:
        OptionError: For an unknown keyword, custom operators, or no example at all.
    """
    known = ("global_input", "verbose", "custom_ops")
    for name in given:
        if name not in known:
            ours = ("model", "example", "bound_opts", "device", "registry", "kwargs", "batch_dims")
            raise unknown("keyword of BoundedModule", name, (*known, *ours))
    if given.get("custom_ops"):
        raise OptionError(f"BoundedModule(custom_ops=...): {CUSTOM_OPERATORS}")
    if given.get("verbose"):
        warn_of("keywords", {"verbose": "nothing is printed"})
    return given.get("global_input", example)


CUSTOM_OPERATORS = (
    "an operator of your own has a rule here, which states what the function is, and not a class that computes "
    "coefficients: registry=default_registry().with_rules({function: rule}); see 'Custom operators' in docs/migrating.md."
)
