"""Makes the network and the properties of this folder: a controller that brakes in front of an obstacle.

    python examples/verification/make.py

Inputs are the distance to the obstacle (0 to 100 m) and the speed (0 to 40 m/s), both divided by their largest value; the
output is how hard to brake, 0 to 1. The network learns it from a formula: the share of 8 m/s² with which the car comes to
a stop 5 m before the obstacle.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

HERE = Path(__file__).parent
FARTHEST, FASTEST, STRONGEST, MARGIN = 100.0, 40.0, 8.0, 5.0

#: `(name, condition on distance and speed, what must not happen, the answer)`.
PROPERTIES = (
    ("brakes_when_close", ((0.0, 0.2), (0.5, 1.0)), "(<= Y_0 0.85)", "proved"),
    ("rolls_when_far_and_slow", ((0.6, 1.0), (0.0, 0.4)), "(>= Y_0 0.35)", "proved"),
    ("never_brakes_hard_when_far", ((0.5, 1.0), (0.0, 1.0)), "(>= Y_0 0.9)", "refuted"),
)


def wanted(x: Tensor) -> Tensor:
    """The formula: `[n, 2]` to `[n, 1]`."""
    distance, speed = x[:, :1] * FARTHEST, x[:, 1:] * FASTEST
    room = (distance - MARGIN).clamp(min=1.0)
    return (speed**2 / (2 * room) / STRONGEST).clamp(max=1.0)


def train(seed: int = 0, steps: int = 3000) -> nn.Sequential:
    """A network of two hidden layers of 16 ReLUs."""
    torch.manual_seed(seed)
    layers = (nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    model = nn.Sequential(*layers)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(steps):
        x = torch.rand(256, 2)
        loss = (model(x) - wanted(x)).square().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.eval()


def write_onnx(model: nn.Sequential, path: Path) -> None:
    """The network as an ONNX file of `Gemm` and `Relu`."""
    nodes, weights, last = [], [], "X"
    for i, layer in enumerate(model):
        out = "Y" if i == len(model) - 1 else f"h{i}"
        if isinstance(layer, nn.Linear):
            for name, value in (("W", layer.weight), ("b", layer.bias)):
                weights.append(numpy_helper.from_array(value.detach().numpy(), f"{name}{i}"))
            nodes.append(helper.make_node("Gemm", [last, f"W{i}", f"b{i}"], [out], transB=1))
        else:
            nodes.append(helper.make_node("Relu", [last], [out]))
        last = out
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, k]) for n, k in (("X", 2), ("Y", 1))]
    graph = helper.make_graph(nodes, "brake", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def property_text(name: str, box: tuple[tuple[float, float], ...], violation: str) -> str:
    """A property file: the inputs, and the output that must not occur."""
    lines = [
        f"; {name}: X_0 is the distance / {FARTHEST:g} m, X_1 the speed / {FASTEST:g} m/s, Y_0 the brake."
    ]
    lines += [f"(declare-const X_{i} Real)" for i in range(len(box))] + ["(declare-const Y_0 Real)"]
    for i, (low, high) in enumerate(box):
        lines += [f"(assert (>= X_{i} {low}))", f"(assert (<= X_{i} {high}))"]
    return "\n".join([*lines, f"(assert {violation})", ""])


def main() -> None:
    """Write the files."""
    model = train()
    write_onnx(model, HERE / "brake.onnx")
    rows = ["onnx,vnnlib,timeout,expected"]
    for name, box, violation, answer in PROPERTIES:
        (HERE / f"{name}.vnnlib").write_text(property_text(name, box, violation))
        rows.append(f"brake.onnx,{name}.vnnlib,60,{'unsat' if answer == 'proved' else 'sat'}")
    (HERE / "instances.csv").write_text("\n".join(rows) + "\n")
    x = torch.from_numpy(np.stack(np.meshgrid(*[np.linspace(0, 1, 101)] * 2), -1).reshape(-1, 2)).float()
    off = (model(x) - wanted(x)).abs()
    print(f"wrote brake.onnx; off from the formula by {off.mean():.3f} on average, {off.max():.2f} at most")


if __name__ == "__main__":
    main()
