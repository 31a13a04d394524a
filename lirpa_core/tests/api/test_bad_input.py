"""Every mistake is refused before anything is computed, by a message that says what to do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import (
    DomainError,
    InputError,
    LirpaError,
    NonFiniteBoundError,
    OptionError,
    PerturbationError,
    SpecificationError,
    UnsupportedOperandError,
    UnsupportedOperatorError,
)
from lirpa_core.methods import CROWN
from lirpa_testing import method_names

x = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def bounded() -> BoundedModule:
    return BoundedModule(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), x)


def perturbed(**kwargs: Any) -> BoundedTensor:
    return BoundedTensor(x, PerturbationLpNorm(**kwargs))


@pytest.mark.parametrize(
    ("ptb", "message"),
    [
        ({"x_L": x + 1, "x_U": x}, "x_L"),
        ({"eps": -0.1}, "eps"),
        ({"eps": torch.zeros(5)}, "eps"),
        ({"eps": 0.1, "norm": 0.5}, "norm"),
        ({}, "eps"),
        ({"eps": float("nan")}, "eps"),
        ({"x_L": x - 1, "x_U": torch.full_like(x, float("inf"))}, "x_U"),
    ],
)
def test_wrong_perturbations(bounded: BoundedModule, ptb: dict[str, Any], message: str) -> None:
    with pytest.raises(PerturbationError, match=message):
        bounded.compute_bounds(x=perturbed(**ptb))


def test_nothing_perturbed(bounded: BoundedModule) -> None:
    with pytest.raises(PerturbationError, match="BoundedTensor"):
        bounded.compute_bounds(x=x)


def test_no_input() -> None:
    with pytest.raises(InputError, match=r"compute_bounds\(x=\(my_input,\)"):
        BoundedModule(nn.Linear(3, 2), x).compute_bounds()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_input_that_is_not_finite(bounded: BoundedModule, value: float) -> None:
    bad = x.clone()
    bad[0, 0] = value
    with pytest.raises(InputError, match="'input'"):
        bounded.compute_bounds(x=BoundedTensor(bad, PerturbationLpNorm(eps=0.1)))


UNREADABLE = {
    "meta": lambda t: t.to("meta"),
    "sparse": lambda t: t.to_sparse(),
    "nested": lambda t: torch.nested.nested_tensor(list(t)),
    "quantized": lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8),
}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("kind", UNREADABLE)
def test_tensors_whose_elements_cannot_be_read(bounded: BoundedModule, kind: str) -> None:
    """In every place where a tensor may be given: the input, beside one, its set, the specification."""
    wrong = UNREADABLE[kind](x)
    with pytest.raises(PerturbationError, match=f"BoundedTensor was given .*{kind}"):
        BoundedTensor(wrong, PerturbationLpNorm(eps=0.1))
    for given in ({"eps": wrong}, {"x_L": wrong, "x_U": x}):
        with pytest.raises(PerturbationError, match=f"(eps|x_L) is .*{kind}"):
            bounded.compute_bounds(x=BoundedTensor(x, PerturbationLpNorm(**given)))
    with pytest.raises(SpecificationError, match=f"C is .*{kind}"):
        bounded.compute_bounds(x=BoundedTensor(x, PerturbationLpNorm(eps=0.1)), C=wrong)

    class Two(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return a + b

    both = BoundedModule(Two(), (x, x))
    with pytest.raises(InputError, match=f"input 'b' is .*{kind}"):
        both.compute_bounds(x=(BoundedTensor(x, PerturbationLpNorm(eps=0.1)), wrong))


def test_a_model_that_takes_sparse_tensors_still_does(bounded: BoundedModule) -> None:
    assert torch.allclose(bounded(x.to_sparse()), bounded(x), atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 4), (2, 3, 1), (3,)])
def test_input_of_another_shape(bounded: BoundedModule, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"captured for \[B, 3\]"):
        bounded.compute_bounds(x=BoundedTensor(torch.zeros(shape), PerturbationLpNorm(eps=0.1)))


def test_integer_input() -> None:
    with pytest.raises(PerturbationError, match="int64"):
        BoundedTensor(torch.arange(3), PerturbationLpNorm(eps=0.1))


@pytest.mark.parametrize(
    ("shape", "message"), [((3, 1, 2), r"\[2, K, 2\]"), ((2, 1, 3), r"\[2, K, 2\]"), ((2, 2), r"\[2, K, 2\]")]
)
def test_specification_of_a_wrong_shape(bounded: BoundedModule, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(SpecificationError, match=message):
        bounded.compute_bounds(x=perturbed(eps=0.1), C=torch.ones(shape))


def test_specification_of_a_wrong_dtype(bounded: BoundedModule) -> None:
    with pytest.raises(SpecificationError, match="float64"):
        bounded.compute_bounds(x=perturbed(eps=0.1), C=torch.ones(2, 1, 2, dtype=torch.float64))


def test_unknown_method_lists_the_known_ones(bounded: BoundedModule) -> None:
    with pytest.raises(OptionError, match=r"'CRWN'.*'CROWN' = 'backward'"):
        bounded.compute_bounds(x=perturbed(eps=0.1), method="CRWN")


def test_the_class_of_a_method_is_not_its_object(bounded: BoundedModule) -> None:
    with pytest.raises(OptionError, match=r"give an object: CROWN\(\)"):
        bounded.compute_bounds(x=perturbed(eps=0.1), method=CROWN)  # type: ignore[arg-type]


def test_unknown_option_suggests_the_nearest(bounded: BoundedModule) -> None:
    with pytest.raises(OptionError, match="Did you mean 'activation_bound_option'"):
        bounded.set_bound_opts({"activation_bound_opt": "adaptive"})
    with pytest.raises(OptionError, match="'same-slope'"):
        BoundedModule(nn.Linear(3, 2), x, bound_opts={"relu": "steep"})
    with pytest.raises(OptionError, match="memory_budget"):
        BoundedModule(nn.Linear(3, 2), x, bound_opts={"memory_budget": 0})


@pytest.mark.parametrize("name", ["bound_opts", "progress", "rounding", "optimize_bound_args"])
def test_options_of_the_model_are_no_keywords(bounded: BoundedModule, name: str) -> None:
    with pytest.raises(OptionError, match=r"takes no .*BoundedModule\(..., bound_opts"):
        bounded.compute_bounds(x=perturbed(eps=0.1), **{name: None})


def test_no_side_wanted(bounded: BoundedModule) -> None:
    with pytest.raises(OptionError, match="nothing to compute"):
        bounded.compute_bounds(x=perturbed(eps=0.1), bound_lower=False, bound_upper=False)


def test_no_linear_bounds_in_ibp(bounded: BoundedModule) -> None:
    with pytest.raises(OptionError, match="no linear bounds"):
        bounded.compute_bounds(x=perturbed(eps=0.1), method="IBP", return_A=True)


def test_needed_A_of_an_unknown_input(bounded: BoundedModule) -> None:
    needed = {bounded.output_name[0]: ["weight"]}
    with pytest.raises(OptionError, match=r"'weight'.*\['input'\]"):
        bounded.compute_bounds(x=perturbed(eps=0.1), return_A=True, needed_A_dict=needed)


def test_intermediate_bounds_of_an_unknown_node(bounded: BoundedModule) -> None:
    with pytest.raises(InputError, match="'layer9'"):
        bounded.compute_bounds(x=perturbed(eps=0.1), interm_bounds={"layer9": (x, x)})
    with pytest.raises(InputError, match=r"\[2, 1, 4\]"):
        bounded.compute_bounds(x=perturbed(eps=0.1), interm_bounds={"0": (x, x)})


@pytest.mark.parametrize("method", method_names())
def test_a_batch_without_examples(bounded: BoundedModule, method: str) -> None:
    with pytest.raises(InputError, match=r"\[0, 3\], a batch without examples"):
        bounded.compute_bounds(x=BoundedTensor(x[:0], PerturbationLpNorm(eps=0.1)), method=method)


class Call(nn.Module):
    """A module around a function of tensors."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Tensor) -> Tensor:
        out: Tensor = self.function(*args)
        return out


