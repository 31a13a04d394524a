"""Whether a model is continuous, so that its derivative tells how much it can change."""

from __future__ import annotations

import torch

from lirpa_core.errors import UnsupportedOperatorError
from lirpa_core.graph import Node
from lirpa_core.problem.problem import Problem
from lirpa_core.rules import is_narrower
from lirpa_core.rules.by_call import ByCall
from lirpa_core.rules.wrapped import Wrapped

aten = torch.ops.aten

#: Operators of several operands, or with several results, that jump.
_JUMPING = frozenset(
    {
        "remainder", "fmod", "floor_divide", "frac", "copysign", "nextafter", "atan2", "heaviside", "nan_to_num", "renorm",
        "fake_quantize_per_tensor_affine", "fake_quantize_per_channel_affine",
    }
)  # fmt: skip

#: Namespaces of operators that jump only if they are listed above or their curves say so; the rules of others have to say.
_KNOWN = frozenset({"aten", "lirpa"})

#: From this threshold on, PyTorch's default, the jump of softplus where it gives way to the identity is a rounding error:
#: 2e-9 where `beta · x` is 20.
_SOFTPLUS_THRESHOLD = 20


def refuse_jumps(problem: Problem) -> None:
    """Check that everything on the way from the perturbed inputs to the output is continuous.

    Args:
        problem: The bound problem of the model, without operators that are fused.

    Raises:
        UnsupportedOperatorError: Naming an operator that jumps, or of which it is not known that it does not.
    """
    for name, call in problem.calls.items():
        node = problem.graph[name]
        if not _is_continuous(problem, node):
            raise UnsupportedOperatorError(
                f"{call}: the function may jump here, or lirpa does not know that it does not; then no derivative bounds "
                "how much it changes, and there is no Lipschitz constant. Bounds of the Jacobian, where it exists, are those of "
                "lirpa_core.jacobian(...).lower and .upper."
            )


def _is_continuous(problem: Problem, node: Node) -> bool:
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):  # no public name for the type exists
        return False
    if not node.dtype.is_floating_point or is_narrower(node.dtype, problem.dtype):  # which rounds
        return False
    name = target._schema.name.partition("::")[2]
    if name in _JUMPING or (name == "div" and target._overloadname == "Tensor_mode"):
        return False
    call, rule = problem.calls[node.name], problem.rules[node.name]
    while isinstance(rule, Wrapped | ByCall):
        rule = rule.rule if isinstance(rule, Wrapped) else rule.of(call)
    curve = getattr(rule, "curve", None)
    curve = curve(call) if callable(curve) else curve
    if target.namespace not in _KNOWN and curve is None and not rule.continuous:
        return False
    if name == "softplus" and target.namespace == "aten":
        return float(call["threshold"]) >= _SOFTPLUS_THRESHOLD
    return not getattr(curve, "jumps", False)
