"""Products in full precision, whatever the program's switches say."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

import lirpa_core.devices.precision as precision
from lirpa_core import BoundedModule, BoundedTensor, Interval, Perturbation, PerturbationLpNorm, functional
from lirpa_core.devices import autocast_region, full_precision, in_full_precision, shortened_products
from lirpa_core.errors import UnsupportedOperandError

MATMUL = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
METHODS = ("IBP", "CROWN-IBP", "CROWN", "forward", "CROWN-Optimized")


@pytest.fixture
def shortened() -> Iterator[None]:
    """A program that lets products round their factors."""
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision("highest")


class Watched(PerturbationLpNorm):
    """A ball that notes how products are computed while it is asked for its minimum."""

    def __init__(self) -> None:
        super().__init__(eps=0.1)
        self.seen: list[str] = []

    def aligned(self, batch_dim: int | None, ndim: int) -> Perturbation:
        return self

    def hull(self, x: Tensor) -> Interval:
        self.seen.append(MATMUL.fp32_precision)
        return super().hull(x)


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))


@pytest.mark.usefixtures("shortened")
@pytest.mark.parametrize("method", METHODS)
def test_bounds_are_computed_in_full(model: nn.Module, method: str) -> None:
    x, ball = torch.rand(2, 64), Watched()
    bounded = BoundedModule(model, x)
    found = bounded.compute_bounds(x=(BoundedTensor(x, ball),), method=method)
    assert ball.seen and set(ball.seen) == {"ieee"}
    assert MATMUL.fp32_precision == "bf16", "the program's own switches are as they were"
    torch.set_float32_matmul_precision("highest")
    expected = bounded.compute_bounds(x=(BoundedTensor(x, Watched()),), method=method)
    assert torch.equal(found.lower, expected.lower) and torch.equal(found.upper, expected.upper)


@pytest.mark.usefixtures("shortened")
def test_the_functional_layer_too(model: nn.Module) -> None:
    x, ball = torch.rand(2, 64), Watched()
    problem = functional.bind(functional.capture(model, x), BoundedTensor(x, ball))
    (node,) = functional.output_names(problem)
    inner = functional.intermediate_bounds(problem, "CROWN", (node,))
    functional.row_bounds(problem, "CROWN", node, inner)
    assert set(ball.seen) == {"ieee"}


def _state() -> list[object]:
    """All switches, older and newer ones; None where PyTorch finds that they contradict each other."""
    found: list[object] = []
    for read in (
        lambda: torch.backends.cudnn.allow_tf32,
        lambda: torch.backends.cuda.matmul.allow_tf32,
        torch.get_float32_matmul_precision,
    ):
        try:
            found.append(read())
        except RuntimeError:
            found.append(None)
    return [
        *found,
        *(precision._read(backend, kind) for backend, kind, _ in precision._ON_CPU + precision._ON_CUDA),
    ]


def _as_started() -> None:
    for name in (precision._ALL, *precision._OF_BACKENDS):
        precision._set(*name, "none")
    for _, _, switch in precision._ON_CPU + precision._ON_CUDA:
        switch.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = True


def _inherit(backend: str, kind: str, value: str) -> None:
    """Set a switch from which others take their value."""
    precision._set(backend, kind, value)


PROGRAMS = {
    "as PyTorch starts": lambda: None,
    "older switches": lambda: (
        torch.set_float32_matmul_precision("high"),
        setattr(torch.backends.cudnn, "allow_tf32", True),
    ),
    "newer switches": lambda: setattr(torch.backends.mkldnn.conv, "fp32_precision", "bf16"),  # type: ignore[attr-defined]
    "contradicting each other": lambda: (
        setattr(torch.backends.cudnn.conv, "fp32_precision", "ieee"),  # type: ignore[attr-defined]
        setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32"),
    ),
    "the switch of all": lambda: _inherit("generic", "all", "tf32"),
    "the switch of a backend": lambda: _inherit("mkldnn", "all", "bf16"),
    "wide and narrow ones": lambda: (
        _inherit("cuda", "all", "ieee"),
        _inherit("mkldnn", "all", "tf32"),
        _inherit("mkldnn", "conv", "tf32"),
    ),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_all_switches_of_a_machine_with_a_gpu(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(precision, "_HERE", precision._ON_CPU + precision._ON_CUDA)
    try:
        PROGRAMS[program]()
        before = _state()
        with full_precision():
            inside = _state()
            if None not in before:
                assert torch.backends.cudnn.allow_tf32 is False, (
                    "code of PyTorch itself reads the older switch"
                )
        assert all(value in {"none", "ieee"} for value in inside[3:])
        assert _state() == before
    finally:
        _as_started()


@pytest.mark.parametrize("narrow", ["none", "tf32"])
@pytest.mark.parametrize("wider", [("generic", "all"), ("mkldnn", "all")])
def test_a_switch_that_is_not_set_still_follows_wider_ones(wider: tuple[str, str], narrow: str) -> None:
    """Else a program that asks for full precision later would not get it, after bounds were computed in between."""
    try:
        precision._set("mkldnn", "matmul", "none")
        precision._set(*wider, "tf32")
        precision._set("mkldnn", "conv", narrow)
        with full_precision():
            assert MATMUL.fp32_precision == "ieee"
        assert MATMUL.fp32_precision == "tf32"
        precision._set(*wider, "ieee")
        assert MATMUL.fp32_precision == "ieee"
        assert precision._read("mkldnn", "conv") == ("ieee" if narrow == "none" else "tf32")
    finally:
        _as_started()


@pytest.mark.usefixtures("shortened")
def test_errors_leave_the_switches_alone() -> None:
    with pytest.raises(ValueError, match="away"), full_precision():
        raise ValueError("away")
    assert MATMUL.fp32_precision == "bf16"


@pytest.mark.usefixtures("shortened")
def test_whoever_is_last_sets_the_switches_back() -> None:
    entered, leave = threading.Event(), threading.Event()
    during: list[str] = []

    def other() -> None:
        with full_precision():
            entered.set()
            leave.wait(10)
            during.append(MATMUL.fp32_precision)

    thread = threading.Thread(target=other)
    with full_precision():
        thread.start()
        assert entered.wait(10)
    during.append(MATMUL.fp32_precision)  # the other one still computes
    leave.set()
    thread.join()
    assert during == ["ieee", "ieee"]
    assert MATMUL.fp32_precision == "bf16"


def test_where_nothing_is_shortened_nothing_is_set() -> None:
    before = MATMUL.fp32_precision
    with full_precision():
        assert MATMUL.fp32_precision == before
    assert MATMUL.fp32_precision == before
    assert shortened_products(torch.device("cpu")) is None


@pytest.mark.usefixtures("shortened")
def test_the_program_s_switch_is_named_even_while_it_is_set_otherwise() -> None:
    for _ in range(2):
        assert (
            shortened_products(torch.device("cpu")) == "torch.backends.mkldnn.matmul.fp32_precision = 'bf16'"
        )
        with full_precision():
            assert (
                shortened_products(torch.device("cpu"))
                == "torch.backends.mkldnn.matmul.fp32_precision = 'bf16'"
            )


@pytest.mark.usefixtures("shortened")
def test_bounds_of_the_model_as_executed_are_refused(model: nn.Module) -> None:
    x = torch.rand(2, 64)
    bounded = BoundedModule(model, x, bound_opts={"covers": "float"})
    with pytest.raises(UnsupportedOperandError, match=r"mkldnn\.matmul\.fp32_precision = 'bf16'"):
        bounded.compute_bounds(x=(BoundedTensor(x, PerturbationLpNorm(eps=0.1)),), method="IBP")


def test_a_function_in_full_precision_keeps_its_name_and_result() -> None:
    @in_full_precision
    def twice(x: int) -> int:
        """Two times."""
        return 2 * x

    assert twice(3) == 6 and twice.__name__ == "twice" and twice.__doc__ == "Two times."


@pytest.mark.parametrize("program", PROGRAMS)
def test_models_are_captured_whatever_the_switches_say(program: str) -> None:
    """PyTorch's own export fails where older and newer switches contradict each other."""
    try:
        PROGRAMS[program]()
        before = _state()
        BoundedModule(nn.Linear(3, 2), torch.rand(1, 3))
        assert _state() == before
    finally:
        _as_started()


def test_an_autocast_region_is_named_with_its_type() -> None:
    cpu = torch.device("cpu")
    assert autocast_region(cpu) is None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert autocast_region(cpu) == ("cpu", torch.bfloat16)
        with torch.autocast("cpu", enabled=False):
            assert autocast_region(cpu) is None
