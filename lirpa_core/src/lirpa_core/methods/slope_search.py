"""Settings of the search for slopes, under the names that users of auto_LiRPA know."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SlopeSearch:
    """How slopes are optimised, under the names that users of auto_LiRPA know.

    Attributes:
        iteration: Steps of the optimiser (Adam).
        lr_alpha: Its step size, as a fraction of the range of slopes worth a try (for a ReLU, of 0 to 1).
        lr_decay: Factor on the step size after every step.
        use_shared_alpha: Whether all rows share their slopes: looser, and leaner by the number of rows.
        fix_interm_bounds: Whether the bounds of inner nodes stay those of CROWN; else those that CROWN leaves open are
            searched for too, layer by layer: tighter, and slower where there are many of them.
        inner_iteration: Steps of each of these searches; no more than `iteration`.
        inner_rows: How many neurons of a layer are searched for at most in each example, those of the widest intervals; None: all.
    """

    iteration: int = 20
    lr_alpha: float = 0.25
    lr_decay: float = 0.98
    use_shared_alpha: bool = False
    fix_interm_bounds: bool = False
    inner_iteration: int = 8
    inner_rows: int | None = 64
