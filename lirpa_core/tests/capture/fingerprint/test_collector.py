"""What a trace of a model may have read: all of it, and no more than it takes."""

import copy
import functools
import logging
import sys
import types
from collections import deque

import pytest
import torch
from torch import nn

from lirpa_core.capture.fingerprint import Fingerprint

log = logging.getLogger(__name__)
STEPS = deque([0])


def counted():
    STEPS.append(STEPS[-1] + 1)


class Made:
    rate = 1.0

    def __init__(self):
        self.factor = self.start()

    @staticmethod
    def start():
        return float(types.SimpleNamespace(**FACTORS).start)


FACTORS = {"start": 1.0}


class Model(nn.Module):
    """A module as people write them: `forward` is a small part of it."""

    levels = (1.0, 2.0)
    gain_0 = {"gain": 1.0}  # noqa: RUF012 - what is read by a name that code makes

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    @functools.cached_property
    def shift(self):
        return FACTORS["start"]

    def forward(self, x):
        log.debug("shapes are %s", x.shape)
        made = Made()
        return self.layer(x) * made.factor * self.levels[0] + self.shift

    def training_step(self, x):
        counted()
        return copy.deepcopy(self)(x).mean()

    def configure(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


class ByMadeName(Model):
    def forward(self, x):
        return super().forward(x) * getattr(self, f"gain_{0}")["gain"]


def test_what_forward_does_not_reach_is_not_followed():
    model = Model()
    found = Fingerprint.of(model)
    counted()
    log.setLevel(logging.ERROR)
    log.isEnabledFor(logging.DEBUG)
    assert found.holds()
    reached = {value.__qualname__ for value, _ in found.inner if isinstance(value, types.FunctionType)}
    assert reached == {"Model.forward", "Made.__init__", "Made.start", "Model.shift"}
    assert len(found.places) < 40, "the standard library is none of the model"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda patch: patch.setitem(FACTORS, "start", 2.0), id="read when an object is made"),
        pytest.param(lambda patch: patch.setattr(Made, "start", lambda: 3.0), id="a method of its class"),
        pytest.param(
            lambda patch: patch.setattr(Model, "training_step", lambda self, x: x),
            id="any method of a module",
        ),
        pytest.param(
            lambda patch: patch.setattr(Model, "levels", (3.0,)), id="an attribute of a module's class"
        ),
    ],
)
def test_what_forward_reaches_is_followed(change, monkeypatch):
    found = Fingerprint.of(Model())
    assert found.holds()
    change(monkeypatch)
    assert not found.holds()


def test_names_that_code_makes_are_any_name(monkeypatch):
    plain, made = Fingerprint.of(Model()), Fingerprint.of(ByMadeName())
    monkeypatch.setitem(Model.gain_0, "gain", 2.0)
    assert plain.holds()
    assert not made.holds()


class Settings(nn.Module):
    """Its numbers stand in a module, as settings often do."""

    def __init__(self, module):
        super().__init__()
        self.settings = module

    def forward(self, x):
        return x * self.settings.inner.RATES[0]


@pytest.mark.parametrize("read", ["closure", "attribute", "list"])
def test_modules_that_are_values_are_followed(read):
    package, inner = types.ModuleType("mine"), types.ModuleType("mine.inner")
    package.inner, inner.RATES = inner, [1.0]

    class Reads(nn.Module):
        def forward(self, x):
            return x * package.inner.RATES[0]

    class Listed(Settings):
        def forward(self, x):
            return x * self.settings[0].inner.RATES[0]

    model = {"closure": Reads, "attribute": lambda: Settings(package), "list": lambda: Listed([package])}
    found = Fingerprint.of(model[read]())
    assert found.holds()
    inner.RATES[0] = 2.0
    assert not found.holds()


def test_what_an_exported_program_carries_is_not_followed():
    program = torch.export.export(nn.Linear(3, 3), (torch.ones(2, 3),))
    found = Fingerprint.of(program.module())
    assert len(found.inner) < 30, "symbols, tracers and graphs are PyTorch's"
    assert found.holds()


def test_imports_are_no_change(monkeypatch):
    class Reads(nn.Module):
        def forward(self, x):
            return x * float(len(sys.modules) > 0)

    found = Fingerprint.of(Reads())
    monkeypatch.setitem(sys.modules, "imported_since", types.ModuleType("imported_since"))
    assert found.holds()


RATES = {"rate": 1.0}


class Scaled(nn.Conv2d):
    """Its `forward` is PyTorch's, which calls what stands here."""

    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, weight * RATES["rate"], bias)


class Mixin:
    def _conv_forward(self, x, weight, bias):
        return nn.Conv2d._conv_forward(self, x, weight * RATES["rate"], bias)


class Mixed(Mixin, nn.Conv2d):
    pass


class Subscript(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, kinds, args=(), kwargs=None):
        found = super().__torch_function__(func, kinds, args, kwargs or {})
        return found * RATES["rate"] if func is torch.Tensor.mul else found


class Holding(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = torch.ones(1).as_subclass(Subscript)

    def forward(self, x):
        return x * self.factor


@pytest.mark.parametrize("model", [lambda: Scaled(1, 1, 1), lambda: Mixed(1, 1, 1), Holding])
def test_what_the_code_of_libraries_calls_is_followed(model, monkeypatch):
    found = Fingerprint.of(model())
    assert found.holds()
    monkeypatch.setitem(RATES, "rate", 2.0)
    assert not found.holds()
