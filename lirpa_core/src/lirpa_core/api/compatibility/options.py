"""Options of `BoundedModule(bound_opts=...)` that auto_LiRPA has, as options of `BoundOptions`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lirpa_core.api.compatibility.wording import warn_of
from lirpa_core.errors import OptionError

_SPARSE = (
    "which elements of a layer are worth a backward pass is found by itself (see CROWN in the methods' page)"
)
_RULE = "every operator has one rule, whose lines hold whatever the option is"
_MEMORY = "memory is bounded by memory_budget and crown_batch_size"
_CONSTRAINTS = "bounds hold without constraints on the output too, so they are only wider than with them"

#: Options that mean nothing here, and what happens instead.
_TAKEN: Mapping[str, str] = {
    "bound_every_node": "bounds of all inner nodes are in result.intermediate",
    "sparse_intermediate_bounds": _SPARSE,
    "sparse_conv_intermediate_bounds": _SPARSE,
    "sparse_intermediate_bounds_with_ibp": _SPARSE,
    "minimum_sparsity": _SPARSE,
    "dynamic_forward": "forward bounds carry all inputs",
    "forward_max_dim": "forward bounds carry all inputs",
    "forward_refinement": "forward bounds are intersected with intervals at every node",
    "forward_before_compute_bounds": "bounds of a call depend on that call only",
    "sparse_features_alpha": "slopes are kept for every element",
    "sparse_spec_alpha": "slopes are kept for every row",
    "use_full_conv_alpha": "rows have slopes of their own unless use_shared_alpha is set or memory is short",
    "use_full_conv_alpha_thresh": "rows have slopes of their own unless use_shared_alpha is set or memory is short",
    "init_alpha": "CROWN-Optimized finds its first slopes by itself",
    "enable_opt_interm_bounds": "inner bounds are optimised unless fix_interm_bounds=True",
    "compare_crown_with_ibp": "backward bounds are always intersected with intervals",
    "loss_fusion": "lirpa_training.CertifiedLoss(fusion=True) fuses a loss",
    "softmax": _RULE,
    "matmul": _RULE,
    "mul": _RULE,
    "exp": _RULE,
    "tanh": _RULE,
    "sigmoid": _RULE,
    "layernorm": _RULE,
    "div": _RULE,
    "bilinear": _RULE,
    "fixed_reducemax_index": _RULE,
    "buffers": "buffers are shared by all examples, and what examples have of their own is an input",
    "optimize_graph": "the graph is simplified while it is captured",
    "build_graph": "the graph is captured once",
    "deterministic": "torch.use_deterministic_algorithms says so for the whole program",
    "verbosity": "nothing is printed",
    "verbose": "nothing is printed",
    "max_crown_size": _MEMORY,
    "batched_crown_max_vram_ratio": _MEMORY,
    "use_sub_batch_crown": _MEMORY,
    "tighten_input_bounds": _CONSTRAINTS,
    "apply_output_constraints_to": _CONSTRAINTS,
    "output_constraints": _CONSTRAINTS,
    "best_of_oc_and_no_oc": _CONSTRAINTS,
    "directly_optimize": "optimize_bound_args says what is optimised",
    "multiple_input_nodes": "every input may be perturbed",
}

_BEST = "of all steps the best bound of each row and example is kept"
_ALL_STEPS = "all steps are taken, and bounds only get tighter by them"
_NO_BETA = "splits and cutting planes belong to lirpa_verify, which proves and refutes properties"

#: The same for the entries of `optimize_bound_args`.
_TAKEN_BY_SEARCH: Mapping[str, str] = {
    "enable_alpha_crown": "the method says whether slopes are optimised",
    "enable_beta_crown": _NO_BETA,
    "enable_SDP_crown": "the method says how slopes are optimised",
    "optimizer": "slopes are optimised by Adam",
    "keep_best": _BEST,
    "start_save_best": _BEST,
    "use_float64_in_last_iteration": "bounds are rounded outward in their own type",
    "early_stop": _ALL_STEPS,
    "early_stop_patience": _ALL_STEPS,
    "stop_criterion_func": _ALL_STEPS,
    "pruning_in_iteration": _ALL_STEPS,
    "pruning_in_iteration_threshold": _ALL_STEPS,
    "multi_spec_keep_func": _ALL_STEPS,
    "loss_reduction_func": "the sum of all bounds is optimised, and each row and example keeps its best",
    "init_alpha": "CROWN-Optimized finds its first slopes by itself",
    "lr_init_alpha": "CROWN-Optimized finds its first slopes by itself",
    "lr_beta": _NO_BETA,
    "lr_cut_beta": _NO_BETA,
    "lr_coeffs": _NO_BETA,
    "lr_mini_beta": _NO_BETA,
    "lr_intermediate_beta": _NO_BETA,
    "intermediate_beta": _NO_BETA,
    "intermediate_refinement_layers": "the bounds of all inner layers are optimised unless fix_interm_bounds=True",
    "joint_optimization_start_iteration": "inner bounds are optimised before those of the output",
    "apply_output_constraints_to": _CONSTRAINTS,
    "tighten_input_bounds": _CONSTRAINTS,
    "best_of_oc_and_no_oc": _CONSTRAINTS,
    "directly_optimize": _CONSTRAINTS,
    "oc_lr": _CONSTRAINTS,
    "share_gammas": _CONSTRAINTS,
    "init_gammas": _CONSTRAINTS,
    "lr_gamma": _CONSTRAINTS,
    "sparse_spec_alpha": "slopes are kept for every row",
    "verbosity": "nothing is printed",
    "deterministic": "torch.use_deterministic_algorithms says so for the whole program",
}

#: Names that are taken, for suggestions where one is misspelt.
OPTION_NAMES = ("activation_bound_option", *_TAKEN)
SEARCH_NAMES = tuple(_TAKEN_BY_SEARCH)

#: Prefix that older versions wrote before the entries of `optimize_bound_args`.
_OLD_PREFIX = "ob_"


def translated_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options of auto_LiRPA as those of `BoundOptions`; all others as they are.

    Warns once of those that mean nothing here, and says what happens instead.

    Args:
        given: Options by name.

    Raises:
        OptionError: For an entry of `optimize_bound_args` whose value cannot be used.
    """
    found: dict[str, Any] = {}
    taken: dict[str, str] = {}
    for name, value in given.items():
        if name == "activation_bound_option":
            found["relu"] = value
        elif name == "crown_batch_size" and isinstance(value, float):
            found[name] = None if value == math.inf else _whole(name, value)
        elif name == "optimize_bound_args" and isinstance(value, Mapping):
            found[name] = _translated_search(value, taken)
        elif name in _TAKEN:
            taken[name] = _TAKEN[name]
        else:
            found[name] = value
    warn_of("options", taken)
    return found


def _translated_search(given: Mapping[str, Any], taken: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for written, value in given.items():
        name = written.removeprefix(_OLD_PREFIX)
        if name not in _TAKEN_BY_SEARCH:
            found[name] = value
        elif _says_something(name, value):
            taken[name] = _TAKEN_BY_SEARCH[name]
    return found


def _says_something(name: str, value: Any) -> bool:
    """Whether an entry asks for anything else than what happens anyway."""
    usual: Mapping[str, tuple[Any, ...]] = {
        "optimizer": ("adam",),
        "keep_best": (True,),
        "enable_alpha_crown": (True,),
        "verbosity": (0,),
    }
    return value not in usual.get(name, (False, None, "", [], ()))


def _whole(name: str, value: float) -> int:
    if not value.is_integer():
        raise OptionError(f"option {name}={value!r}: expected a positive whole number, infinity or None.")
    return int(value)
