"""The cases that a plugin may declare: a call for a rule, a set, a structure of coefficients, a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor, nn

from lirpa_core.graph import Shape
from lirpa_core.linear.coefficients import Coefficients
from lirpa_core.perturbations import Perturbation
from lirpa_core.rules import Call, LeafModule
from lirpa_testing.rules.domains import Domain

#: Makes coefficients over values of a shape `S`, for one example or several; None where the structure has none.
CoefficientsFactory: TypeAlias = Callable[[Shape], Coefficients | None]


@dataclass(frozen=True, eq=False)
class RuleCase:
    """One call to try a rule on.

    Attributes:
        plugin: Who declares it.
        name: What is particular about it.
        call: The call. Its `batch` does not matter, unless constants differ between examples.
        domains: Range that boxes are drawn from, one for each operand.
        kinks: Where the operator or its curvature changes character.
        regimes: Kinds of boxes to draw; None for all.
        without: Names of checks to leave out.
        oracle: The function in ball arithmetic, for proofs, where the test kit does not know it.
    """

    plugin: str
    name: str
    call: Call
    domains: tuple[Domain, ...]
    kinks: tuple[float, ...] = (0.0,)
    regimes: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()
    oracle: Any = None

    @property
    def key(self) -> Any:
        """What the rule is registered for: the operator, or the class or function kept whole."""
        target = self.call.node.target
        return target.key if isinstance(target, LeafModule) else target


@dataclass(frozen=True, eq=False)
class SetCase:
    """One perturbation with a value to perturb.

    Attributes:
        plugin: Who declares it.
        name: What is particular about it.
        perturbation: The perturbation.
        x: Nominal value `[B, *S]`.
        exact: Whether its minima are attained.
    """

    plugin: str
    name: str
    perturbation: Perturbation
    x: Tensor
    exact: bool = True


@dataclass(frozen=True, eq=False)
class CoefficientsCase:
    """A structure of coefficients: how to make one over values of any shape.

    Attributes:
        plugin: Who declares it.
        name: What is particular about it.
        structure: Its type.
        make: Makes one.
        shapes: Shapes over which it is compared with its own dense form.
    """

    plugin: str
    name: str
    structure: type[Coefficients]
    make: CoefficientsFactory
    shapes: tuple[Shape, ...]


@dataclass(frozen=True, eq=False)
class ModelCase:
    """A model for what makes sense only inside one: fusions, and rules that rely on what their operands are.

    Attributes:
        plugin: Who declares it.
        name: What is particular about it.
        make: Makes the model; a function, so that nothing is built before it is needed.
        x: Nominal value of the only input, `[B, *S]`.
        eps: Radii of the boxes around it that are tried.
        covers: Operators that must be nodes of the captured graph, for whose rules this is a case.
        fuses: Operators whose fusions it exercises.
    """

    plugin: str
    name: str
    make: Callable[[], nn.Module]
    x: Tensor
    eps: tuple[float, ...]
    covers: tuple[Any, ...]
    fuses: tuple[Any, ...] = ()


#: Everything that can be declared.
AnyCase: TypeAlias = RuleCase | SetCase | CoefficientsCase | ModelCase
