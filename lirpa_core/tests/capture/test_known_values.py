"""What no input reaches is evaluated while a model is captured, and captured anew when it changes."""

import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedParameter, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import (
    CaptureError,
    DataDependentBranchError,
    DataDependentShapeError,
    InputError,
    TrainingModeError,
)

METHODS = ("IBP", "CROWN")


class Model(nn.Module):
    """Calls a function with itself and the input; buffers by keyword."""

    def __init__(self, function, **buffers):
        super().__init__()
        self.function = function
        for name, value in buffers.items():
            self.register_buffer(name, value)

    def forward(self, x):
        return self.function(self, x)


def matrix():
    a = torch.randn(4, 4, generator=torch.Generator().manual_seed(0)).double()
    return a @ a.T + 4 * torch.eye(4).double()


def example(batch=2):
    return torch.randn(batch, 4, generator=torch.Generator().manual_seed(1)).double()


def bounds(bounded, x, eps=0.3, method="CROWN"):
    return bounded.compute_bounds(x=BoundedTensor(x, PerturbationLpNorm(eps=eps)), method=method)


def assert_exact(model, x, eps=0.3):
    """Every model here is linear: its bounds are its values at corners."""
    bounded = BoundedModule(model, x)
    corners = torch.cartesian_prod(*[torch.tensor([-eps, eps], dtype=torch.float64)] * 4)
    values = torch.stack([model(x + corner) for corner in corners])
    for method in METHODS:
        lower, upper = bounds(bounded, x, eps, method)
        torch.testing.assert_close(lower, values.amin(0))
        torch.testing.assert_close(upper, values.amax(0))
    return bounded


MASK = torch.tensor([True, False, True, True])


def assigned(model, x):
    y = torch.zeros(x.shape[0], 4, dtype=x.dtype)
    y[:, model.mask] = x[:, model.mask] * 2
    return y


FUNCTIONS = {
    "inverse": (lambda m, x: x @ torch.linalg.inv(m.a), {"a": matrix()}),
    "power": (lambda m, x: x @ torch.linalg.matrix_power(m.a, -1), {"a": matrix()}),
    "solve": (lambda m, x: torch.linalg.solve(m.a, x.unsqueeze(-1)).squeeze(-1), {"a": matrix()}),
    "solve vector": (lambda m, x: torch.linalg.solve(m.a, x[..., :4].unsqueeze(-1))[..., 0], {"a": matrix()}),
    "solve right": (lambda m, x: torch.linalg.solve(m.a, x, left=False), {"a": matrix()}),
    "cholesky": (lambda m, x: x @ torch.linalg.cholesky(m.a), {"a": matrix()}),
    "cholesky_solve": (
        lambda m, x: torch.cholesky_solve(x.unsqueeze(-1), torch.linalg.cholesky(m.a))[..., 0],
        {"a": matrix()},
    ),
    "upper triangle": (
        lambda m, x: torch.linalg.solve_triangular(m.a, x.unsqueeze(-1), upper=True)[..., 0], {"a": matrix()}
    ),
    "unit triangle": (
        lambda m, x: torch.linalg.solve_triangular(m.a, x, upper=False, left=False, unitriangular=True),
        {"a": matrix() / 9},
    ),
    "mask": (lambda m, x: x[:, m.mask], {"mask": MASK}),
    "computed mask": (lambda m, x: x[:, m.a.sum(0) > m.a.sum(0).median()], {"a": matrix()}),
    "masked_select": (lambda m, x: torch.masked_select(x, m.mask).reshape(x.shape[0], -1), {"mask": MASK}),
    "nonzero": (lambda m, x: x[:, m.mask.nonzero().squeeze(-1)], {"mask": MASK}),
    "where": (lambda m, x: x[:, torch.where(m.mask)[0]], {"mask": MASK}),
    "assigned": (assigned, {"mask": MASK}),
    "masked_scatter": (
        lambda m, x: torch.zeros(x.shape[0], 4, dtype=x.dtype).masked_scatter(
            m.mask.expand(x.shape[0], 4), x[:, m.mask]
        ),
        {"mask": MASK},
    ),
    "unique": (lambda m, x: x[:, torch.unique(m.index)], {"index": torch.tensor([2, 0, 2])}),
    "float": (lambda m, x: x * float(m.b), {"b": torch.tensor(2.5)}),
    "item": (lambda m, x: x * m.b.sum().item(), {"b": torch.tensor([2.5, 1.0])}),
    "int": (lambda m, x: x[:, : int(m.b)], {"b": torch.tensor(2)}),
    "list": (lambda m, x: x[:, m.index.tolist()], {"index": torch.tensor([2, 0])}),
    "branch": (lambda m, x: x * 2 if m.b[0] else x * 3, {"b": torch.tensor([False, True])}),
    "any": (lambda m, x: x.masked_fill(m.mask, 0.0) if m.mask.any() else x, {"mask": MASK}),
    "repeats": (lambda m, x: x.repeat_interleave(m.n, dim=1), {"n": torch.tensor([1, 0, 2, 1])}),
    "split": (lambda m, x: torch.split(x, m.n.tolist(), 1)[1], {"n": torch.tensor([1, 3])}),
    "counts": (lambda m, x: x * torch.bincount(m.n, minlength=4), {"n": torch.tensor([1, 3, 3])}),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_constants_are_evaluated(name):
    function, buffers = FUNCTIONS[name]
    assert_exact(Model(function, **{k: v.clone() for k, v in buffers.items()}).eval(), example())


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("float", lambda m: m.b.fill_(-7.0)),
        ("float", lambda m: m.b.data.fill_(-7.0)),
        ("float", lambda m: setattr(m, "b", torch.tensor(4.0))),
        ("float", lambda m: m.load_state_dict({"b": torch.tensor(0.25)})),
        ("branch", lambda m: m.b.logical_not_()),
        ("mask", lambda m: m.mask.copy_(torch.tensor([False, True, False, True]))),
        ("computed mask", lambda m: m.a.neg_()),
        ("list", lambda m: m.index.copy_(torch.tensor([3, 1]))),
        ("repeats", lambda m: m.n.copy_(torch.tensor([0, 3, 1, 0]))),
        ("inverse", lambda m: m.a.mul_(2)),
    ],
)
def test_a_change_is_noticed(name, change):
    function, buffers = FUNCTIONS[name]
    model, x = Model(function, **{k: v.clone() for k, v in buffers.items()}).eval(), example()
    bounded = BoundedModule(model, x)
    before = bounds(bounded, x)
    with torch.no_grad():
        change(model)
    after, fresh = bounds(bounded, x), bounds(BoundedModule(model, x), x)
    assert not (
        after.lower.shape == before.lower.shape and torch.allclose(after.lower, before.lower, rtol=1e-3)
    )
    torch.testing.assert_close(after.lower, fresh.lower)
    torch.testing.assert_close(after.upper, fresh.upper)


