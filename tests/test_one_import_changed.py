"""Programs written for auto_LiRPA run with their imports changed: small ones, in the ways that such programs are written.

Each one says what it expects of the numbers, from samples of the model, so that a name that is taken and does something
else fails here.
"""

from __future__ import annotations

import importlib
import io
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lirpa_core import (
    BoundDataParallel,
    BoundedModule,
    BoundedTensor,
    BoundsResult,
    GradNorm,
    JacobianOP,
    PerturbationLpNorm,
    get_spec_matrix,
    register_custom_op,
)
from lirpa_core.errors import CompatibilityWarning, InputError, OptionError, PerturbationError
from lirpa_training import (
    CrossEntropyWrapperMultiInput,
    LinearScheduler,
    MultiAverageMeter,
    scale_gradients,
    sync_params,
)

EPS = 0.1
ROOT = Path(__file__).parents[1]


class Convolutional(nn.Module):
    """What programs on images bound."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, stride=2, padding=1)
        self.hidden = nn.Linear(48, 10)
        self.out = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x)).flatten(1)
        return self.out(F.relu(self.hidden(x)))


@pytest.fixture
def image() -> Tensor:
    return torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return Convolutional().eval()


def dense() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))


@cache  # captured once; a call depends on nothing that was called before, unless it has no inputs
def bounded() -> tuple[nn.Sequential, BoundedModule]:
    """The dense model, bounded, with default options."""
    net = dense()
    return net, BoundedModule(net, torch.zeros(1, 3))


def width(found: BoundsResult) -> float:
    """Sum of all widths."""
    return float((found.upper - found.lower).detach().sum())


def points(x: Tensor, eps: float = EPS, n: int = 64) -> Tensor:
    """Members of the L∞ ball, corners among them: `[n, *x.shape]`."""
    moves = torch.rand(n, *x.shape, generator=torch.Generator().manual_seed(3)) * 2 - 1
    moves[::2] = moves[::2].sign()
    return x + eps * moves


def assert_holds(lower: Tensor | None, upper: Tensor | None, values: Tensor) -> None:
    """Bounds are beyond all values `[n, ...]`, and finite."""
    for side, sign in ((lower, 1), (upper, -1)):
        if side is not None:
            assert bool(side.isfinite().all())
            assert bool((sign * (values - side) >= 0).all())


class TestCallsWithoutInputs:
    def test_bounds_are_those_of_the_last_call(self, net: nn.Module, image: Tensor) -> None:
        model = BoundedModule(net, torch.empty_like(image), bound_opts={"conv_mode": "patches"}, device="cpu")
        prediction = model(BoundedTensor(image, PerturbationLpNorm(norm=np.inf, eps=EPS)))
        assert prediction.argmax(1).shape == (2,)
        for method in ("IBP", "IBP+backward", "backward", "CROWN-Optimized", "ibp", "Crown-IBP"):
            lb, ub = model.compute_bounds(method=method)
            assert_holds(lb, ub, torch.stack([net(z) for z in points(image)]).detach())

    def test_the_last_call_counts_and_not_an_older_one(self) -> None:
        (_, model), x = bounded(), torch.rand(2, 3)
        model.compute_bounds(x=(BoundedTensor(x, PerturbationLpNorm(eps=0.5)),))
        model(BoundedTensor(x, PerturbationLpNorm(eps=0.01)))
        narrow = model.compute_bounds(method="IBP")
        expected = model.compute_bounds(x=BoundedTensor(x, PerturbationLpNorm(eps=0.01)), method="IBP")
        assert torch.equal(narrow.upper, expected.upper)
        model(x)
        with pytest.raises(PerturbationError, match="no input is perturbed"):
            model.compute_bounds(method="IBP")

    def test_before_any_call_there_is_nothing_to_bound(self) -> None:
        with pytest.raises(InputError, match=r"compute_bounds\(x=\(my_input,\)"):
            BoundedModule(dense(), torch.zeros(1, 3)).compute_bounds(method="IBP")

    def test_one_sided_rows_with_both_flags_of_old_programs(self) -> None:
        (net, model), x = bounded(), torch.rand(4, 3)
        C = get_spec_matrix(x, torch.tensor([0, 1, 1, 0]), 2)
        model(BoundedTensor(x, PerturbationLpNorm(norm=np.inf, eps=EPS)))
        values = torch.stack([torch.einsum("bko,bo->bk", C, net(z)) for z in points(x)]).detach()
        for kwargs in (
            {"IBP": True, "method": None},
            {"IBP": True, "method": "backward"},
            {"method": "forward"},
        ):
            lb, ub = model.compute_bounds(C=C, bound_upper=False, **kwargs)
            assert ub is None
            assert_holds(lb, None, values)
            lb, ub = model.compute_bounds(C=C, bound_lower=False, **kwargs)
            assert lb is None
            assert_holds(None, ub, values)


#: Every keyword of the reference system's `compute_bounds`, at its default.
KEYWORDS: dict[str, Any] = {
    "aux": None, "C": None, "method": "backward", "IBP": False, "forward": False, "bound_lower": True, "bound_upper": True,
    "reuse_ibp": False, "reuse_alpha": False, "return_A": False, "needed_A_dict": None, "final_node_name": None,
    "average_A": False, "interm_bounds": None, "reference_bounds": None, "intermediate_constr": None, "alpha_idx": None,
    "aux_reference_bounds": None, "need_A_only": False, "cutter": None, "decision_thresh": None, "update_mask": None,
    "ibp_nodes": None, "cache_bounds": False,
}  # fmt: skip

#: Values that ask for something, and whether that is taken with a warning, refused, or done.
ASKED: dict[str, tuple[Any, str]] = {
    "aux": ((1,), "refused"),
    "reuse_ibp": (True, "warned"),
    "reuse_alpha": (True, "warned"),
    "average_A": (True, "refused"),
    "intermediate_constr": ({"0": 1}, "refused"),
    "alpha_idx": (torch.zeros(1), "warned"),
    "aux_reference_bounds": ({"0": (torch.zeros(1), torch.ones(1))}, "warned"),
    "need_A_only": (True, "warned"),
    "cutter": (object(), "refused"),
    "decision_thresh": (torch.zeros(2, 1), "warned"),
    "update_mask": (torch.tensor([True, False]), "warned"),
    "ibp_nodes": (["0"], "warned"),
    "cache_bounds": (True, "warned"),
}


class TestKeywords:
    def test_all_of_them_at_their_defaults(self) -> None:
        (_, model), x = bounded(), torch.rand(2, 3)
        point = BoundedTensor(x, PerturbationLpNorm(eps=EPS))
        found = model.compute_bounds(x=(point,), **KEYWORDS)
        assert torch.equal(found.lower, model.compute_bounds(x=(point,)).lower)

    @pytest.mark.parametrize("name", ASKED)
    def test_each_alone(self, name: str) -> None:
        value, outcome = ASKED[name]
        (net, model), x = bounded(), torch.rand(2, 3)
        point = BoundedTensor(x, PerturbationLpNorm(eps=EPS))
        if outcome == "refused":
            with pytest.raises(OptionError, match=name):
                model.compute_bounds(x=(point,), **{name: value})
            return
        with pytest.warns(CompatibilityWarning, match=name):
            found = model.compute_bounds(x=(point,), **{name: value})
        assert torch.equal(found.lower, model.compute_bounds(x=(point,)).lower)
        assert_holds(*found, torch.stack([net(z) for z in points(x)]).detach())

    def test_one_warning_for_all(self) -> None:
        (_, model), x = bounded(), torch.rand(2, 3)
        with pytest.warns(CompatibilityWarning) as caught:
            model.compute_bounds(
                x=(BoundedTensor(x, PerturbationLpNorm(eps=EPS)),), reuse_ibp=True, cache_bounds=True
            )
        assert len(caught) == 1 and Path(caught[0].filename) == Path(__file__)

    def test_a_misspelt_one_is_an_error_with_a_suggestion(self) -> None:
        (_, model), x = bounded(), torch.rand(2, 3)
        with pytest.raises(OptionError, match="Did you mean 'reference_bounds'"):
            model.compute_bounds(x=(BoundedTensor(x, PerturbationLpNorm(eps=EPS)),), refrence_bounds={})

    def test_reference_bounds_are_intersected_with(self) -> None:
        (net, model), x = bounded(), torch.rand(2, 3)
        point = BoundedTensor(x, PerturbationLpNorm(eps=EPS))
        tight = model.compute_bounds(x=(point,), method="CROWN").intermediate
        name = model["2"].name
        reference = {name: [tight[name].lower, tight[name].upper]}
        plain = model.compute_bounds(x=(point,), method="CROWN-IBP")
        better = model.compute_bounds(x=(point,), method="CROWN-IBP", reference_bounds=reference)
        assert width(better) < width(plain)
        assert_holds(*better, torch.stack([net(z) for z in points(x)]).detach())
        loose = {name: [tight[name].lower - 9, tight[name].upper + 9]}
        for method in ("IBP", "CROWN-IBP", "CROWN", "forward"):
            found = model.compute_bounds(x=(point,), method=method, reference_bounds=loose)
            assert torch.equal(found.lower, model.compute_bounds(x=(point,), method=method).lower)

    def test_bounds_of_an_inner_node(self) -> None:
        (net, model), x = bounded(), torch.rand(2, 3)
        lb, ub = model.compute_bounds(x=(BoundedTensor(x, PerturbationLpNorm(eps=EPS)),), final_node_name="2")
        assert_holds(lb, ub, torch.stack([net[:3](z) for z in points(x)]).detach())

    @pytest.mark.parametrize("flag", ["IBP", "forward"])
    def test_optimised_slopes_on_cheaper_inner_bounds(self, flag: str) -> None:
        (net, model), x = bounded(), torch.rand(2, 3)
        point = BoundedTensor(x, PerturbationLpNorm(eps=EPS))
        found = model.compute_bounds(x=(point,), method="CROWN-Optimized", **{flag: True})
        fixed = model.compute_bounds(x=(point,), method="backward", **{flag: True})
        assert width(found) <= width(fixed) + 1e-5
        assert_holds(*found, torch.stack([net(z) for z in points(x)]).detach())

    def test_init_alpha_and_its_keywords(self) -> None:
        (_, model), x = bounded(), torch.rand(2, 3)
        point = BoundedTensor(x, PerturbationLpNorm(eps=EPS))
        with pytest.warns(CompatibilityWarning, match="share_alphas"):
            lb, ub, inner = model.init_alpha((point,), share_alphas=True, final_node_name=model.final_name)
        again = model.compute_bounds(x=(point,), method="CROWN-Optimized", interm_bounds=inner)
        assert bool((again.lower >= lb - 1e-5).all() and (again.upper <= ub + 1e-5).all())

    def test_names_of_methods_that_mean_another_one(self) -> None:
        (_, model), x = bounded(), torch.rand(2, 3)
        point = BoundedTensor(x, PerturbationLpNorm(eps=EPS))
        with pytest.warns(CompatibilityWarning, match="'forward' is used"):
            found = model.compute_bounds(x=(point,), method="Dynamic-Forward")
        assert torch.equal(found.lower, model.compute_bounds(x=(point,), method="forward").lower)


class TestLinearBounds:
    def test_names_as_strings_lists_and_sets(self) -> None:
        (net, model), x = bounded(), torch.rand(2, 3)
        point = BoundedTensor(x, PerturbationLpNorm(eps=EPS))
        out, name = model.output_name[0], model.input_name[0]
        for method in ("CROWN", "CROWN-IBP", "CROWN-Optimized", "forward"):
            for needed in (name, [name], {name}):
                _, _, A = model.compute_bounds(
                    x=(point,), method=method, return_A=True, needed_A_dict={out: needed}
                )
                form = A[out][name]
                z = points(x)
                values = torch.stack([net(one) for one in z]).detach()
                low = torch.einsum("bki,nbi->nbk", form["lA"], z) + form["lbias"]
                up = torch.einsum("bki,nbi->nbk", form["uA"], z) + form["ubias"]
                assert bool((low <= values + 1e-5).all() and (values <= up + 1e-5).all())

    def test_over_an_inner_node(self) -> None:
        class Branches(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first, self.last, self.past = nn.Linear(3, 5), nn.Linear(5, 2), nn.Linear(3, 2)

            def forward(self, x: Tensor) -> Tensor:
                return self.last(F.relu(self.first(x))) * 2 + self.past(x)

        torch.manual_seed(5)
        net, x = Branches(), torch.rand(2, 3)
        point, model = BoundedTensor(x, PerturbationLpNorm(eps=EPS)), BoundedModule(net, x)
        out = model.final_name
        for side in ({}, {"bound_upper": False}):
            found = model.compute_bounds(
                x=(point,),
                method="CROWN",
                return_A=True,
                needed_A_dict={out: ["first", model.input_name[0]]},
                **side,
            )
            form = found.A[out]["first"]
            z = points(x)
            h, values = net.first(z), net(z)
            low = torch.einsum("bki,nbi->nbk", form["lA"], h) + form["lbias"]
            assert form["lA"].shape == (2, 2, 5)
            assert bool((low <= values + 1e-5).all())
            if side:
                assert form["uA"] is None
            else:
                up = torch.einsum("bki,nbi->nbk", form["uA"], h) + form["ubias"]
                assert bool((values <= up + 1e-5).all())
        with pytest.raises(OptionError, match="'nowhere'"):
            model.compute_bounds(x=(point,), return_A=True, needed_A_dict={out: "nowhere"})


class TestTrainingLoop:
    """The loop that examples of certified training share: wrapped, called with `method_opt`, with a growing radius."""

    def test_an_epoch(self) -> None:
        net = dense()
        x, y = torch.rand(6, 3), torch.randint(0, 2, (6,))
        model = BoundDataParallel(
            BoundedModule(net, x[:1], bound_opts={"activation_bound_option": "same-slope"})
        )
        optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
        schedule, ptb, meter = (
            LinearScheduler(EPS, "start=1,length=1"),
            PerturbationLpNorm(norm=np.inf, eps=0),
            MultiAverageMeter(),
        )
        schedule.set_epoch_length(3)
        schedule.step_epoch()
        before = net[0].weight.detach().clone()
        for _ in range(3):
            schedule.step_batch()
            ptb.set_eps(schedule.get_eps())
            data = BoundedTensor(x, ptb)
            clean = model(data, method_opt="forward")
            C = get_spec_matrix(x, y, 2)
            ilb, _ = model(
                method_opt="compute_bounds", x=(data,), IBP=True, C=C, method=None, bound_upper=False
            )
            clb, _ = model(
                method_opt="compute_bounds", x=(data,), IBP=False, C=C, method="backward", bound_upper=False
            )
            margins = F.pad(0.5 * ilb + 0.5 * clb, (1, 0))
            loss = F.cross_entropy(-margins, torch.zeros(6, dtype=torch.long)) + F.cross_entropy(clean, y)
            optimiser.zero_grad()
            loss.backward()
            scale_gradients(optimiser, 2, grad_clip=1.0)
            optimiser.step()
            meter.update("loss", loss, x.shape[0])
        assert ptb.eps == pytest.approx(EPS)
        assert not torch.equal(before, net[0].weight)
        assert re.fullmatch(r"loss=\d+\.\d{4}", str(meter))

    def test_the_state_of_a_wrapped_model(self) -> None:
        plain, trained = dense(), nn.Sequential(*dense())
        with torch.no_grad():
            trained[0].weight.add_(1)
        wrapped = CrossEntropyWrapperMultiInput(trained)
        state = sync_params(plain, wrapped, loss_fusion=True)
        assert torch.equal(plain[0].weight, trained[0].weight) and list(state) == list(plain.state_dict())
        assert list(sync_params(plain, wrapped, loss_fusion=False)) == list(plain.state_dict())
        with pytest.raises(InputError, match=r"CrossEntropyWrapper"):
            sync_params(plain, trained, loss_fusion=True)

    def test_a_loss_with_labels_first(self) -> None:
        x, y = torch.rand(4, 3), torch.tensor([0, 1, 1, 0])
        wrapped = CrossEntropyWrapperMultiInput(dense())
        model = BoundedModule(wrapped, (y, x))
        lb, ub = model.compute_bounds(
            x=(y, BoundedTensor(x, PerturbationLpNorm(eps=EPS))), method="CROWN-IBP"
        )
        assert_holds(lb, ub, torch.stack([wrapped(y, z) for z in points(x)]).detach())

    def test_gradients_are_scaled(self) -> None:
        weight = nn.Parameter(torch.zeros(3))
        (weight * torch.tensor([3.0, 0.0, 4.0])).sum().backward()
        optimiser = torch.optim.SGD([weight], 1.0)
        scale_gradients(optimiser, 2)
        assert weight.grad.tolist() == [1.5, 0.0, 2.0]
        scale_gradients(optimiser, 1, grad_clip=1.25)
        assert weight.grad.norm().item() == pytest.approx(1.25, rel=1e-4)
        with pytest.raises(OptionError, match="gradient_accumulation_steps=0"):
            scale_gradients(optimiser, 0)

    def test_two_devices_are_one_here(self) -> None:
        _, model = bounded()
        with pytest.warns(CompatibilityWarning, match="DistributedDataParallel"):
            BoundDataParallel(model, device_ids=["cpu", "cpu"])
        with pytest.raises(InputError, match="BoundedModule"):
            BoundDataParallel(dense())  # type: ignore[arg-type]
        with pytest.raises(OptionError, match="method_opt='bound'"):
            model(torch.zeros(1, 3), method_opt="bound")


class TestTensorsAndSets:
    def test_a_set_that_comes_later_or_changes(self) -> None:
        (_, model), x = bounded(), torch.rand(2, 3)
        point = BoundedTensor(x)
        assert point.ptb is None and model(point).shape == (2, 2)
        assert point.double().ptb is None and point.clone().ptb is None and point.detach().ptb is None
        with pytest.raises(PerturbationError, match="no input is perturbed"):
            model.compute_bounds(x=(point,))
        widths = []
        point.ptb = PerturbationLpNorm(norm=np.inf, eps=0.01)
        for eps in (0.01, 0.1):
            point.ptb.eps = eps
            found = model.compute_bounds(x=(point,))
            assert_holds(*found, torch.stack([model(z) for z in points(x, eps)]).detach())
            widths.append(width(found))
        assert widths[0] < widths[1] / 2
        with pytest.raises(PerturbationError, match="Perturbation"):
            point.ptb = 0.1  # type: ignore[assignment]

    def test_a_radius_that_does_not_fit_changes_nothing(self) -> None:
        ptb = PerturbationLpNorm(norm=np.inf, eps=0.1)
        with pytest.raises(PerturbationError, match="eps"):
            ptb.set_eps(-0.1)
        with pytest.raises(PerturbationError, match="norm"):
            ptb.norm = 0.5
        assert (ptb.eps, ptb.norm) == (0.1, np.inf)
        with pytest.raises(PerturbationError, match="no default radius"):
            PerturbationLpNorm(norm=np.inf)

    @pytest.mark.parametrize("norm", [1, 2, np.inf])
    def test_a_saved_tensor_is_loaded(self, norm: float) -> None:
        file = io.BytesIO()
        torch.save(
            {
                "x": BoundedTensor(
                    torch.rand(2, 3), PerturbationLpNorm(norm=norm, eps=torch.tensor([0.1, 0.2]))
                )
            },
            file,
        )
        file.seek(0)
        found = torch.load(file)["x"]
        assert (
            type(found) is BoundedTensor
            and found.ptb.norm == norm
            and found.ptb.eps.tolist() == pytest.approx([0.1, 0.2])
        )


class TestOptions:
    def test_what_means_nothing_here_is_taken_with_one_warning(self) -> None:
        taken = {
            "bound_every_node": True, "sparse_intermediate_bounds": True, "sparse_conv_intermediate_bounds": True,
            "sparse_intermediate_bounds_with_ibp": True, "sparse_features_alpha": False, "sparse_spec_alpha": False,
            "init_alpha": True, "softmax": "complex", "loss_fusion": True, "verbosity": 1, "deterministic": True,
            "matmul": "economic", "buffers": {}, "fixed_reducemax_index": True,
        }  # fmt: skip
        search = {
            "iteration": 3, "lr_alpha": 0.1, "keep_best": False, "start_save_best": 0.5, "early_stop_patience": 5,
            "stop_criterion_func": lambda bound: bound > 0, "init_alpha": True, "optimizer": "sgd", "fix_interm_bounds": True,
        }  # fmt: skip
        x = torch.rand(2, 3)
        with pytest.warns(CompatibilityWarning) as caught:
            model = BoundedModule(
                dense(), x, bound_opts={**taken, "crown_batch_size": np.inf, "optimize_bound_args": search}
            )
        message = str(caught[0].message)
        known = {"iteration", "lr_alpha", "fix_interm_bounds"}
        assert len(caught) == 1 and all(name in message for name in [*taken, *(search.keys() - known)])
        lb, ub = model.compute_bounds(
            x=BoundedTensor(x, PerturbationLpNorm(eps=EPS)), method="CROWN-Optimized"
        )
        assert_holds(lb, ub, torch.stack([model(z) for z in points(x)]).detach())

    def test_defaults_of_the_search_pass_in_silence(self) -> None:
        options = {
            "optimize_bound_args": {"ob_iteration": 5, "optimizer": "adam", "keep_best": True, "verbosity": 0}
        }
        BoundedModule(dense(), torch.zeros(1, 3), bound_opts=options)

    def test_unknown_ones_are_errors(self) -> None:
        with pytest.raises(OptionError, match="Did you mean 'sparse_intermediate_bounds'"):
            BoundedModule(dense(), torch.zeros(1, 3), bound_opts={"sparse_intermediate_bound": True})
        with pytest.raises(OptionError, match="Did you mean 'early_stop_patience'"):
            BoundedModule(
                dense(), torch.zeros(1, 3), bound_opts={"optimize_bound_args": {"early_stop_patienc": 3}}
            )
        with pytest.raises(OptionError, match="crown_batch_size"):
            BoundedModule(dense(), torch.zeros(1, 3), bound_opts={"crown_batch_size": 1.5})

    @pytest.mark.parametrize("slope", ["adaptive", "same-slope", "zero-lb", "one-lb", "reversed-adaptive"])
    def test_slopes_of_activations(self, slope: str) -> None:
        torch.manual_seed(2)
        net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 6), nn.Hardtanh(), nn.Linear(6, 2))
        x, options = torch.rand(2, 3), {"activation_bound_option": slope, "hardtanh": "same-slope"}
        model = BoundedModule(net, x, bound_opts=options)
        lb, ub = model.compute_bounds(x=BoundedTensor(x, PerturbationLpNorm(eps=0.5)), method="backward")
        assert_holds(lb, ub, torch.stack([net(z) for z in points(x, 0.5)]).detach())

    def test_keywords_of_the_constructor(self) -> None:
        with pytest.warns(CompatibilityWarning, match="verbose"):
            model = BoundedModule(dense(), global_input=torch.zeros(1, 3), verbose=True, custom_ops={})
        assert model.input_name
        with pytest.raises(OptionError, match="Custom operators"):
            BoundedModule(dense(), torch.zeros(1, 3), custom_ops={"my::op": object})
        with pytest.raises(OptionError, match="Did you mean 'global_input'"):
            BoundedModule(dense(), globl_input=torch.zeros(1, 3))
        with pytest.raises(InputError, match="example"):
            BoundedModule(dense())


class TestNodes:
    def test_bounds_stay_on_the_nodes(self) -> None:
        net, x = dense(), torch.rand(2, 3)
        model = BoundedModule(net, x)
        names = [node.name for node in model.nodes()]
        assert model.final_name in names and set(model.root_names) < set(names)
        node = model["2"]
        with pytest.raises(InputError, match="compute_bounds first"):
            node.lower  # noqa: B018
        lb, ub = model.compute_bounds(x=(BoundedTensor(x, PerturbationLpNorm(eps=EPS)),), method="CROWN")
        assert_holds(node.lower, node.upper, torch.stack([net[:3](z) for z in points(x)]).detach())
        assert node.is_lower_bound_current() and not model["p_0_weight"].is_lower_bound_current()
        assert model.final_node().lower.shape == lb.shape and ub.shape == (2, 2)
        assert node.inputs[0].name in names and tuple(node.output_shape) == (1, 8)
        with pytest.raises(InputError, match="no perturbation reaches"):
            model["p_0_weight"].upper  # noqa: B018
        with pytest.raises(OptionError, match="'/input'"):
            model["/input"]

    def test_members_that_are_not_there_say_so(self) -> None:
        _, model = bounded()
        with pytest.raises(AttributeError, match="lirpa_verify"):
            model.get_split_nodes()
        with pytest.raises(AttributeError, match="nonsense"):
            model.nonsense  # noqa: B018

    def test_a_model_without_a_batch_dimension_takes_other_shapes(self) -> None:
        class Total(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return x.square().sum().reshape(1)

        model = BoundedModule(Total(), torch.zeros(1, 3), batch_dims=None)
        for rows in (4, 2, 1, *range(5, 22)):  # more than graphs are kept for
            x = torch.rand(rows, 3)
            lb, ub = model.compute_bounds(x=(BoundedTensor(x, PerturbationLpNorm(eps=EPS)),))
            assert_holds(lb, ub, torch.stack([Total()(z) for z in points(x)]))


class TestDerivatives:
    @pytest.mark.parametrize("activation", [nn.Tanh(), nn.Sigmoid(), nn.ReLU()])
    def test_jacobian_bounds(self, activation: nn.Module) -> None:
        torch.manual_seed(4)
        net, x = nn.Sequential(nn.Linear(3, 6), activation, nn.Linear(6, 2)), torch.rand(2, 3)
        model = BoundedModule(net, x)
        lb, ub = model.compute_jacobian_bounds(BoundedTensor(x, PerturbationLpNorm(eps=EPS)))
        jacobian = torch.func.vmap(torch.func.vmap(torch.func.jacrev(net)))(points(x)).detach()
        slack = 1e-5  # of the sampled derivative's own rounding
        assert_holds(lb - slack, ub + slack, jacobian)
        with pytest.raises(InputError, match="one input"):
            model.compute_jacobian_bounds((x, x))

    def test_a_derivative_inside_of_forward(self) -> None:
        class Derivative(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return JacobianOP.apply(x.tanh(), x)

        x = torch.rand(2, 3)
        lb, ub = BoundedModule(Derivative(), x).compute_bounds(BoundedTensor(x, PerturbationLpNorm(eps=EPS)))
        slack = 1e-6  # of the rounding of 1 − tanh²
        assert_holds(lb - slack, ub + slack, torch.diag_embed(1 - points(x).tanh() ** 2))

    def test_what_is_not_there_says_how(self) -> None:
        with pytest.raises(OptionError, match="rule"):
            register_custom_op("my::op", nn.Module)

    @pytest.mark.parametrize("norm", [1, 2, np.inf])
    def test_norm_of_a_gradient(self, norm: float) -> None:
        gradient = torch.randn(3, 1, 4, generator=torch.Generator().manual_seed(0))
        found = GradNorm(norm)(gradient)
        torch.testing.assert_close(
            found, torch.linalg.vector_norm(gradient.flatten(1), norm, dim=1, keepdim=True)
        )


class TestImports:
    @pytest.mark.parametrize(
        ("name", "where"),
        [
            ("CrossEntropyWrapper", "from lirpa_training import CrossEntropyWrapper"),
            ("PerturbationL0Norm", "from lirpa_perturbations import PerturbationL0Norm"),
            ("RangeScheduler", "LinearScheduler"),
            ("PerturbationLinear", "PerturbationAffine"),
            ("BoundRelu", "Custom operators"),
        ],
    )
    def test_names_that_are_elsewhere(self, name: str, where: str) -> None:
        with pytest.raises(ImportError, match=re.escape(where)):
            getattr(importlib.import_module("lirpa_core"), name)

    def test_other_names_are_unknown_as_usual(self) -> None:
        assert not hasattr(importlib.import_module("lirpa_core"), "nonsense")


def test_every_keyword_and_option_stands_on_the_page_about_migration() -> None:
    from lirpa_core.api.compatibility.options import OPTION_NAMES, SEARCH_NAMES

    page = (ROOT / "docs" / "migrating.md").read_text()
    missing = [
        name
        for name in ["x", *KEYWORDS, *OPTION_NAMES, *SEARCH_NAMES]
        if f"`{name}" not in page and f'`"{name}"' not in page
    ]
    assert not missing
