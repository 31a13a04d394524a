"""A model that is changed after it was captured is followed: bounds are those of the model as it is."""

import array
import contextvars
import functools
import gc
import sys
import types
import weakref
from collections import deque
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.capture.fingerprint import Fingerprint
from lirpa_core.capture.fingerprint.code import globals_in
from lirpa_core.errors import CaptureError
from lirpa_core.plugins import default_registry

X = torch.tensor([[0.3, -0.2, 0.5]])
FACTOR = 1.0
SETTINGS = {"factor": 1.0}


def doubled(x):
    return x * FACTOR


@dataclass
class Config:
    scale: float = 1.0


class Plain(nn.Module):
    kind = 1.0

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 3)
        self.act = nn.LeakyReLU(0.1)
        self.blocks = nn.ModuleList([nn.Tanh(), nn.Linear(3, 3)])
        self.scale = 1.0
        self.mode = "plus"
        self.shift = torch.zeros(3)
        self.table = [torch.ones(3), {"gain": 1.0}]
        self.hidden = [nn.Linear(3, 3)]
        self.config = Config()
        self.array = np.ones(3, dtype=np.float32)
        self.partial = functools.partial(torch.mul, other=1.0)
        self.twist = lambda z: z

    def helper(self, x):
        return x

    def forward(self, x):
        z = self.act(self.layer(x)) * self.scale * self.kind + self.shift
        z = z * self.table[0] * self.table[1]["gain"] * self.config.scale * float(self.array[0])
        for block in self.blocks:
            z = block(z)
        z = self.twist(self.helper(self.partial(self.hidden[0](z))))
        return doubled(z) * SETTINGS["factor"] if self.mode == "plus" else -z


def box(eps=1e-4):
    return BoundedTensor(X, PerturbationLpNorm(norm=float("inf"), eps=eps))


def holds(bounded, model, method="CROWN"):
    lower, upper = bounded.compute_bounds(x=(box(),), method=method)
    y = model(X)
    return bool((lower - 1e-5 <= y).all() and (y <= upper + 1e-5).all())


def set_at(path, value):
    def change(model):
        *way, last = path.split(".")
        at = functools.reduce(getattr, way, model)
        setattr(at, last, value)

    return change


def in_place(model):
    model.shift += 2


def through_data(model):
    model.shift.data.fill_(3)


def in_a_list(model):
    model.table[0] = torch.full((3,), 3.0)


def a_listed_tensor_in_place(model):
    model.table[0].data.mul_(4)


def in_a_dictionary(model):
    model.table[1]["gain"] = 5.0


def hidden_weights(model):
    with torch.no_grad():
        model.hidden[0].weight.data.mul_(3)
        model.hidden[0].bias += 1


def another_order(model):
    model.blocks = nn.ModuleList(reversed(model.blocks))


def swapped_in_place(model):
    model.blocks[0], model.blocks[1] = model.blocks[1], model.blocks[0]


def hook_later(model):
    model.layer.register_forward_hook(lambda module, args, output: output + 3)


def pre_hook_later(model):
    model.register_forward_pre_hook(lambda module, args: (args[0] + 3,))


def forward_of_an_instance(model):
    model.act.forward = lambda z: z + 3


def helper_of_an_instance(model):
    model.helper = types.MethodType(lambda self, z: z + 3, model)


def an_array_in_place(model):
    model.array[:] = 4


def another_class(model):
    model.blocks[0].__class__ = nn.Sigmoid