def test_a_plain_tensor_that_is_read_and_made_a_number_is_compared():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.t = torch.tensor(2.0)

        def forward(self, x):
            return x * float(self.t) + self.t

    model, x = Twice(), example()
    bounded = BoundedModule(model, x)
    bounds(bounded, x)
    model.t.fill_(5.0)
    lower, _ = bounds(bounded, x)
    torch.testing.assert_close(lower, (x - 0.3) * 5 + 5)


def test_what_does_not_enter_by_value_is_read_anew_without_another_capture():
    model = Model(lambda m, x: x * m.scale + float(m.b), b=torch.tensor(2.0), scale=torch.tensor(3.0))
    x = example()
    bounded = BoundedModule(model, x)
    first = bounded._lirpa_captured.graph(bounded._lirpa_registry)
    model.scale.fill_(4.0)
    assert bounded._lirpa_captured.graph(bounded._lirpa_registry) is first
    torch.testing.assert_close(bounds(bounded, x).lower, (x - 0.3) * 4 + 2)


def test_the_model_stays_as_it_is():
    model, x = Model(lambda m, x: x * float(m.b), b=torch.tensor(2.0)), example()
    before = dict(vars(model))
    bounds(BoundedModule(model, x), x)
    assert vars(model).keys() == before.keys() and model.forward.__func__ is Model.forward


def test_a_written_buffer_is_not_changed_by_the_capture():
    def function(m, x):
        table = m.b.clone()
        table[0] = 5
        return x * float(table[0]) * float(m.b[0])

    assert_exact(Model(function, b=torch.tensor([2.0, 3.0])), example())


def test_what_is_written_through_a_view_is_a_source():
    def function(m, x):
        table = m.b.clone()
        part = table[:1]
        part[0] = m.c
        return x * float(table[0])

    model, x = Model(function, b=torch.tensor([2.0, 3.0]), c=torch.tensor(7.0)), example()
    bounded = assert_exact(model, x)
    model.c.fill_(9.0)
    torch.testing.assert_close(bounds(bounded, x).lower, (x - 0.3) * 9)


