"""The registry that `lirpa_register_operators` receives."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from torch import nn

from lirpa_core.errors import PluginError
from lirpa_core.linear.coefficients.base import Coefficients, Kernel
from lirpa_core.linear.operators import LinearOp
from lirpa_core.plugins.collector import Collector
from lirpa_core.plugins.entries import (
    AllowanceEntry,
    Contribution,
    DecompositionEntry,
    Fusion,
    FusionEntry,
    KernelEntry,
    LeafModuleEntry,
    OperatorEntry,
    PluginInfo,
    Registration,
    RuleFactory,
)
from lirpa_core.plugins.operator_names import (
    Operator,
    OperatorLike,
    is_operator_like,
    key_label,
    resolve_operator,
)
from lirpa_core.rules.allowances import Allowance
from lirpa_core.rules.base import MODES, Rule

_RULE_METHODS = tuple(
    name for name, member in vars(Rule).items() if callable(member) and not name.startswith("_")
)


class OperatorRegistry(Collector):
    """Collects what one plugin registers for operators.

    A rule belongs to an operator (`register`), to a class of modules (`module`), or to a Python
    function (`function`). An operator may be given as an overload (`torch.ops.aten.relu.default`), as a packet with a
    single overload, as a `torch.library.custom_op`, or by name (`"mylib::op"`).
    """

    def __init__(self, plugin: str) -> None:
        super().__init__(plugin)
        self._operators: dict[Operator, Registration[Operator, OperatorEntry]] = {}
        self._leaf_modules: dict[Any, Registration[Any, LeafModuleEntry]] = {}
        self._decompositions: dict[Operator, Registration[Operator, DecompositionEntry]] = {}
        self._as_executed: dict[Operator, Registration[Operator, DecompositionEntry]] = {}
        self._allowances: dict[Operator, Registration[Operator, AllowanceEntry]] = {}
        self._fusions: dict[Operator, Registration[Operator, FusionEntry]] = {}
        self._kernels: dict[
            tuple[Any, type[Coefficients]], Registration[tuple[Any, type[Coefficients]], KernelEntry]
        ] = {}

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
            self._operators,
            what,
            Registration(overload, OperatorEntry(overload, rule, self.plugin), override),
        )

    def module(self, cls: type[nn.Module], rule: Rule | RuleFactory, *, override: bool = False) -> None:
        """Give a class of modules a rule: capture then keeps its instances whole.

        The rule sees a call whose arguments are those of `forward`, and the module's parameters and
        buffers by their names. Subclasses are not meant: they may compute something else. `forward` must
        compute its result from these alone, and return a tensor or a tuple of tensors.

        Args:
            cls: The class.
            rule: How to bound it, or a function that makes the rule from the module; it may return None
                for a module that is to be taken apart instead.
            override: Replace the rule that another plugin registers without `override`.

        Raises:
            PluginError: Something else was given, or this plugin has registered the class already.
        """
        if not _is_subclass(cls, nn.Module):
            self._refuse("module", f"expected a subclass of torch.nn.Module, got {_describe(cls)}")
        what = f"module {cls.__qualname__}"
        if isinstance(rule, Rule):
            self._check_rule(what, rule)
        elif not callable(rule) or _is_subclass(rule, Rule):
            self._refuse(
                what, f"expected a rule, or a function from the module to one, got {_describe(rule)}"
            )
        self._add(
            self._leaf_modules, what, Registration(cls, LeafModuleEntry(cls, rule, self.plugin), override)
        )

    def function(self, function: Callable[..., Any], rule: Rule, *, override: bool = False) -> None:
        """Give a plain Python function a rule: capture then keeps its calls whole.

        The rule sees a call whose arguments are those of the function, by name. It does not matter how
        the model came by the function. Its result must be a tensor or a tuple of tensors.

        Args:
            function: The function, written in Python.
            rule: How to bound it.
            override: Replace the rule that another plugin registers without `override`.

        Raises:
            PluginError: Something else was given, or this plugin has registered the function already.
        """
        if not isinstance(function, FunctionType):
            self._refuse(
                "function",
                f"expected a function written in Python (def or lambda), got {_describe(function)}; for a "
                "module register its class with `module`, for an operator of torch use `register`",
            )
        what = f"function {function.__qualname__}"
        self._check_rule(what, rule)
        self._add(
            self._leaf_modules,
            what,
            Registration(function, LeafModuleEntry(function, rule, self.plugin), override),
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
        self._add(self._decompositions, what, Registration(overload, entry, override))

    def decompose_as_executed(
        self,
        op: OperatorLike,
        executed: Callable[[Callable[..., Any]], Callable[..., Any]],
        *,
        override: bool = False,
    ) -> None:
        """Say how an operator that falls apart is executed, for `covers="float"`.

        Args:
            op: An operator without a rule, which some plugin says how to take apart.
            executed: From the decomposition that holds in real arithmetic to that of what is executed: what the
                operators there may be off by covers what the kernel makes of the whole, perhaps with the help of
                `lirpa_core.operators.as_executed`. Where the kernel does these very operators, `lambda inner: inner`.
            override: Replace what another plugin registers without `override`.

        Raises:
            PluginError: The operator is not known, the function not callable, or registered twice.
        """
        overload = self._resolve(op)
        what = f"decomposition of {overload} as it is executed"
        if not callable(executed):
            self._refuse(what, f"expected a function, got {_describe(executed)}")
        entry = DecompositionEntry(overload, executed, self.plugin)
        self._add(self._as_executed, what, Registration(overload, entry, override))

    def allowance(self, op: OperatorLike, allowance: Allowance, *, override: bool = False) -> None:
        """State what an operator's kernel may be off by, for `covers="float"`; without it the operator is refused there.

        Args:
            op: The operator.
            allowance: `(call, boxes of the operands, box of the exact result, roundoff) -> (below, above)`: how far what
                is executed for operands in their boxes may be below the lower end and above the upper one of the exact
                result, `[B, *S]` each. The roundoff is half of the type's epsilon. `relative` and `exact` make the usual ones.
            override: Replace what another plugin registers without `override`.

        Raises:
            PluginError: The operator is not known, the allowance not callable, or registered twice.
        """
        overload = self._resolve(op)
        what = f"allowance of {overload}"
        if not callable(allowance):
            self._refuse(what, f"expected a function, got {_describe(allowance)}")
        self._add(
            self._allowances,
            what,
            Registration(overload, AllowanceEntry(overload, allowance, self.plugin), override),
        )

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
        self._add(self._fusions, what, Registration(overload, entry, override))

    def kernel(
        self,
        op_key: OperatorLike | type[LinearOp],
        structure: type[Coefficients],
        kernel: Kernel,
        *,
        override: bool = False,
        form: str | None = None,
    ) -> None:
        """Say how structured coefficients go through a linear operator backward.

        Args:
            op_key: The `key` of the `LinearOp`: an operator, or the type of the `LinearOp`.
            structure: The structure that the kernel accepts; subclasses are offered to it too.
            kernel: `(op, map) -> map`, or None where it cannot.
            override: Replace the kernel that another plugin registers without `override`.
            form: A word for what the kernel makes, such as `"patches"`, by which an option can do without.

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
        if not _is_subclass(structure, Coefficients):
            self._refuse(what, f"expected a Coefficients type as structure, got {_describe(structure)}")
        if not callable(kernel):
            self._refuse(what, f"expected a function (op, map) -> map, got {_describe(kernel)}")
        entry = KernelEntry(key, structure, kernel, self.plugin, form)
        what = f"{what} for {structure.__name__}"
        self._add(self._kernels, what, Registration((key, structure), entry, override))

    def contribution(self, plugin: PluginInfo) -> Contribution:
        """Everything collected, as one plugin's contribution."""
        return Contribution(
            plugin,
            operators=tuple(self._operators.values()),
            leaf_modules=tuple(self._leaf_modules.values()),
            decompositions=tuple(self._decompositions.values()),
            as_executed=tuple(self._as_executed.values()),
            allowances=tuple(self._allowances.values()),
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
        if not isinstance(rule, Rule):
            self._refuse(
                what,
                f"expected a rule: an instance of Linear, Bilinear, Unary, General, or of a subclass of "
                f"lirpa_core.rules.Rule; got {_describe(rule)}",
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