CHANGES = {
    "number": set_at("scale", 3.0),
    "whole number": set_at("scale", 3),
    "string": set_at("mode", "minus"),
    "slope": set_at("act.negative_slope", 3.0),
    "tensor": set_at("shift", torch.full((3,), 2.0)),
    "tensor of an object": set_at("config.scale", 4.0),
    "object": set_at("config", Config(4.0)),
    "partial": set_at("partial", functools.partial(torch.mul, other=5.0)),
    "lambda": set_at("twist", lambda z: z + 4),
    **{
        f.__name__: f
        for f in (
            in_place, through_data, in_a_list, a_listed_tensor_in_place, in_a_dictionary, hidden_weights, another_order,
            swapped_in_place, hook_later, pre_hook_later, forward_of_an_instance, helper_of_an_instance,
            an_array_in_place, another_class,
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_followed(name):
    model = Plain().eval()
    bounded = BoundedModule(model, X)
    assert holds(bounded, model)
    before = model(X)
    CHANGES[name](model)
    assert not torch.allclose(before, model(X), atol=0.01)
    assert holds(bounded, model)


def test_every_method_follows():
    model = Plain().eval()
    bounded = BoundedModule(model, X)
    for i, entry in enumerate(default_registry().methods):
        model.scale = 2.0 + i
        assert holds(bounded, model, entry.method.name)


def test_what_code_reads_outside_of_the_model_is_followed(monkeypatch):
    model = Plain().eval()
    bounded = BoundedModule(model, X)
    here = sys.modules[__name__]
    for target, name, value in (
        (here, "FACTOR", 3.0),
        (here, "doubled", lambda x: x + 3),
        (Plain, "kind", 4.0),
        (Plain, "helper", lambda self, x: x - 3),
        (nn.Tanh, "forward", lambda self, x: x + 3),
    ):
        before = model(X)
        monkeypatch.setattr(target, name, value)
        assert not torch.allclose(before, model(X), atol=0.01), name
        assert holds(bounded, model), name
    monkeypatch.setitem(SETTINGS, "factor", 5.0)
    assert holds(bounded, model)


def test_another_call_of_all_modules_is_noticed(monkeypatch):
    model = Plain().eval()
    bounded = BoundedModule(model, X)
    graph = bounded.graph
    monkeypatch.setattr(nn.Module, "_call_impl", nn.Module._call_impl)
    assert bounded.graph is graph
    call = nn.Module.__call__
    monkeypatch.setattr(nn.Module, "__call__", lambda self, *given: call(self, *given))
    with pytest.raises(CaptureError, match=r"replaced torch.nn.Module.__call__ .*test_fingerprint.py"):
        bounded.graph  # noqa: B018  captures anew


def test_a_closure_is_followed():
    factor = 1.0

    class Closed(nn.Module):
        def forward(self, x):
            return x * factor

    model = Closed()
    bounded = BoundedModule(model, X)
    factor = 7.0
    assert holds(bounded, model)


def captures(model):
    """A bounded module, and the list of its captures."""
    bounded = BoundedModule(model, X)
    seen = [bounded.graph]

    def look():
        if bounded.graph is not seen[-1]:
            seen.append(bounded.graph)
        return len(seen)

    return bounded, look


class Rounds(nn.Module):
    """Rounds its input to the type of its weight, a parameter or a plain tensor."""

    def __init__(self, kind):
        super().__init__()
        self.weight = kind(torch.ones(1, dtype=torch.float64))

    def forward(self, x):
        return x.to(self.weight.dtype) * self.weight


@pytest.mark.parametrize("kind", [nn.Parameter, torch.Tensor.clone])
def test_a_weight_of_another_type_is_followed(kind):
    model, x = Rounds(kind).eval().requires_grad_(False), torch.full((1, 1), 0.1, dtype=torch.float64)
    bounded, point = BoundedModule(model, x), BoundedTensor(x, PerturbationLpNorm(eps=1e-12))
    bounded.compute_bounds(x=point)
    model.weight.data = model.weight.data.float()  # the same object, as after model.float()
    assert abs(float(model(x)) - 0.1) > 1e-9
    for method in ("IBP", "CROWN"):
        found = bounded.compute_bounds(x=point, method=method)
        assert float(found.lower) <= float(model(x)) <= float(found.upper)


def test_a_weight_of_another_shape_is_followed():
    model, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU()).eval(), torch.zeros(1, 3)
    bounded, point = BoundedModule(model, x), BoundedTensor(x, PerturbationLpNorm(eps=0.1))
    bounded.compute_bounds(x=point)
    model[0].weight.data, model[0].bias.data = torch.ones(2, 3), torch.zeros(2)
    assert bounded.compute_bounds(x=point).lower.shape == (1, 2)


def test_training_captures_once():
    model = Plain()
    _, look = captures(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(X).sum().backward()
        optimizer.step()
        assert look() == 1
    model.shift += 1  # a constant of the graph, read anew each time
    model.scale = float("1.0")  # another object, the same number
    assert look() == 1


def test_notes_that_forward_takes_are_no_change():
    class Noting(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.seen = nn.Linear(3, 3), None

        def forward(self, x):
            self.seen = self.layer(x)
            return torch.relu(self.seen)

    model = Noting()
    _, look = captures(model)
    for _ in range(3):
        model(X)
        assert look() == 1


def test_modes_are_kept_side_by_side():
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    bounded = BoundedModule(model, X)
    one = bounded.graph
    model.eval()
    other = bounded.graph
    model.train()
    assert bounded.graph is one and other is not one


def test_a_recurrent_layer_is_captured_once():
    model = nn.LSTM(3, 4, batch_first=True)
    bounded = BoundedModule(model, torch.zeros(1, 2, 3))
    graph = bounded.graph
    with torch.no_grad():
        for p in model.parameters():
            p += 1
    assert bounded.graph is graph


def test_a_freed_object_is_not_mistaken_for_a_new_one():
    model = Plain().eval()
    model.table.append(object())
    fingerprint = Fingerprint.of(model)
    assert fingerprint.holds()
    for _ in range(100):
        model.table[-1] = object()
        gc.collect(0)
        assert not fingerprint.holds()


def test_a_tensor_that_was_not_a_number_is_followed():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.limit = [torch.tensor([float("nan")] * 3)]

        def forward(self, x):
            return torch.where(self.limit[0].isnan(), x, x + 5)

    model = Gated().eval()
    bounded = BoundedModule(model, X)
    one = bounded.graph
    assert bounded.graph is one  # NaN is NaN
    model.limit[0].zero_()
    assert holds(bounded, model)


def test_a_second_bounded_module_of_the_same_model_does_not_invalidate_the_first():
    """An export makes tuples such as a kernel's size anew."""
    model, x = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()).eval(), torch.rand(1, 1, 5, 5)
    first, second = BoundedModule(model, x), BoundedModule(model, x)
    graphs = first.graph, second.graph
    assert (first.graph, second.graph) == graphs
    assert first.graph is graphs[0] and second.graph is graphs[1]


class Listed(nn.Module):
    """Reads a list and a dictionary of its own, which an export replaces by equal ones."""

    def __init__(self):
        super().__init__()
        self.factors, self.table = [1.0, 2.0], {"shift": [0.5]}

    def forward(self, x):
        return x * self.factors[1] + self.table["shift"][0]


def test_lists_that_an_export_made_anew_do_not_invalidate_other_graphs():
    model = Listed().eval()
    first, second = BoundedModule(model, X), BoundedModule(model, X)
    graphs = first.graph, second.graph
    assert first.graph is graphs[0] and second.graph is graphs[1]
    for change in (lambda: model.factors.__setitem__(1, 3.0), lambda: model.table["shift"].append(1.0)):
        change()
        assert first.graph is not graphs[0] and second.graph is not graphs[1]
        assert holds(first, model) and holds(second, model)
        graphs = first.graph, second.graph
        assert first.graph is graphs[0] and second.graph is graphs[1]


def test_a_value_that_has_every_attribute_is_no_array():
    class Answers:
        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return Answers()

    answers = Answers()
    bounded = BoundedModule(lambda x: x * 2 if answers is not None else x, X)
    lower, _ = bounded.compute_bounds(x=(BoundedTensor(X, PerturbationLpNorm(eps=0.1)),), method="IBP")
    assert bool((lower <= 2 * X).all())


TABLE = {"gain": 1.0}


def test_an_attribute_is_not_a_global_of_the_same_name():
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.SETTINGS = 2.0

        def forward(self, x):
            def inner(z):
                return z * TABLE["gain"]

            return inner(x) * self.SETTINGS

    reads = set(globals_in(Reader.forward.__code__))
    assert "TABLE" in reads  # inside of the function inside
    assert "SETTINGS" not in reads


@pytest.mark.parametrize("imported", ["module", "name"])
def test_what_is_imported_where_it_is_used_is_followed(imported, monkeypatch):
    settings = types.ModuleType("settings_of_a_test")
    settings.scale = 1.0
    monkeypatch.setitem(sys.modules, settings.__name__, settings)

    class Importing(nn.Module):
        def forward(self, x):
            if imported == "module":
                import settings_of_a_test

                return x * settings_of_a_test.scale
            from settings_of_a_test import scale

            return x * scale

    model = Importing()
    bounded = BoundedModule(model, X)
    settings.scale = 3.0
    assert holds(bounded, model)


RATE = 1.0


def rated(x):
    return x * RATE


class Limit:
    above = 1.0

    def __init__(self):
        self.limit = 1.0

    def __call__(self, x):
        return rated(x) * self.above

    def cut(self, x):
        return x.clamp(max=self.limit)


class Stretched(list):
    pass


class Inherited(nn.Module):
    def forward(self, x):
        return x


class Unregistered(nn.Module):
    def forward(self, x):
        return rated(x)


class ReadThrough(nn.Module):
    """Reads its numbers through objects, functions and containers of every kind."""

    def __init__(self):
        super().__init__()
        self.limit = Limit()
        self.cut = self.limit.cut
        self.looked_up = {"gain": 1.0}.get
        self.queue, self.bytes, self.numbers = deque([1.0]), bytearray(b"\x01"), array.array("d", [1.0])
        self.stretched = Stretched([1.0])
        self.stretched.gain = 1.0
        self.keyword = lambda x, *, gain=1.0: x * gain
        self.attributed = lambda x: x * self.attributed.gain
        self.attributed.gain = 1.0
        self.functions = [lambda x: x * RATE]
        self.inherited = type("Heir", (Inherited,), {})()
        self.unregistered = [Unregistered()]
        self.context = contextvars.ContextVar("gain", default=1.0)
        self.weak = weakref.ref(self.limit)

    def forward(self, x):
        x = self.cut(self.limit(x)) * self.looked_up("gain") * self.stretched.gain
        x = self.attributed(self.keyword(x)) * self.context.get() * self.weak().above
        x = self.inherited(self.functions[0](self.unregistered[0](x)))
        return x * self.queue[0] * self.bytes[0] * self.numbers[0]


CHANGES_BEHIND = {
    "the owner of a method": lambda model: setattr(model.limit, "limit", 0.1),
    "the owner of a builtin method": lambda model: model.looked_up.__self__.update(gain=2.0),
    "a queue": lambda model: model.queue.__setitem__(0, 2.0),
    "bytes": lambda model: model.bytes.__setitem__(0, 2),
    "an array": lambda model: model.numbers.__setitem__(0, 2.0),
    "an attribute of a list": lambda model: setattr(model.stretched, "gain", 2.0),
    "a keyword's default": lambda model: model.keyword.__kwdefaults__.update(gain=2.0),
    "an attribute of a function": lambda model: setattr(model.attributed, "gain", 2.0),
    "a method that a subclass gets": lambda model: setattr(
        type(model.inherited), "forward", lambda self, x: -x
    ),
    "a call that a subclass gets": lambda model: setattr(
        type(model.inherited), "__call__", lambda self, x: 3 * x
    ),
    "a variable of a context": lambda model: model.context.set(2.0),
}


def test_what_is_read_through_objects_is_followed(monkeypatch):
    """One change after the other, on top of those before."""
    model = ReadThrough()
    bounded = BoundedModule(model, X, {"tripwire": False})  # which sees what moves the value at the centre
    assert holds(bounded, model, "IBP")
    code = {
        "a class": lambda model: monkeypatch.setattr(Limit, "above", 2.0),
        "a global": lambda model: monkeypatch.setitem(globals(), "RATE", 3.0),
        "a method": lambda model: monkeypatch.setattr(Limit, "__call__", lambda self, x: x - 3),
    }
    for name, change in (CHANGES_BEHIND | code).items():
        before = model(X)
        change(model)
        assert not torch.equal(model(X), before), f"{name}: a change that changes something"
        assert holds(bounded, model, "IBP"), name


def test_the_type_of_numbers_is_followed(monkeypatch):
    before = Fingerprint.of(Plain())
    assert before.holds()
    monkeypatch.setattr(torch, "get_default_dtype", lambda: torch.float64)
    assert not before.holds()


def test_a_change_that_the_centre_does_not_show_is_followed():
    """The tripwire runs the model at the centre, where this limit changes nothing."""
    model = Capped()
    x = torch.tensor([[-4.0, -3.5]])
    bounded, ball = BoundedModule(model, x), BoundedTensor(x, PerturbationLpNorm(eps=1.0))
    assert float(bounded.compute_bounds(x=(ball,)).lower[0, 1]) > 2.9
    model.cut.__self__.limit = 0.0
    assert float(bounded.compute_bounds(x=(ball,)).lower[0, 1]) <= 2.5


class Capped(nn.Module):
    def __init__(self):
        super().__init__()
        limit = Limit()
        limit.limit = -3.0
        self.cut = limit.cut

    def forward(self, x):
        return -self.cut(x)
