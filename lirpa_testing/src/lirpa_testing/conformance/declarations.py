"""Where plugins declare their cases: what the hook `lirpa_conformance_cases` receives, and how it is called."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lirpa_core.errors import PluginError
from lirpa_core.graph import Shape
from lirpa_core.linear.coefficients import Coefficients
from lirpa_core.perturbations import Perturbation
from lirpa_core.plugins import (
    Collector,
    OperatorLike,
    PluginInfo,
    Registration,
    Registry,
    describe,
    key_label,
    resolve_operator,
)
from lirpa_core.rules import Call
from lirpa_testing.conformance.cases import (
    AnyCase,
    CoefficientsCase,
    CoefficientsFactory,
    ModelCase,
    RuleCase,
    SetCase,
)
from lirpa_testing.rules.domains import ANYWHERE, Domain, domains_of


class ConformanceCases(Collector):
    """Collects the cases of one plugin: what `lirpa_conformance_cases` receives.

    Names tell the cases of one operator (perturbation, structure) apart; they show in reports.
    """

    def __init__(self, plugin: str) -> None:
        super().__init__(plugin)
        self._cases: dict[tuple[str, str, str], Registration[tuple[str, str, str], AnyCase]] = {}

    def add(
        self,
        name: str,
        call: Call,
        *,
        domain: Domain | Sequence[Domain] = ANYWHERE,
        kinks: Sequence[float] = (0.0,),
        regimes: Sequence[str] | None = None,
        without: Collection[str] = (),
        oracle: Any = None,
    ) -> None:
        """Declare a call to try the rule of its operator on.

        Args:
            name: What is particular about the call, such as `"one channel, stride 2"`.
            call: The call (see `Call.of`), with an `Operand` wherever a tensor is perturbed. The operator
                may be one of torch's, a custom one, a module or a function.
            domain: Range that boxes are drawn from, one for all operands or one each.
            kinks: Where the operator or its curvature changes character; boxes are drawn around these.
            regimes: Kinds of boxes to draw (`lirpa_testing.REGIMES`); None for all.
            without: Names of checks to leave out (`lirpa_testing.CHECKS`). Say why in a comment.
            oracle: The function of a unary operator in ball arithmetic, for proofs.

        Raises:
            PluginError: Something else was given, or the name was used for this operator before.
        """
        what = f"conformance case {name!r}"
        if not isinstance(call, Call):
            self._refuse(what, f"expected a Call (see Call.of), got {type(call).__qualname__}")
        regimes = None if regimes is None else tuple(regimes)
        domains = domains_of(domain, len(call.shapes))
        if len(domains) != len(call.shapes):
            self._refuse(what, f"expected {len(call.shapes)} domains, one an operand, got {len(domains)}")
        case = RuleCase(self.plugin, name, call, domains, tuple(kinks), regimes, tuple(without), oracle)
        self._declare("rule", key_label(case.key), what, case)

    def perturbation(self, name: str, perturbation: Perturbation, x: Tensor, *, exact: bool = True) -> None:
        """Declare a set to check.

        Args:
            name: What is particular about it.
            perturbation: The perturbation; it is a case for its class.
            x: Nominal value `[B, *S]`, examples first.
            exact: Whether the minimum of a linear form is attained, up to what an attack can find.

        Raises:
            PluginError: Something else was given, or the name was used for this class before.
        """
        what = f"conformance case {name!r}"
        if not isinstance(perturbation, Perturbation) or not isinstance(x, Tensor):
            self._refuse(
                what, f"expected a Perturbation and a tensor, got {perturbation!r} and {type(x).__name__}"
            )
        case = SetCase(self.plugin, name, perturbation, x, exact)
        self._declare("perturbation", type(perturbation).__qualname__, what, case)

    def coefficients(
        self,
        name: str,
        structure: type[Coefficients],
        make: CoefficientsFactory,
        *,
        shapes: Sequence[Shape] = ((2, 3),),
    ) -> None:
        """Declare a structure of coefficients.

        It is compared with its own dense form, and every kernel for it with the dense result, at the calls of the
        kernel's operator.

        Args:
            name: What is particular about it.
            structure: Its type.
            make: Makes one, in float64, over values of a shape `S`: coefficients `[R, B, *S]`; or returns None
                where the structure has none of that shape.
            shapes: Shapes over which it is compared with its own dense form.

        Raises:
            PluginError: Something else was given, or the name was used for this structure before.
        """
        what = f"conformance case {name!r}"
        if not isinstance(structure, type) or not issubclass(structure, Coefficients) or not callable(make):
            self._refuse(what, f"expected a Coefficients type and a function, got {structure!r} and {make!r}")
        case = CoefficientsCase(self.plugin, name, structure, make, tuple(tuple(s) for s in shapes))
        self._declare("structure", structure.__qualname__, what, case)

    def model(
        self,
        name: str,
        make: Callable[[], nn.Module],
        x: Tensor,
        *,
        covers: Sequence[OperatorLike] = (),
        fuses: Sequence[OperatorLike] = (),
        eps: Sequence[float] = (0.0, 1e-6, 0.05, 1.0),
    ) -> None:
        """Declare a model, for fusions and for rules that rely on what their operands are.

        Its bounds in every method are compared with samples and attacks.

        Args:
            name: What is particular about it.
            make: Makes the model, in float64 and in evaluation mode.
            x: Nominal value of its input, `[B, *S]`.
            covers: Operators that the captured graph must contain, for whose rules it is a case.
            fuses: Operators whose fusions it exercises.
            eps: Radii of the boxes around `x`.

        Raises:
            PluginError: Something else was given, or the name was used before.
        """
        what = f"conformance case {name!r}"
        if not callable(make) or not isinstance(x, Tensor):
            self._refuse(
                what, f"expected a function that makes a model, and a tensor, got {make!r} and {x!r}"
            )
        if not covers and not fuses:
            self._refuse(what, "expected operators in `covers` or `fuses`, for which the model is a case")
        ops, fused = ([resolve_operator(op) for op in given] for given in (covers, fuses))
        case = ModelCase(self.plugin, name, make, x.double(), tuple(eps), tuple(ops), tuple(fused))
        self._declare("model", "", what, case)

    def cases(self) -> tuple[AnyCase, ...]:
        """Everything collected, in the order of the declarations."""
        return tuple(claim.entry for claim in self._cases.values())

    def _declare(self, kind: str, label: str, what: str, case: AnyCase) -> None:
        key = (kind, label, case.name)
        self._add(self._cases, f"{what} of {label}" if label else what, Registration(key, case))


def conformance_cases(registry: Registry) -> tuple[AnyCase, ...]:
    """What the plugins of a registry declare for their tests; their hooks run now.

    Raises:
        PluginError: A hook fails; the message names the plugin and the place.
    """
    return tuple(case for plugin, hook in registry.conformance_hooks for case in _declared(plugin, hook))


def _declared(plugin: PluginInfo, hook: Callable[..., Any]) -> tuple[AnyCase, ...]:
    cases = ConformanceCases(plugin.name)
    try:
        hook(cases=cases)
    except Exception as error:
        where = describe(error, machinery=[Path(__file__).parent])
        raise PluginError(f"plugin {plugin} cannot declare its conformance cases: {where}") from error
    finally:
        cases.close()
    return cases.cases()
