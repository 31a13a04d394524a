"""The unary family: a function of one variable, described as a curve, bounded by lines of any slope."""

from lirpa_core.rules.unary.curve import (
    CONCAVE,
    CONVEX,
    LOWER,
    UPPER,
    Arc,
    Curve,
    Jump,
    Lines,
    Point,
    Position,
    Span,
    clip,
)
from lirpa_core.rules.unary.lines import default_slopes, intercept, line_bounds, slope_range, supporting_slope
from lirpa_core.rules.unary.rule import Unary, parameter
from lirpa_core.rules.unary.several import UnaryOrSeveral
from lirpa_core.rules.unary.smooth import smooth, smooth_curve
from lirpa_core.rules.unary.tangent import chord, point_of_slope, tangent_point

__all__ = [
    "CONCAVE",
    "CONVEX",
    "LOWER",
    "UPPER",
    "Arc",
    "Curve",
    "Jump",
    "Lines",
    "Point",
    "Position",
    "Span",
    "Unary",
    "UnaryOrSeveral",
    "chord",
    "clip",
    "default_slopes",
    "intercept",
    "line_bounds",
    "parameter",
    "point_of_slope",
    "slope_range",
    "smooth",
    "smooth_curve",
    "supporting_slope",
    "tangent_point",
]
