"""Rules of any family that break the interface: types, shapes, dtypes, devices, declarations, manners."""

from __future__ import annotations

import math

import torch
from honest import Relu, Tanh
from honest import relu_call as relu
from honest import tanh_call as tanh

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Affine, Relaxation
from wrong.fault import Fault


class Mutates(Relu):
    def interval(self, call, inputs):
        return Interval(inputs[0].lower.clamp_(min=0), inputs[0].upper.clamp(min=0))


class WrongDtype(Relu):
    def relax(self, call, inputs):
        right = super().relax(call, inputs)
        return Relaxation(right.lower, Affine(right.upper.terms, right.upper.bias.float()))


class AlwaysDouble(Tanh):
    def interval(self, call, inputs):
        return Interval(inputs[0].lower.double().tanh(), inputs[0].upper.double().tanh())


class WrongShape(Relu):
    def interval(self, call, inputs):
        right = super().interval(call, inputs)
        return Interval(right.lower.flatten(1), right.upper.flatten(1))


class NeedsNothing(Relu):
    """Reads an interval that it said it does not need."""

    def needs_interval(self, call):
        return (False,)


class InfiniteInterval(Relu):
    """Gives up without saying so."""

    def interval(self, call, inputs):
        right = super().interval(call, inputs)
        return Interval(right.lower, torch.full_like(right.upper, math.inf))


class PlainTuple(Relu):
    def interval(self, call, inputs):
        right = super().interval(call, inputs)
        return right.lower, right.upper


class PlainTupleOfLines(Relu):
    def relax(self, call, inputs):
        right = super().relax(call, inputs)
        return right.lower, right.upper


class UnknownMode(Relu):
    modes = ("ibp",)


class AffineOnBatches(Relu):
    """A tensor where a bool is asked for."""

    def is_affine(self, call):
        return torch.tensor(False)


class NeedsAsOne(Relu):
    def needs_interval(self, call):
        return (True, True)


class LooseAsFloats(Relu):
    def unstable_inputs(self, call, inputs):
        return (inputs[0].lower.abs(),)


class WrongDevice(Relu):
    """A constant made where tensors are made by default, not where the box is."""

    def interval(self, call, inputs):
        right = super().interval(call, inputs)
        return Interval(right.lower, right.upper.to("meta"))


class WrongShapeOfABias(Relu):
    def relax(self, call, inputs):
        right = super().relax(call, inputs)
        return Relaxation(right.lower, Affine(right.upper.terms, right.upper.bias.flatten(1)))


class NanInterval(Relu):
    """The centre plus or minus the radius, of an infinite intermediate value."""

    def interval(self, call, inputs):
        big = torch.full_like(inputs[0].upper, math.inf)
        return Interval(inputs[0].lower.clamp(min=0), inputs[0].upper.clamp(min=0) + (big - big))


class MutatesUpper(Relu):
    def relax(self, call, inputs):
        inputs[0].upper.add_(1)
        return super().relax(call, inputs)


RULES: dict[str, Fault] = {
    "wrong device": Fault(WrongDevice(), relu, ("results",), "is on meta, not on cpu"),
    "wrong shape of a bias": Fault(
        WrongShapeOfABias(), relu, ("results",), r"bias .* has shape \[3, 3\], not \[3, 1, 3\]"
    ),
    "NaN interval": Fault(NanInterval(), relu, ("finite",), "upper end of the interval is NaN"),
    "mutates its input in relax": Fault(
        MutatesUpper(), relu, ("purity",), "relax changed the upper end of x0"
    ),
    "mutates its input": Fault(Mutates(), relu, ("purity",), "lower end of x0 in place"),
    "wrong dtype": Fault(WrongDtype(), relu, ("results",), "torch.float32"),
    "always float64": Fault(AlwaysDouble(), tanh, ("float32",), "torch.float64"),
    "wrong shape": Fault(WrongShape(), relu, ("results",), r"has shape \[3, 3\]"),
    "reads what it does not need": Fault(NeedsNothing(), relu, ("runs",), "NoneType"),
    "infinite interval": Fault(
        InfiniteInterval(), relu, ("finite",), "upper end of the interval is infinite"
    ),
    "no Interval": Fault(PlainTuple(), relu, ("results",), "not an Interval"),
    "no Relaxation": Fault(PlainTupleOfLines(), relu, ("purity", "results", "runs"), "Relaxation|tuple"),
    "unknown mode": Fault(UnknownMode(), relu, ("declarations",), "modes must be"),
    "is_affine is a tensor": Fault(AffineOnBatches(), relu, ("declarations",), "must return a bool"),
    "needs of another operand": Fault(NeedsAsOne(), relu, ("declarations",), "needs_interval must return 1"),
    "loose in floats": Fault(LooseAsFloats(), relu, ("declarations",), "unstable_inputs of x0 must be bool"),
}
