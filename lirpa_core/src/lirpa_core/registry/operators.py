"""The registry that `lirpa_register_operators` receives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lirpa_core.bounds.linear_map.base import Kernel, LinearMap
from lirpa_core.bounds.linear_op import LinearOp
from lirpa_core.errors import PluginError
from lirpa_core.registry.collector import Collector
from lirpa_core.registry.entries import (
    Claim,
    Contribution,
    DecompositionEntry,
    Fusion,
    FusionEntry,
    KernelEntry,
    OperatorEntry,
    PluginInfo,
)
from lirpa_core.registry.resolve import Operator, OperatorLike, is_operator_like, key_label, resolve_operator
from lirpa_core.rules.base import MODES, Rule

_RULE_MEMBERS = tuple(name for name in vars(Rule) if not name.startswith("_"))
_RULE_METHODS = tuple(name for name in _RULE_MEMBERS if name not in ("family", "modes"))


class OperatorRegistry(Collector):
    """Collects what one plugin registers for operators.

    An operator may be given as an overload (`torch.ops.aten.relu.default`), as a packet with a
    single overload, as a `torch.library.custom_op`, or by name (`"mylib::op"`).
    """

    def __init__(self, plugin: str) -> None:
        super().__init__(plugin)
        self._operators: dict[Operator, Claim[Operator, OperatorEntry]] = {}
        self._decompositions: dict[Operator, Claim[Operator, DecompositionEntry]] = {}
        self._fusions: dict[Operator, Claim[Operator, FusionEntry]] = {}
        self._kernels: dict[tuple[Any, type[LinearMap]], Claim[tuple[Any, type[LinearMap]], KernelEntry]] = {}

    def register(self, op: OperatorLike, rule: Rule, *, override: bool = False) -> None:
        """Give an operator a rule.

        Args:
            op: The operator.
            rule: How to bound it.
            override: Replace the rule that another plugin registers without `override`.

        Raises:
            PluginError: The operator is not known, the rule is not one, or this plugin has
                registered a rule for the operator already.
        """
        overload = self._resolve(op)
        what = f"operator {overload}"
        self._check_rule(what, rule)
        self._add(
            self._operators, what, Claim(overload, OperatorEntry(overload, rule, self.plugin), override)
        )

    def decompose(self, op: OperatorLike, function: Callable[..., Any], *, override: bool = False) -> None:
        """Say how an operator falls apart where it has no rule.

        Args:
            op: The operator.
            function: Takes the operator's arguments and computes the same from other operators; it is
                traced when a model is captured.
            override: Replace the decomposition that another plugin registers without `override`.

        Raises:
            PluginError: The operator is not known, the function not callable, or registered twice.
        """
        overload = self._resolve(op)
        what = f"decomposition of {overload}"
        if not callable(function):
            self._refuse(what, f"expected a function, got {_describe(function)}")
        entry = DecompositionEntry(overload, function, self.plugin)
        self._add(self._decompositions, what, Claim(overload, entry, override))

    def fuse(self, op: OperatorLike, function: Fusion, *, override: bool = False) -> None:
        """Let an operator become another one where what it reads allows that.

        Args:
            op: The operator.
            function: `(node, nodes before it by name) -> node`: a node of the same name, shape and value with
                another target, or None to leave it as it is. It is asked when a model is captured.
            override: Replace the fusion that another plugin registers without `override`.

        Raises:
            PluginError: The operator is not known, the function not callable, or registered twice.
        """
        overload = self._resolve(op)
        what = f"fusion of {overload}"
        if not callable(function):
            self._refuse(what, f"expected a function, got {_describe(function)}")
        entry = FusionEntry(overload, function, self.plugin)
        self._add(self._fusions, what, Claim(overload, entry, override))

    def kernel(
        self,
        op_key: OperatorLike | type[LinearOp],
        structure: type[LinearMap],
        kernel: Kernel,
        *,
        override: bool = False,
    ) -> None:
        """Say how structured coefficients are pulled through a linear operator.

        Args:
            op_key: The `key` of the `LinearOp`: an operator, or the type of the `LinearOp`.
            structure: The structure that the kernel accepts; subclasses are offered to it too.
            kernel: `(op, map) -> map`, or None where it cannot.
            override: Replace the kernel that another plugin registers without `override`.

        Raises:
            PluginError: A part is not what it should be, or the pair is registered twice.
        """
        if is_operator_like(op_key):
            key: Any = self._resolve(op_key)
        elif _is_subclass(op_key, LinearOp):
            key = op_key
        else:
            self._refuse("kernel", f"expected an operator or a LinearOp type, got {_describe(op_key)}")
        what = f"kernel of {key_label(key)}"
        if not _is_subclass(structure, LinearMap):
            self._refuse(what, f"expected a LinearMap type as structure, got {_describe(structure)}")
        if not callable(kernel):
            self._refuse(what, f"expected a function (op, map) -> map, got {_describe(kernel)}")
        entry = KernelEntry(key, structure, kernel, self.plugin)
        what = f"{what} for {structure.__name__}"
        self._add(self._kernels, what, Claim((key, structure), entry, override))

    def contribution(self, plugin: PluginInfo) -> Contribution:
        """Everything collected, as one plugin's contribution."""
        return Contribution(
            plugin,
            operators=tuple(self._operators.values()),
            decompositions=tuple(self._decompositions.values()),
            fusions=tuple(self._fusions.values()),
            kernels=tuple(self._kernels.values()),
        )

    def _resolve(self, op: OperatorLike) -> Operator:
        try:
            return resolve_operator(op)
        except PluginError as error:
            raise PluginError(f"plugin '{self.plugin}': {error}") from None

    def _check_rule(self, what: str, rule: Any) -> None:
        if isinstance(rule, type):
            self._refuse(what, f"expected a rule, got the class {rule.__name__}; pass an instance of it")
        lacking = [name for name in _RULE_MEMBERS if not hasattr(rule, name)]
        if lacking:
            self._refuse(
                what,
                f"expected a rule, an object with {', '.join(_RULE_MEMBERS)}; "
                f"got {_describe(rule)}, which lacks {', '.join(lacking)}",
            )
        for name in _RULE_METHODS:
            if not callable(getattr(rule, name)):
                self._refuse(what, f"expected a rule with a method `{name}`, got {getattr(rule, name)!r}")
        if not isinstance(rule.family, str) or not rule.family:
            self._refuse(what, f"expected a rule whose `family` is a word, got {rule.family!r}")
        if not isinstance(rule.modes, tuple) or not rule.modes or any(m not in MODES for m in rule.modes):
            self._refuse(
                what, f"expected a rule whose `modes` is a tuple of some of {MODES}, got {rule.modes!r}"
            )


def _describe(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__qualname__}"
    return f"{value!r} of type {type(value).__qualname__}"


def _is_subclass(value: object, base: type) -> bool:
    return isinstance(value, type) and issubclass(value, base)
