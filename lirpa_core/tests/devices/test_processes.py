"""Two processes find what one finds; an error in one is an error in both, and nobody waits for it."""

from __future__ import annotations

from types import FunctionType
from typing import Any
from unittest import mock

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm, Processes
from lirpa_core.errors import InputError, LirpaError, OptionError, ProcessesError
from lirpa_core.methods import CROWN, AlphaCROWN, Method, screening
from lirpa_core.problem.relaxations import by_rule
from lirpa_testing.ranks import in_processes

needs_groups = pytest.mark.skipif(not dist.is_available(), reason="no torch.distributed in this build")
#: Bytes with which CROWN takes two rows of two examples at a time.
LEAN = 15_000


def images(count: int = 7) -> Tensor:
    return torch.rand(count, 1, 6, 6, generator=torch.Generator().manual_seed(1))


def bounded() -> BoundedModule:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 24), nn.ReLU(), nn.Linear(24, 5)
    )
    return BoundedModule(model, images(1))


def around(x: Tensor, eps: float = 0.05) -> BoundedTensor:
    return BoundedTensor(x, PerturbationLpNorm(eps=eps))


def of_examples(processes: Processes, model: BoundedModule, count: int, chunk: int | None) -> tuple[Any, ...]:
    x = images()

    def compute(examples: range) -> Any:
        return model.compute_bounds(around(x[examples.start : examples.stop]), method="CROWN")

    return processes.examples(compute, count, chunk=chunk)


def of_rows(
    processes: Processes, model: BoundedModule, method: str | Method, budget: int | None
) -> tuple[Tensor, Tensor]:
    found = model.compute_bounds(around(images(2)), method=method, memory_budget=budget, processes=processes)
    return found.lower, found.upper


@torch.no_grad()
def everything(processes: Processes) -> dict[str, Any]:
    """What is asked of one process and of two."""
    model = bounded()
    found: dict[str, Any] = {
        f"examples {count} {chunk}": of_examples(processes, model, count, chunk)
        for count, chunk in ((7, 2), (7, None), (1, 4))
    }
    for method in (CROWN(), CROWN(screening=False), AlphaCROWN(steps=2)):
        for budget in (LEAN, None):
            with mock.patch.object(screening, "FEW", 1):
                found[f"rows {method!r} {budget}"] = of_rows(processes, model, method, budget)
    return found


