"""Rules of ATen operators, grouped as users look for them.

What rules of composite operators are made from can be imported from here: curves of activations, lookups, products of
matrices, and decompositions.
"""

from lirpa_core.operators.activation.gated import GELU, GELU_TANH, SILU
from lirpa_core.operators.activation.s_shaped import SIGMOID, TANH
from lirpa_core.operators.arithmetic import diagonal, factor
from lirpa_core.operators.composites_as_executed import as_executed
from lirpa_core.operators.conditions import any_over_broadcast
from lirpa_core.operators.decompositions import (
    attention_scores,
    group_norm,
    instance_norm,
    layer_norm,
    over_last,
    rms_norm,
)
from lirpa_core.operators.indexing import Gather, gather_rows
from lirpa_core.operators.matmul import MatMul

__all__ = [
    "GELU",
    "GELU_TANH",
    "SIGMOID",
    "SILU",
    "TANH",
    "Gather",
    "MatMul",
    "any_over_broadcast",
    "as_executed",
    "attention_scores",
    "diagonal",
    "factor",
    "gather_rows",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "over_last",
    "rms_norm",
]