def test_what_an_input_is_written_into_is_no_constant():
    def function(m, x):
        table = m.b.clone()
        part = table[:2]
        part[0] = x[0, 0]
        return x * 2 if table[0] > 0 else x * 3

    with pytest.raises(DataDependentBranchError, match="branches"):
        BoundedModule(Model(function, b=torch.tensor([2.0, 3.0]).double()), example())


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (lambda m, x: x * 2 if x.sum() > 0 else x, DataDependentBranchError),
        (lambda m, x: x * x.sum().item(), DataDependentBranchError),
        (lambda m, x: x[:, x[0] > 0], DataDependentShapeError),
        (lambda m, x: x * float(torch.rand(1)), CaptureError),
        (lambda m, x: x * float(torch.rand_like(m.b)), CaptureError),
        (lambda m, x: x * float(torch.empty(1)[0] * 0), CaptureError),
    ],
)
def test_what_inputs_reach_or_chance_decides_is_refused(function, error):
    with pytest.raises(error):
        BoundedModule(Model(function, b=torch.tensor(2.0)), example())


def test_a_perturbed_parameter_is_no_constant():
    model = Model(lambda m, x: x * float(m.w))
    model.w = BoundedParameter(torch.tensor(2.0).double(), PerturbationLpNorm(eps=0.1))
    with pytest.raises(DataDependentBranchError):
        BoundedModule(model, example())


def test_becoming_perturbed_is_noticed():
    model, x = Model(lambda m, x: x * float(m.w)), example()
    model.w = nn.Parameter(torch.tensor(2.0).double())
    bounded = BoundedModule(model, x)
    bounds(bounded, x)
    model.w = BoundedParameter(torch.tensor(2.0).double(), PerturbationLpNorm(eps=0.1))
    with pytest.raises(DataDependentBranchError):
        bounds(bounded, x)


def test_gradients_reach_parameters_that_a_mask_selects():
    model, x = Model(lambda m, x: x[:, m.w > 0] * m.w[m.w > 0]), example()
    model.w = nn.Parameter(torch.tensor([1.0, -2.0, 3.0, -1.0]).double())
    lower, _ = bounds(BoundedModule(model, x), x)
    lower.sum().backward()
    assert ((model.w.grad != 0) == (model.w > 0)).all()


def test_a_singular_matrix_is_an_error_of_the_model():
    model, x = Model(lambda m, x: x @ torch.linalg.inv(m.a), a=matrix()), example()
    bounded = BoundedModule(model, x)
    model.a.zero_()
    with pytest.raises(InputError, match="singular"):
        bounds(bounded, x)


def test_a_check_that_only_raises_may_stay_and_one_that_does_not_show_it_may_stand_behind_a_question():
    def checked(m, x):
        if torch.isnan(x).any():
            raise ValueError("not a number")
        return x * 2

    assert_exact(Model(checked), example())

    def hidden(m, x):
        try:
            return checked(m, x)
        except ValueError:
            return x

    with pytest.raises(DataDependentBranchError, match="is_exporting"):
        BoundedModule(Model(hidden), example())

    def behind(m, x):
        return hidden(m, x) if not torch.compiler.is_exporting() else x * 2

    assert_exact(Model(behind), example())


def test_a_distribution_whose_parameters_are_constant_needs_no_change():
    def drawn_from(m, x):
        normal = torch.distributions.Normal(m.mean, m.deviation, validate_args=True)
        return x * normal.stddev + normal.mean

    assert_exact(Model(drawn_from, mean=torch.zeros(4).double(), deviation=torch.ones(4).double()), example())


def test_log_probabilities_of_perturbed_values():
    def density(m, x):
        normal = torch.distributions.Normal(m.mean, m.deviation, validate_args=m.validate)
        return normal.log_prob(x)

    x, mean = example(), torch.zeros(4).double()
    model = Model(density, mean=mean, deviation=torch.full((4,), 2.0).double())
    for model.validate in (True, False):
        lower, upper = bounds(BoundedModule(model, x), x, method="IBP")
        for by in (-0.3, 0.0, 0.3):
            value = torch.distributions.Normal(mean, 2.0).log_prob(x + by)
            assert (lower <= value).all() and (value <= upper).all()


def test_statistics_of_a_batch_are_no_constants():
    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(4).double()

        def forward(self, x):
            return self.norm(x) * float(self.norm.running_mean[0] + 2)

    model = Normed()
    with pytest.raises(TrainingModeError, match="running statistics"):
        BoundedModule(model, example())
    BoundedModule(model.eval(), example())
