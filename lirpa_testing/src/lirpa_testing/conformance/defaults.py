"""Calls for operators that declare none, where the schema leaves no doubt: one tensor, and defaults."""

from __future__ import annotations

import inspect
from types import FunctionType
from typing import Any

from torch import nn

from lirpa_core.rules import Call, Operand
from lirpa_testing.conformance.cases import RuleCase
from lirpa_testing.rules.domains import ANYWHERE

_SHAPE = (3,)


def default_case(key: Any, plugin: str) -> RuleCase | None:
    """A case for an operator (class of modules, function) of one tensor; None for others.

    Args:
        key: What the rule is registered for.
        plugin: Who registers it.
    """
    target = _target(key)
    if target is None:
        return None
    try:
        call = Call.of(target, Operand(_SHAPE))
    except Exception:  # noqa: BLE001 - whatever the operator raises: it wants another call
        return None
    return RuleCase(plugin, "three elements", call, (ANYWHERE,))


def _target(key: Any) -> Any:
    if isinstance(key, type):
        try:
            module = key()
        except Exception:  # noqa: BLE001 - the class wants arguments
            return None
        return (
            module.double().eval() if isinstance(module, nn.Module) and _takes_one(module.forward) else None
        )
    if isinstance(key, FunctionType):
        return key if _takes_one(key) else None
    arguments = key._schema.arguments  # the only access to the types of arguments
    needed = [a for a in arguments if not a.has_default_value()]
    return key if len(needed) == 1 and needed[0] is arguments[0] and str(needed[0].type) == "Tensor" else None


def _takes_one(function: Any) -> bool:
    parameters = list(inspect.signature(function).parameters.values())
    needed = [p for p in parameters if p.default is p.empty]
    return len(needed) == 1 and needed[0] is parameters[0] and needed[0].kind is not needed[0].VAR_POSITIONAL
