"""The façade: a module like any other, and bounds in the shapes that users expect."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedParameter, BoundedTensor, Interval, PerturbationLpNorm
from lirpa_core.errors import OptionError
from lirpa_testing import method_names


def mlp(seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2)).to(dtype)


def ball(x: Tensor, eps: float = 0.1, norm: float = float("inf")) -> BoundedTensor:
    return BoundedTensor(x, PerturbationLpNorm(norm=norm, eps=eps))


@pytest.fixture
def x() -> Tensor:
    return torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


class TestModule:
    def test_forward_is_the_models(self, x: Tensor) -> None:
        model = mlp()
        bounded = BoundedModule(model, x)
        assert torch.equal(bounded(x), model(x))
        assert torch.equal(bounded(ball(x)), model(x))
        assert type(bounded(ball(x))) is Tensor

    def test_state_dict_has_the_models_keys(self, x: Tensor) -> None:
        model = mlp()
        bounded = BoundedModule(model, x)
        assert list(bounded.state_dict()) == list(model.state_dict())
        assert [n for n, _ in bounded.named_parameters()] == [n for n, _ in model.named_parameters()]
        bounded.load_state_dict(mlp(seed=5).state_dict())
        assert torch.equal(model(x), mlp(seed=5)(x))

    def test_training_moves_the_bounds(self, x: Tensor) -> None:
        bounded = BoundedModule(mlp(), x)
        before = bounded.compute_bounds(x=ball(x), method="CROWN-IBP").upper
        optimiser = torch.optim.SGD(bounded.parameters(), lr=0.1)
        before.sum().backward()
        optimiser.step()
        after = bounded.compute_bounds(x=ball(x), method="CROWN-IBP").upper
        assert float(after.detach().sum()) < float(before.detach().sum())

    @pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda b: pickle.loads(pickle.dumps(b))])
    def test_copies_bound_by_themselves(self, x: Tensor, duplicate: Any) -> None:
        bounded = BoundedModule(mlp(), x)
        lower, upper = bounded.compute_bounds(x=ball(x))
        twin = duplicate(bounded)
        with torch.no_grad():
            bounded.get_parameter("0.weight").zero_()
        again = twin.compute_bounds(x=ball(x))
        assert torch.equal(again.lower, lower) and torch.equal(again.upper, upper)

    def test_conversion_to_another_dtype(self, x: Tensor) -> None:
        bounded = BoundedModule(mlp(), x)
        wide = bounded.compute_bounds(x=ball(x))
        narrow = bounded.float().compute_bounds(x=ball(x.float()))
        assert narrow.lower.dtype == torch.float32
        assert torch.allclose(narrow.lower.double(), wide.lower, atol=1e-4)

    def test_mode_changes_are_followed(self, x: Tensor) -> None:
        model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)).double().eval()
        bounded = BoundedModule(model, x)
        assert not bounded.training
        bounded.train()
        assert model.training and model[1].training
        bounded.eval()
        assert not model[1].training

    def test_exported_programs(self, x: Tensor) -> None:
        model = mlp()
        expected = BoundedModule(model, x).compute_bounds(x=ball(x))
        batch = torch.export.Dim("batch")
        for program in (
            torch.export.export(model, (x[:1],)),
            torch.export.export(model, (x,), dynamic_shapes=({0: batch},)),
        ):
            found = BoundedModule(program, x).compute_bounds(x=ball(x))
            assert torch.allclose(found.lower, expected.lower)

    def test_device_argument(self, x: Tensor, device: torch.device) -> None:
        bounded = BoundedModule(mlp(), x, device=device)
        lower, _ = bounded.compute_bounds(x=ball(x.to(device)))
        assert lower.device.type == device.type


class TestBounds:
    @pytest.mark.parametrize("method", method_names())
    def test_toy_network_of_the_literature(self, method: str) -> None:
        # Weights and box of the worked example of Zhang et al. 2018 as the reference system ships it.
        model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False)).double()
        with torch.no_grad():
            model[0].weight.copy_(torch.tensor([[1.0, -1.0], [2.0, -1.0]]))
            model[2].weight.copy_(torch.tensor([[1.0, -1.0]]))
        low, up = torch.tensor([[-1.0, -2.0]]).double(), torch.tensor([[2.0, 1.0]]).double()
        x = BoundedTensor((low + up) / 2, PerturbationLpNorm(x_L=low, x_U=up))
        lower, upper = BoundedModule(model, x).compute_bounds(x=(x,), method=method)
        if method not in method_names(optimized=False):  # no looser than CROWN; the range is [-2, 1]
            assert -3 - 1e-12 <= lower.item() <= -2 and 1 <= upper.item() <= 3 + 1e-12
            return
        expected = (-6.0, 4.0) if method == "IBP" else (-3.0, 3.0)
        assert (lower.item(), upper.item()) == pytest.approx(expected, abs=1e-12)

    @pytest.mark.parametrize("method", method_names())
    def test_specification_and_sides(self, x: Tensor, method: str) -> None:
        bounded = BoundedModule(mlp(), x)
        C = torch.tensor([[[1.0, -1.0]], [[-1.0, 1.0]], [[1.0, 0.0]], [[0.0, 2.0]]], dtype=torch.float64)
        both = bounded.compute_bounds(x=ball(x), C=C, method=method)
        assert both.lower.shape == both.upper.shape == (4, 1)
        only_lower = bounded.compute_bounds(x=ball(x), C=C, method=method, bound_upper=False)
        only_upper = bounded.compute_bounds(x=ball(x), C=C, method=method, bound_lower=False)
        assert only_lower.upper is None and only_upper.lower is None
        assert torch.allclose(only_lower.lower, both.lower) and torch.allclose(only_upper.upper, both.upper)
        outputs = torch.einsum("bko,bo->bk", C, bounded(x))
        assert bool((both.lower <= outputs).all() and (outputs <= both.upper).all())

    @pytest.mark.parametrize("method", method_names())
    def test_identity_specification_changes_nothing(self, x: Tensor, method: str) -> None:
        bounded = BoundedModule(mlp(), x)
        plain = bounded.compute_bounds(x=ball(x), method=method)
        eye = torch.eye(2, dtype=torch.float64).expand(4, 2, 2)
        with_eye = bounded.compute_bounds(x=ball(x), method=method, C=eye)
        assert torch.allclose(plain.lower, with_eye.lower) and torch.allclose(plain.upper, with_eye.upper)

    @pytest.mark.parametrize("method", method_names())
    def test_examples_do_not_influence_each_other(self, x: Tensor, method: str) -> None:
        bounded = BoundedModule(mlp(), x)
        whole = bounded.compute_bounds(x=ball(x), method=method)
        for i in range(4):
            alone = bounded.compute_bounds(x=ball(x[i : i + 1]), method=method)
            assert torch.allclose(alone.lower, whole.lower[i : i + 1], rtol=1e-12, atol=1e-12)
            assert torch.allclose(alone.upper, whole.upper[i : i + 1], rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("method", method_names(affine=True))
    @pytest.mark.parametrize("norm", [1.0, 2.0, float("inf")])
    def test_linear_bounds_hold_and_concretize(self, x: Tensor, method: str, norm: float) -> None:
        bounded = BoundedModule(mlp(), x)
        point = ball(x, norm=norm)
        lower, _, A = bounded.compute_bounds(x=point, method=method, return_A=True)
        found = A[bounded.output_name[0]][bounded.input_name[0]]
        assert found["lA"].shape == found["uA"].shape == (4, 2, 3)
        assert found["lbias"].shape == found["ubias"].shape == (4, 2)
        for z in point.ptb.sample(x, 50):
            y = bounded(z)
            assert bool((torch.einsum("bki,bi->bk", found["lA"], z) + found["lbias"] <= y + 1e-9).all())
            assert bool((torch.einsum("bki,bi->bk", found["uA"], z) + found["ubias"] >= y - 1e-9).all())
        q = {1.0: float("inf"), 2.0: 2.0, float("inf"): 1.0}[norm]
        concrete = torch.einsum("bki,bi->bk", found["lA"], x) + found["lbias"]
        concrete = concrete - 0.1 * found["lA"].norm(p=q, dim=-1)
        assert bool((lower >= concrete - 1e-9).all())

    def test_several_outputs_keep_their_structure(self, x: Tensor) -> None:
        class Two(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.net = mlp()

            def forward(self, x: Tensor) -> dict[str, Any]:
                y = self.net(x)
                return {"y": y, "parts": (y[:, :1], x * 2)}

        bounded = BoundedModule(Two(), x)
        lower, upper = bounded.compute_bounds(x=ball(x))
        assert lower["y"].shape == (4, 2) and lower["parts"][1].shape == (4, 3)
        assert torch.allclose(lower["parts"][0], lower["y"][:, :1])
        only = bounded.compute_bounds(x=ball(x), output=2, C=torch.ones(4, 1, 3, dtype=torch.float64))
        assert torch.allclose(only.upper, 2 * (x + 0.1).sum(1, keepdim=True))
        assert upper["parts"][1].equal(2 * (x + 0.1)) or torch.allclose(upper["parts"][1], 2 * (x + 0.1))

    def test_an_output_without_perturbation_is_exact(self, x: Tensor) -> None:
        class Side(nn.Module):
            def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
                return x * y, y.sin()

        y = torch.randn(4, 3, dtype=torch.float64)
        lower, upper = BoundedModule(Side(), (x, y)).compute_bounds(x=(ball(x), y))
        assert torch.equal(lower[1], y.sin()) and torch.equal(upper[1], y.sin())

    def test_two_perturbed_inputs(self, x: Tensor) -> None:
        class Sum(nn.Module):
            def forward(self, a: Tensor, b: Tensor) -> Tensor:
                return a - 2 * b

        a, b = ball(x, 0.1), ball(x, 0.3, norm=2.0)
        for method in method_names():
            lower, upper = BoundedModule(Sum(), (x, x)).compute_bounds(x=(a, b), method=method)
            assert torch.allclose(upper, -x + 0.1 + 0.6) and torch.allclose(lower, -x - 0.1 - 0.6)

    def test_batch_dimension_elsewhere(self) -> None:
        class Frames(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(3, 2)

            def forward(self, x: Tensor) -> Tensor:
                return torch.relu(self.layer(x))

        torch.manual_seed(0)
        model = Frames().double()
        x = torch.randn(5, 4, 3, dtype=torch.float64)
        first = BoundedModule(model, x.transpose(0, 1)).compute_bounds(x=ball(x.transpose(0, 1)))
        second = BoundedModule(model, x, batch_dims=(1,)).compute_bounds(x=ball(x))
        assert second.lower.shape == (5, 4, 2)
        assert torch.allclose(first.lower.transpose(0, 1), second.lower)

    def test_perturbed_weights(self, x: Tensor) -> None:
        model = mlp()
        weight = model[0].weight.detach().clone()
        ptb = PerturbationLpNorm(eps=0.01)
        model[0].weight = BoundedParameter(weight, ptb)
        bounded = BoundedModule(model, x)
        reference = mlp()
        for method in method_names():
            for point in (x, ball(x)):
                lower, upper = bounded.compute_bounds(x=point, method=method)
                for w in ptb.sample(weight.unsqueeze(0), 20)[:, 0]:
                    y = torch.func.functional_call(reference, {"0.weight": w}, (x,))
                    assert bool((lower <= y + 1e-9).all() and (y <= upper + 1e-9).all())

    @pytest.mark.parametrize("method", method_names())
    def test_gradients_reach_weights_input_and_eps(self, x: Tensor, method: str) -> None:
        model = mlp()
        bounded = BoundedModule(model, x)
        eps = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
        leaf = x.clone().requires_grad_()
        point = BoundedTensor(leaf, PerturbationLpNorm(eps=eps))
        lower, upper = bounded.compute_bounds(x=point, method=method)
        (upper - lower).sum().backward()
        assert eps.grad is not None and float(eps.grad) > 0
        assert leaf.grad is not None and bool(torch.isfinite(leaf.grad).all())
        for parameter in model.parameters():
            if parameter is not model[4].bias:  # a shift of both bounds
                assert parameter.grad is not None and bool(torch.isfinite(parameter.grad).all())


class TestIntermediate:
    def test_access_by_module_and_node(self, x: Tensor) -> None:
        bounded = BoundedModule(mlp(), x)
        inner = bounded.compute_bounds(x=ball(x)).intermediate
        assert inner["0"].lower.shape == (4, 8)
        assert torch.equal(inner["0"].lower, inner["linear"].lower)
        with pytest.raises(KeyError, match="no bounds for 'nowhere'"):
            inner["nowhere"]

    def test_given_bounds_are_used(self, x: Tensor) -> None:
        bounded = BoundedModule(mlp(), x)
        tight = bounded.compute_bounds(x=ball(x), method="CROWN").intermediate
        loose = bounded.compute_bounds(x=ball(x), method="CROWN-IBP")
        given = {"0": tight["0"], "2": (tight["2"].lower, tight["2"].upper)}
        better = bounded.compute_bounds(x=ball(x), method="CROWN-IBP", interm_bounds=given)
        assert float((better.upper - better.lower).detach().mean()) < float(
            (loose.upper - loose.lower).detach().mean()
        )
        crown = bounded.compute_bounds(x=ball(x), method="CROWN")
        assert torch.allclose(better.lower, crown.lower)

    def test_save_intermediate(self, x: Tensor, tmp_path: Any) -> None:
        bounded = BoundedModule(mlp(), x)
        bounded.compute_bounds(x=ball(x))
        saved = bounded.save_intermediate(tmp_path / "bounds.pt")
        again = torch.load(tmp_path / "bounds.pt", weights_only=True)
        assert list(saved) == list(again) and torch.equal(again["tanh"][0], saved["tanh"][0])

    def test_intermediate_type(self, x: Tensor) -> None:
        inner = BoundedModule(mlp(), x).compute_bounds(x=ball(x)).intermediate
        assert all(isinstance(v, Interval) for v in inner.values()) and len(inner) == len(list(inner))


@pytest.mark.parametrize("method", method_names())
def test_a_model_without_any_batch_may_return_a_number(method: str) -> None:
    class Score(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(x).sum().relu()

    x = torch.tensor([0.3, 0.2, -0.1], dtype=torch.float64)
    bounded = BoundedModule(Score(), x, batch_dims=None)
    lower, upper = bounded.compute_bounds(x=ball(x), method=method)
    assert lower.shape == () and float(lower) <= float(Score()(x)) <= float(upper)


class TestInnerNodes:
    """Any node can be bounded, by its name or by the path of a module."""

    @pytest.mark.parametrize("method", method_names())
    def test_bounds_of_a_module_are_those_of_the_model_cut_there(self, x: Tensor, method: str) -> None:
        model = mlp()
        cut = BoundedModule(model[:3], x).compute_bounds(x=ball(x), method=method)
        inner = BoundedModule(model, x).compute_bounds(x=ball(x), method=method, output="2")
        torch.testing.assert_close(inner.lower, cut.lower)
        torch.testing.assert_close(inner.upper, cut.upper)

    def test_a_specification_over_an_inner_node(self, x: Tensor) -> None:
        C = torch.ones(4, 1, 8, dtype=torch.float64)
        bounded = BoundedModule(mlp(), x)
        lower, upper = bounded.compute_bounds(x=ball(x), C=C, output="0")
        total = mlp()[0](x).sum(1, keepdim=True)
        assert lower.shape == (4, 1) and bool((lower <= total).all()) and bool((total <= upper).all())

    def test_an_unknown_name_lists_what_there_is(self, x: Tensor) -> None:
        with pytest.raises(OptionError, match=r"no such node or module.*modules \['0'"):
            BoundedModule(mlp(), x).compute_bounds(x=ball(x), output="layer9")

    def test_the_name_of_the_output_keeps_its_layout(self, x: Tensor) -> None:
        bounded = BoundedModule(mlp(), x)
        named = bounded.compute_bounds(x=ball(x), output=bounded.output_name[0])
        assert torch.equal(named.lower, bounded.compute_bounds(x=ball(x)).lower)


class TestNamesOfTheReferenceSystem:
    def test_init_alpha_gives_inner_bounds_that_can_be_used_again(self, x: Tensor) -> None:
        bounded = BoundedModule(mlp(), x)
        lower, upper, inner = bounded.init_alpha((ball(x),), method="CROWN")
        again = bounded.compute_bounds(x=ball(x), method="CROWN", interm_bounds=inner)
        torch.testing.assert_close(again.lower, lower)
        torch.testing.assert_close(again.upper, upper)
        better = bounded.compute_bounds(x=ball(x), method="CROWN-Optimized", interm_bounds=inner)
        assert bool((better.lower >= lower - 1e-12).all())

    def test_flags(self, x: Tensor) -> None:
        bounded = BoundedModule(mlp(), x)
        flagged = bounded.compute_bounds(x=ball(x), IBP=True, method=None)
        assert torch.equal(flagged.lower, bounded.compute_bounds(x=ball(x), method="IBP").lower)


class TestChangesAfterCapture:
    """A graph is never used for a model that is no longer the one that was captured."""

    def test_untied_weights_are_two_weights(self, x: Tensor) -> None:
        model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)).double()
        model[2].weight = model[0].weight
        bounded = BoundedModule(model, x)
        bounded.compute_bounds(x=ball(x))
        model[2].weight = nn.Parameter(torch.randn(3, 3, dtype=torch.float64))
        found = bounded.compute_bounds(x=ball(x))
        fresh = BoundedModule(model, x).compute_bounds(x=ball(x))
        torch.testing.assert_close(found.lower, fresh.lower)
        assert bool((found.lower <= model(x)).all() and (model(x) <= found.upper).all())

    def test_an_exchanged_module_is_bounded(self, x: Tensor) -> None:
        model = mlp()
        bounded = BoundedModule(model, x)
        bounded.compute_bounds(x=ball(x))
        model[3] = nn.Sigmoid()
        found = bounded.compute_bounds(x=ball(x))
        torch.testing.assert_close(found.lower, BoundedModule(model, x).compute_bounds(x=ball(x)).lower)

    def test_training_steps_capture_nothing_anew(self, x: Tensor) -> None:
        bounded = BoundedModule(mlp(), x)
        graph = bounded.graph
        bounded.compute_bounds(x=ball(x)).lower.sum().backward()
        torch.optim.SGD(bounded.parameters(), 0.1).step()
        bounded.load_state_dict(mlp(seed=3).state_dict())
        assert bounded.graph is graph
