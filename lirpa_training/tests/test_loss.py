"""The certified loss as a function and as a module."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedParameter, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import InputError, LirpaError, NonFiniteBoundError, OptionError
from lirpa_training import (
    CCIBP,
    MTLIBP,
    PGD,
    SABR,
    Adversarial,
    CertifiedLoss,
    WarmupRegularizer,
    certified_loss,
    certify,
)
from lirpa_training.expressive import Objective

BALL = PerturbationLpNorm(eps=0.1, x_L=0.0, x_U=1.0)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3)
    ).double()


@pytest.fixture(scope="module")
def bounded() -> BoundedModule:
    return BoundedModule(network(), batch()[0])


def batch(count: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(count, 4, generator=generator).double()
    return x, torch.randint(0, 3, (count,), generator=generator)


def loss_of(model: nn.Module, objective: Objective | None, fusion: bool = False, **options: float) -> Tensor:
    x, y = batch()
    torch.manual_seed(3)
    return certified_loss(
        model, x, y, BALL, objective=objective, fusion=fusion, reduction="none", **options
    ).detach()


def test_the_module_and_the_function_agree_and_capture_once(bounded: BoundedModule) -> None:
    model = network()
    criterion = CertifiedLoss(model, method="CROWN-IBP", fusion=True)
    x, y = batch()
    bounded.load_state_dict(model.state_dict())
    torch.manual_seed(1)
    first = criterion(x, y, BALL)
    torch.manual_seed(1)
    torch.testing.assert_close(first, certified_loss(bounded, x, y, BALL, fusion=True))
    before = criterion.bounded((x,)).graph
    criterion(x[:3], y[:3], BALL).backward()
    assert criterion.bounded((x,)).graph is before
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert {id(p) for p in criterion.parameters()} == {id(p) for p in model.parameters()}
    assert int(model[1].num_batches_tracked) == 2  # once a call


def test_an_ordinary_module_works_and_is_warned_about() -> None:
    x, y = batch()
    with pytest.warns(UserWarning, match="captures an ordinary module at each call"):
        certified_loss(nn.Linear(4, 3).double(), x, y, BALL)


def test_kappa_mixes_clean_and_robust(bounded: BoundedModule) -> None:
    x, y = batch()
    bounded.eval()
    clean = F.cross_entropy(bounded(x), y, reduction="none").detach()
    robust = loss_of(bounded, None)
    torch.testing.assert_close(loss_of(bounded, None, kappa=1.0), clean)
    torch.testing.assert_close(loss_of(bounded, None, kappa=0.25), 0.25 * clean + 0.75 * robust)
    parts = CertifiedLoss(bounded, kappa=0.5)(x, y, BALL, parts=True)
    torch.testing.assert_close(parts.loss.detach(), (0.5 * clean + 0.5 * robust).mean())
    torch.testing.assert_close(parts.clean, clean)
    torch.testing.assert_close(CertifiedLoss(bounded, reduction="sum")(x, y, BALL).detach(), robust.sum())
    bounded.train()


@pytest.mark.parametrize("mode", [True, False])
def test_expressive_losses_lie_between_attack_and_certificate(bounded: BoundedModule, mode: bool) -> None:
    bounded.train(mode)
    attack = PGD(steps=5)
    certified = loss_of(bounded, None)
    adversarial = loss_of(bounded, Adversarial(attack))
    for objective in (MTLIBP(0.3, attack), CCIBP(0.3, attack), SABR(0.3, attack)):
        found = loss_of(bounded, objective)
        assert (found <= certified + 1e-9).all(), objective
    assert (adversarial <= loss_of(bounded, MTLIBP(0.3, attack)) + 1e-9).all()
    torch.testing.assert_close(loss_of(bounded, MTLIBP(1.0, attack)), certified)
    torch.testing.assert_close(loss_of(bounded, MTLIBP(0.0, attack)), adversarial)
    torch.testing.assert_close(loss_of(bounded, CCIBP(1.0, attack)), certified)
    torch.testing.assert_close(loss_of(bounded, CCIBP(0.0, attack)), adversarial)
    torch.testing.assert_close(loss_of(bounded, SABR(1.0, attack)), certified)
    bounded.train()


@pytest.mark.parametrize("norm", [1.0, 2.0, float("inf")])
def test_attacks_stay_inside_and_find_more_than_chance(bounded: BoundedModule, norm: float) -> None:
    bounded.eval()
    x, y = batch()
    ball = PerturbationLpNorm(norm=norm, eps=0.2, x_L=0.0, x_U=1.0)

    def loss(z: Tensor) -> Tensor:
        return F.cross_entropy(bounded(z), y, reduction="none")

    z = PGD(steps=20, restarts=2)(loss, x, ball)
    assert ball.contains(x, z.unsqueeze(0)).all()
    assert (
        loss(z) >= torch.stack([loss(s) for s in ball.sample(x, 100)]).amax(0) - 1e-9
    ).float().mean() > 0.6
    bounded.train()


def test_checkpointing_changes_no_number(bounded: BoundedModule) -> None:
    x, y = batch()
    bounded.eval()
    found = []
    for checkpoint in (False, True):
        loss = certified_loss(bounded, x, y, BALL, fusion=True, checkpoint=checkpoint)
        found.append([loss, *torch.autograd.grad(loss, list(bounded.parameters()))])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)
    bounded.train()


def test_perturbed_weights() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    ball = PerturbationLpNorm(norm=2, eps=0.1)
    model[0].weight = BoundedParameter(model[0].weight.data, ball)
    x, y = batch()
    criterion = CertifiedLoss(model, method="CROWN-IBP", fusion=True)
    loss = criterion(x, y)
    assert loss > F.cross_entropy(model(x), y)
    loss.backward()
    assert model[0].weight.grad.isfinite().all()
    model[0].weight.ptb = PerturbationLpNorm(norm=2, eps=0.0)
    torch.testing.assert_close(criterion(x, y), F.cross_entropy(model(x), y))
    with pytest.raises(InputError, match="perturbed input"):
        CertifiedLoss(model, objective=Adversarial())(x, y)


def test_a_bounded_tensor_may_be_given(bounded: BoundedModule) -> None:
    x, y = batch()
    bounded.eval()
    torch.testing.assert_close(
        certified_loss(bounded, BoundedTensor(x, BALL), y), certified_loss(bounded, x, y, BALL)
    )
    with pytest.raises(InputError, match="no input is a floating point tensor"):
        certified_loss(bounded, BoundedTensor(x, BALL), y, BALL)
    bounded.train()


def test_certificates_hold_and_agree_with_the_margins(bounded: BoundedModule) -> None:
    x, y = batch(40)
    bounded.eval()
    found = certify(bounded, x, y, PerturbationLpNorm(eps=0.02))
    assert torch.equal(found.correct, bounded(x).argmax(1) == y)
    assert torch.equal(found.verified, (found.margins > 0).all(1))
    assert (found.correct | ~found.verified).all()
    assert not found.margins.requires_grad
    bounded.train()


def test_the_regularizer_falls_by_training_and_can_be_switched_off() -> None:
    model = nn.Sequential(
        nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)
    ).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    x, y = batch()
    criterion = CertifiedLoss(model, method="IBP", regularizer=WarmupRegularizer(1.0))
    plain = CertifiedLoss(criterion.bounded((x,)), method="IBP")

    def extra() -> Tensor:
        return criterion(x, y, BALL) - plain(x, y, BALL)

    before = extra()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    for _ in range(30):
        optimizer.zero_grad()
        extra().backward()
        optimizer.step()
    assert 0 <= extra() < before
    torch.testing.assert_close(criterion(x, y, BALL, regularization=0.0), plain(x, y, BALL))


class TestRefusals:
    def test_labels(self, bounded: BoundedModule) -> None:
        x, y = batch()
        with pytest.raises(InputError, match=r"labels\[0\] is 3, but the model has 3 outputs"):
            certified_loss(bounded, x, torch.full_like(y, 3), BALL)

    def test_layers_whose_bounds_blew_up_are_named(self) -> None:
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
        with torch.no_grad():
            model[2].weight.fill_(3e38)
        x, y = batch()
        with pytest.raises(NonFiniteBoundError, match=r"first such node is .* module '2' \(Linear\)"):
            CertifiedLoss(model, method="IBP")(x.float(), y, BALL)
        with torch.no_grad():
            model[2].weight.fill_(float("nan"))
        with pytest.raises(NonFiniteBoundError, match=r"module '2'"):
            CertifiedLoss(copy.deepcopy(model), method="IBP")(x.float(), y, BALL)
        with pytest.raises(NonFiniteBoundError, match="smaller learning rate"):
            CertifiedLoss(model, kappa=1.0)(x.float(), y, BALL)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"method": "CRAWN"}, "unknown method"),
            ({"kappa": 1.5}, "kappa=1.5"),
            ({"beta": -1}, "beta=-1"),
            ({"reduction": "median"}, "'mean', 'sum', 'none'"),
            ({"statistics": "none"}, "'differentiable', 'constant'"),
        ],
    )
    def test_options(self, options: dict[str, object], message: str) -> None:
        with pytest.raises(OptionError, match=message):
            CertifiedLoss(nn.Linear(2, 2), **options)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: SABR(0.0), "ratio=0.0"),
            (lambda: MTLIBP(1.5), "alpha=1.5"),
            (lambda: CCIBP(-0.1), "alpha=-0.1"),
            (lambda: PGD(steps=0), "steps=0"),
            (lambda: WarmupRegularizer(-1), "weight=-1"),
            (lambda: WarmupRegularizer(tolerance=0), "tolerance=0"),
        ],
    )
    def test_options_of_objectives(self, make: object, message: str) -> None:
        with pytest.raises(OptionError, match=message):
            make()  # type: ignore[operator]

    def test_what_does_not_go_together(self, bounded: BoundedModule) -> None:
        x, y = batch()
        with pytest.raises(OptionError, match="box"):
            certified_loss(bounded, x, y, PerturbationLpNorm(norm=2, eps=0.1), objective=SABR())
        with pytest.raises(OptionError, match="fusion"):
            certified_loss(bounded, x, y, BALL, objective=CCIBP(), fusion=True)

    def test_models_that_are_no_classifiers(self) -> None:
        x, y = batch()
        with pytest.raises(LirpaError, match=r"class scores \[B, K\]"):
            CertifiedLoss(nn.Linear(4, 1).double())(x, y, BALL)
