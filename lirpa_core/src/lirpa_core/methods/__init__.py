"""Ways to bound a graph: objects with options of their own, composed from one traversal each way.

What an author of a method needs can be imported from here: `Method` and what its functions return, the traversals
`intervals`, `forward` and `backward`, relaxations on given intervals, and the methods of the core.
"""

from lirpa_core.linear.affine import AffineForm
from lirpa_core.methods.alpha_crown import AlphaCROWN
from lirpa_core.methods.auto import Auto
from lirpa_core.methods.base import Choice, IntermediateBounds, Method, RowBounds
from lirpa_core.methods.crown import CROWN
from lirpa_core.methods.forward import Forward
from lirpa_core.methods.forward_traversal import AffineBounds, forward
from lirpa_core.methods.hybrid import Hybrid, crown_forward, crown_ibp
from lirpa_core.methods.ibp import IBP
from lirpa_core.methods.rows import bound_rows
from lirpa_core.methods.slope_search import SlopeSearch
from lirpa_core.methods.slopes import FreeSlope, Slopes, free_slopes, with_slopes
from lirpa_core.methods.traversal import backward, intervals
from lirpa_core.problem.problem import Problem
from lirpa_core.problem.relaxations import Relax, Relaxations, by_rule

__all__ = [
    "CROWN",
    "IBP",
    "AffineBounds",
    "AffineForm",
    "AlphaCROWN",
    "Auto",
    "Choice",
    "Forward",
    "FreeSlope",
    "Hybrid",
    "IntermediateBounds",
    "Method",
    "Problem",
    "Relax",
    "Relaxations",
    "RowBounds",
    "SlopeSearch",
    "Slopes",
    "backward",
    "bound_rows",
    "by_rule",
    "crown_forward",
    "crown_ibp",
    "forward",
    "free_slopes",
    "intervals",
    "with_slopes",
]
