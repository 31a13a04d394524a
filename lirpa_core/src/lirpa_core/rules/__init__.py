"""Families of rules: what an author states about an operator, and what methods then derive.

Everything that a rule is written with can be imported from here. A rule is one of

- `Linear`: affine in some arguments,
- `Bilinear`: a product of two arguments,
- `Unary`: one function applied to every element, described by a `Curve`; `smooth` makes one from the
  function and its inflections,
- `General`: an interval and two affine functions,

or an instance of a subclass of `Rule`, which has defaults for all methods but two.
"""

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import Diagonal, LinearOp
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.rules.allowances import Allowance, exact, relative
from lirpa_core.rules.base import MODES, Rule, Slope
from lirpa_core.rules.bilinear import Bilinear
from lirpa_core.rules.by_call import ByCall
from lirpa_core.rules.call import Call, Const, Operand, Slot
from lirpa_core.rules.general import General
from lirpa_core.rules.index_ranges import ID_OUT_OF_RANGE, require_in_range
from lirpa_core.rules.leaf_modules import LeafModule
from lirpa_core.rules.linear import Linear, LinearNative, StructuralOp, mixed, negative, positive
from lirpa_core.rules.mccormick import MIXTURE, Mixture, Product, mean_planes
from lirpa_core.rules.precision import KEPT, is_narrower
from lirpa_core.rules.pullback import pulled_back
from lirpa_core.rules.unary import (
    CONCAVE,
    CONVEX,
    Arc,
    Curve,
    Jump,
    Unary,
    line_bounds,
    parameter,
    smooth,
    smooth_curve,
)
from lirpa_core.rules.weights import WEIGHT_MIXTURE, weight_planes

__all__ = [
    "CONCAVE",
    "CONVEX",
    "ID_OUT_OF_RANGE",
    "KEPT",
    "MIXTURE",
    "MODES",
    "WEIGHT_MIXTURE",
    "Affine",
    "Allowance",
    "Arc",
    "Bilinear",
    "ByCall",
    "Call",
    "Const",
    "Curve",
    "Diagonal",
    "General",
    "Interval",
    "Jump",
    "LeafModule",
    "Linear",
    "LinearNative",
    "LinearOp",
    "Mixture",
    "Operand",
    "Product",
    "Relaxation",
    "Rule",
    "Slope",
    "Slot",
    "StructuralOp",
    "Unary",
    "exact",
    "is_narrower",
    "line_bounds",
    "mean_planes",
    "mixed",
    "negative",
    "parameter",
    "positive",
    "pulled_back",
    "relative",
    "require_in_range",
    "smooth",
    "smooth_curve",
    "weight_planes",
]
