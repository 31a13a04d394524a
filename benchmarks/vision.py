"""Cases of convolutional networks: against plain PyTorch work, and patches against dense coefficients."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, fx, nn

from benchmarks.cases import CROWN_IBP_TARGET, IBP_TARGET, Case, Pair, Work
from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm

_ZOO = Path(__file__).parents[1] / "examples" / "vision" / "models" / "__init__.py"
#: Rows that a VJP carries at once.
_ROWS = 512
#: Bytes that no network here needs: all rows of a layer in one pass.
_UNLIMITED = 2**50


def _zoo() -> ModuleType:
    """The models of the vision example."""
    if "models" not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            "models", _ZOO, submodule_search_locations=[str(_ZOO.parent)]
        )
        assert spec is not None and spec.loader is not None
        sys.modules["models"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["models"])
    return sys.modules["models"]


#: Name, how to build it, size of the image, radius, and whether CROWN fits a laptop.
_MODELS: dict[str, tuple[Callable[[ModuleType], nn.Module], tuple[int, ...], float]] = {
    "mnist-cnn": (lambda zoo: zoo.small_cnn(), (1, 28, 28), 0.02),
    "cnn-7layer-bn": (lambda zoo: zoo.cnn_7layer_bn(), (3, 32, 32), 0.002),
    "resnet-2b": (lambda zoo: zoo.resnet_2b(), (3, 32, 32), 1 / 255),
    "resnet-4b": (lambda zoo: zoo.resnet_4b(), (3, 32, 32), 1 / 255),
    "cnn-7layer-bn-eighth": (lambda zoo: zoo.cnn_7layer_bn(width=0.125), (3, 32, 32), 0.002),
}


class _Network:
    """A network with random weights, and images in an L-infinity ball."""

    def __init__(self, name: str, batch: int, device: torch.device, **options: Any) -> None:
        torch.manual_seed(0)
        make, shape, self.eps = _MODELS[name]
        self.model = make(_zoo()).to(device).eval()
        self.x = torch.rand(batch, *shape, device=device)
        self.bounded = BoundedModule(self.model, self.x, bound_opts=options)

    def bounds(self, method: str) -> object:
        point = BoundedTensor(self.x, PerturbationLpNorm(eps=self.eps))
        with torch.no_grad():
            return self.bounded.compute_bounds(x=(point,), method=method)

    def forward(self) -> Tensor:
        with torch.no_grad():
            result: Tensor = self.model(self.x)
            return result

    def vjps(self) -> list[Work]:
        """A VJP of as many rows as CROWN bounds, from every value that it bounds."""
        graph = fx.symbolic_trace(self.model)
        relus = [
            n
            for n in graph.graph.nodes
            if n.op == "call_module" and isinstance(graph.get_submodule(n.target), nn.ReLU)
        ]
        starts = [str(n.args[0]) for n in relus]
        rows = self.rows([str(n.target) for n in relus])
        found = [
            _pull(_until(graph, start), self.x, 2 * n) for start, n in zip(starts, rows, strict=True) if n
        ]
        return [*found, _pull(self.model, self.x, 20)]

    def rows(self, relus: Sequence[str]) -> list[int]:
        """How many rows CROWN needs for the operand of each ReLU.

        Those are the neurons that interval arithmetic on the CROWN bounds of the layers before cannot decide, as
        many for every example as the worst has; none of the first ReLU, as interval arithmetic is exact there.

        Args:
            relus: Paths of the modules, in the order in which they run.
        """
        point = BoundedTensor(self.x, PerturbationLpNorm(eps=self.eps))
        with torch.no_grad():
            crown = self.bounded.compute_bounds(x=(point,), method="CROWN").intermediate
            before: dict[str, tuple[Tensor, Tensor]] = {}
            counts = []
            for path in relus:
                lower, upper = self.bounded.compute_bounds(
                    x=(point,), method="IBP", output=path, interm_bounds=before
                )
                undecided = (lower <= 0) & (upper > 0)  # behind the ReLU
                counts.append(int(undecided.flatten(1).sum(1).max()) if before else 0)
                before[path] = crown[path].lower, crown[path].upper
        return counts


def _until(graph: fx.GraphModule, name: str) -> fx.GraphModule:
    """The part of a traced model that computes one of its values."""
    copy: dict[fx.Node, fx.Node] = {}
    part = fx.Graph()
    for node in graph.graph.nodes:
        copy[node] = part.node_copy(node, lambda n: copy[n])
        if node.name == name:
            part.output(copy[node])
            break
    return fx.GraphModule(graph, part)


def _pull(function: nn.Module, x: Tensor, rows: int) -> Work:
    """Send random rows of every example back to the input."""
    with torch.no_grad():
        shape = function(x).shape

    def work() -> object:
        with torch.no_grad():
            pull = torch.func.vjp(function, x)[1]
            step = max(1, _ROWS // len(x))
            return [torch.vmap(pull)(torch.ones(min(step, rows - i), *shape)) for i in range(0, rows, step)]

    return work


def _ibp(name: str, batch: int, device: torch.device) -> Pair:
    network = _Network(name, batch, device)
    return Pair(lambda: network.bounds("IBP"), network.forward)


def _crown_ibp(name: str, batch: int, device: torch.device) -> Pair:
    network = _Network(name, batch, device)
    pull = _pull(network.model, network.x, 20)
    return Pair(lambda: network.bounds("CROWN-IBP"), lambda: (network.bounds("IBP"), pull()))


def _crown(name: str, batch: int, device: torch.device) -> Pair:
    network = _Network(name, batch, device)
    vjps = network.vjps()
    return Pair(lambda: network.bounds("CROWN"), lambda: [vjp() for vjp in vjps])


def _forms(name: str, batch: int, device: torch.device, *, at_once: bool = True) -> Pair:
    """Patches against dense coefficients, those of all rows at once or in chunks as patches are."""
    patches = _Network(name, batch, device)
    budget: dict[str, Any] = {"memory_budget": _UNLIMITED} if at_once else {}
    dense = _Network(name, batch, device, conv_mode="matrix", **budget)
    return Pair(lambda: patches.bounds("CROWN"), lambda: dense.bounds("CROWN"))


def _cases() -> tuple[Case, ...]:
    found = []
    for name in ("mnist-cnn", "cnn-7layer-bn", "resnet-2b", "resnet-4b"):
        small = "cnn-7layer-bn-eighth" if name == "cnn-7layer-bn" else name
        for batch in (1, 16):
            at = f"{batch} image{'s' if batch > 1 else ''}"
            found += [
                Case(
                    f"vision-ibp-{name}-{batch}", f"IBP / forward pass; {name}, {at}", partial(_ibp, name, batch),
                    target=IBP_TARGET, long=name == "cnn-7layer-bn" and batch > 1,
                ),
                Case(
                    f"vision-crown-ibp-{name}-{batch}", f"CROWN-IBP / (IBP + VJP of 20 rows); {name}, {at}",
                    partial(_crown_ibp, name, batch), target=CROWN_IBP_TARGET, long=name == "cnn-7layer-bn",
                ),
                Case(
                    f"vision-crown-{small}-{batch}", f"CROWN / VJPs of as many rows; {small}, {at}",
                    partial(_crown, small, batch), long=batch > 1 or name != "mnist-cnn",
                ),
                Case(
                    f"vision-patches-{small}-{batch}", f"CROWN with patches / dense, all rows at once; {small}, {at}",
                    partial(_forms, small, batch), target=0.5 if (name, batch) == ("resnet-4b", 1) else None,
                    long=batch > 1 or name != "mnist-cnn",
                ),
                Case(
                    f"vision-chunks-{small}-{batch}", f"CROWN with patches / dense, rows in chunks; {small}, {at}",
                    partial(_forms, small, batch, at_once=False), long=batch > 1 or name != "mnist-cnn",
                ),
            ]  # fmt: skip
    return tuple(found)


VISION: tuple[Case, ...] = _cases()