def refused(work: Any) -> str:
    """The error that work ends with, by its class and text."""
    try:
        work()
    except (LirpaError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return "nothing was refused"


def other_problems(rank: int, processes: Processes) -> dict[str, str]:
    """What is said of problems that differ only in the order of bytes, in a number of the code, or in the set in a box."""
    x, said = torch.eye(2), {}
    model = BoundedModule(nn.LeakyReLU(0.1), x)
    other = BoundedModule(nn.LeakyReLU(0.2), x) if rank else model

    def ask(name: str, asked: BoundedModule, at: Tensor, norm: float, method: Method) -> None:
        ball = BoundedTensor(at, PerturbationLpNorm(eps=0.1, norm=norm))
        said[name] = refused(lambda: asked.compute_bounds(ball, method=method, processes=processes))

    ask("order", model, x.flip(0) if rank else x, 2, CROWN())
    ask("slope", other, x, 2, CROWN())
    ask("norm", model, x, 2 - rank, CROWN())
    # The same function lies elsewhere in the memory of each process that `torchrun` starts.
    copies = [FunctionType(by_rule.__code__, by_rule.__globals__, by_rule.__name__) for _ in range(rank + 1)]
    ask("elsewhere", model, x, 2, CROWN(relax=copies[-1]))

    def one_side(examples: range) -> tuple[Tensor | None, Tensor | None]:
        found = torch.zeros(len(examples))
        return (found, None) if rank else (None, found)

    said["layout"] = refused(lambda: processes.examples(one_side, 2))
    return said


def failures() -> dict[str, str]:
    """What a process says where one of two fails, or asks something else."""
    rank, model, processes = dist.get_rank(), bounded(), Processes()

    def fails_in_second(examples: range) -> tuple[Tensor]:
        if examples.start > 0:
            raise ValueError("the file of example 4 is broken")
        return (torch.zeros(len(examples)),)

    x = images(2)
    own = x + rank
    said = {
        "part": refused(lambda: processes.examples(fails_in_second, 7)),
        "gradient": refused(lambda: model.compute_bounds(around(x), processes=processes)),
    }
    with torch.no_grad():
        said["inputs"] = refused(lambda: model.compute_bounds(around(own), processes=processes))
        radius = around(x, 0.1 + rank)
        said["radius"] = refused(lambda: model.compute_bounds(radius, processes=processes))
        wrong = "CROWN" if rank == 0 else "CROWNE"
        said["method"] = refused(lambda: model.compute_bounds(around(x), method=wrong, processes=processes))
        said.update(other_problems(rank, processes))
        said["count"] = refused(lambda: processes.examples(lambda e: (torch.zeros(len(e)),), 2 + rank))
        said["after"] = refused(lambda: of_rows(processes, model, "CROWN", None))
    return said


def in_both() -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """What two processes find together, what each finds alone, and what both say where one fails."""
    groups = [dist.new_group([rank]) for rank in range(2)]
    alone = Processes(group=groups[dist.get_rank()])
    return everything(Processes()), everything(alone), failures()


@needs_groups
def test_two_processes_find_what_one_finds_and_fail_together() -> None:
    found = in_processes(in_both)
    for together, alone, _ in found:
        for name, wanted in alone.items():
            # Where the cuts are stated they are the same for every number of processes, and so is every number.
            stated = name in ("examples 7 2", "examples 1 4", f"rows {CROWN(screening=False)!r} {LEAN}")
            exact: dict[str, float] = {"rtol": 0, "atol": 0} if stated else {}
            torch.testing.assert_close(together[name], wanted, **exact)
            assert all(torch.equal(a, b) for a, b in zip(together[name], found[0][0][name], strict=True))

    first, second = (said for _, _, said in found)
    assert second["part"] == "ValueError: the file of example 4 is broken"
    assert (
        first["part"].startswith("ProcessesError") and "process 1 of 2: ValueError: the file" in first["part"]
    )
    assert "OptionError" in second["method"] and "process 1 of 2: OptionError" in first["method"]
    for said in (first, second):
        assert said["gradient"].startswith("InputError") and "torch.no_grad()" in said["gradient"]
        for name in ("inputs", "radius", "count", "order", "slope", "norm"):
            assert said[name].startswith("ProcessesError: the processes are not at the same work"), said[name]
        assert "nested in different ways" in said["layout"]
        assert said["elsewhere"] == said["after"] == "nothing was refused"


@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize(("count", "chunk"), [(7, None), (7, 2), (2, 5), (6, 3), (1, None)])
def test_shares_are_all_of_the_work_in_order(
    world: int, count: int, chunk: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Processes, "world", world)
    shares = []
    for rank in range(world):
        monkeypatch.setattr(Processes, "rank", rank)
        shares.append(Processes().share(count, chunk))
    assert [i for share in shares for i in share] == list(range(count))
    assert all(share.start % (chunk or 1) == 0 for share in shares if share)
    assert len(shares[0]) == max(map(len, shares)) <= (chunk or 1) * -(-count // ((chunk or 1) * world))


def test_what_one_process_refuses() -> None:
    alone = Processes()
    x = images()
    with pytest.raises(InputError, match=r"3 examples first|these examples first"):
        alone.examples(lambda e: (x,), 3)
    with pytest.raises(InputError, match="no examples"):
        alone.examples(lambda e: (x,), 0)
    with pytest.raises(OptionError, match="chunk=0"):
        alone.examples(lambda e: (x,), 7, chunk=0)
    with pytest.raises(InputError, match="no gradients"):
        alone.examples(lambda e: (x.clone().requires_grad_() * 2,), 7)
    with pytest.raises(OptionError, match="init_process_group"):
        Processes(group=object())
    with torch.no_grad(), pytest.raises(OptionError, match="chooses by the time"):
        bounded().compute_bounds(around(images(1)), method="auto", processes=alone)


def test_nested_results_and_those_that_are_not_there() -> None:
    x = images()
    found = Processes().examples(
        lambda e: (x[e.start : e.stop], None, {"a": x[e.start : e.stop, 0]}), 7, chunk=3
    )
    assert torch.equal(found[0], x) and found[1] is None and torch.equal(found[2]["a"], x[:, 0])


def test_another_process_that_is_at_something_else_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr(Processes, "world", 2)
    monkeypatch.setattr(Processes, "rank", 0)
    monkeypatch.setattr(dist, "all_gather_object", gone)
    with pytest.raises(ProcessesError, match="cannot reach the others: Connection closed"):
        Processes().examples(lambda e: (torch.zeros(len(e)),), 4)
