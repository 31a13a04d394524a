"""Every error lirpa raises on purpose: one class a cause, all below `LirpaError`."""

from __future__ import annotations


class LirpaError(Exception):
    """Base class of all errors that lirpa raises on purpose."""


class CaptureError(LirpaError):
    """The model could not be turned into a graph."""


class DataDependentBranchError(CaptureError):
    """The model branches on the value of a tensor, or makes it a number, so one graph cannot stand for it."""


class DataDependentShapeError(CaptureError):
    """The size of a tensor in the model depends on the values of another, so it has no bounds."""


class ReplayError(CaptureError):
    """The captured graph does not reproduce the model's own output."""


class TrainingModeError(CaptureError):
    """A module is in training mode where that makes its output random or batch-dependent."""


class UnsupportedOperatorError(LirpaError, NotImplementedError):
    """An operator on the path of a perturbation has no rule."""


class UnsupportedOperandError(LirpaError, NotImplementedError):
    """A rule exists, but not for this combination of perturbed operands or options."""


class PerturbationError(LirpaError, ValueError):
    """A perturbation is ill-formed, or does not fit the tensor that it is attached to."""


class InputError(LirpaError, ValueError):
    """An input of the model is not what the bound computation can take."""


class SpecificationError(LirpaError, ValueError):
    """The specification matrix `C` does not fit the output."""


class OptionError(LirpaError, ValueError):
    """An option or a method is unknown or has a wrong value."""


class DomainError(LirpaError, ValueError):
    """A box reaches outside the domain of a function, such as a logarithm at zero."""


class NonFiniteBoundError(LirpaError, ArithmeticError):
    """A bound came out infinite or NaN."""


class MemoryBudgetError(LirpaError, MemoryError):
    """There is not enough memory for a single row of coefficients, or for what is not taken in parts."""


class ProcessesError(LirpaError, RuntimeError):
    """Another process of a shared computation has failed, is gone, or is at something else."""


class SoundnessError(LirpaError, AssertionError):
    """Lower bound above upper bound: a rule is wrong. Always a defect to report."""


class PluginError(LirpaError):
    """A plugin could not be loaded or registered something unusable."""


class PluginConflictError(PluginError):
    """Two plugins register the same operator, perturbation, method or reader."""


class LirpaWarning(UserWarning):
    """Base class of the warnings about bounds that hold, but perhaps not for what the user has in mind."""


class TrainingModeWarning(LirpaWarning):
    """Bounds are those of the model in training mode, with the statistics or masks of the batch at hand."""


class CompatibilityWarning(LirpaWarning):
    """A name of auto_LiRPA was taken that means nothing, or something else, here; says what happens instead."""


class RoundingWarning(LirpaWarning):
    """Rounding moved a bound by more than the bound's width."""