@pytest.mark.parametrize("method", method_names())
@pytest.mark.parametrize("function", [torch.log, torch.sqrt, torch.reciprocal])
def test_a_box_that_touches_a_singularity(function: Any, method: str) -> None:
    point = torch.full((2, 3), 0.05)
    bounded = BoundedModule(Call(lambda z: function(z)), point)  # singular line
    with pytest.raises(DomainError, match=r"\[-0\.05, 0\.15\](.|\n)*"):
        bounded.compute_bounds(x=BoundedTensor(point, PerturbationLpNorm(eps=0.1)), method=method)
    inside = BoundedTensor(point + 1, PerturbationLpNorm(eps=0.1))
    lower, upper = bounded.compute_bounds(x=inside, method=method)
    assert bool((lower <= function(point + 1)).all() and (function(point + 1) <= upper).all())


def test_a_bound_that_overflows() -> None:
    point = torch.full((1, 1), 80.0)
    bounded = BoundedModule(Call(lambda z: z.exp()), point)
    with pytest.raises(NonFiniteBoundError, match="exp"):
        bounded.compute_bounds(x=BoundedTensor(point, PerturbationLpNorm(eps=20.0)), method="IBP")


def test_an_operator_without_a_rule_names_line_and_module() -> None:
    bounded = BoundedModule(Call(lambda z: torch.special.bessel_j1(z)), x)
    with pytest.raises(UnsupportedOperatorError, match=r"bessel_j1(.|\n)*test_bad_input\.py"):
        bounded.compute_bounds(x=perturbed(eps=0.1))


def test_a_function_without_a_rule_names_no_line_of_lirpas() -> None:
    with pytest.raises(UnsupportedOperatorError, match="special_bessel_j1") as raised:
        BoundedModule(lambda z: torch.special.bessel_j1(z), x).compute_bounds(x=perturbed(eps=0.1))
    assert "lirpa_core/capture" not in str(raised.value)


def test_a_combination_without_a_rule() -> None:
    bounded = BoundedModule(Call(lambda a, b: torch.heaviside(a, b)), (x, torch.tensor([0.2])))
    weight = BoundedTensor(torch.tensor([0.2]), PerturbationLpNorm(eps=0.1))
    with pytest.raises((UnsupportedOperandError, LirpaError)):
        bounded.compute_bounds(x=(perturbed(eps=0.1), weight))
