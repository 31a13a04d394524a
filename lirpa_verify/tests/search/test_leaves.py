"""Branch and bound run to the end finds what a mixed-integer program finds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lirpa_verify import output_in_box
from lirpa_verify.bounding import Bounder
from lirpa_verify.clock import Clock
from lirpa_verify.network import from_module
from lirpa_verify.questions import answer
from lirpa_verify.region import Region
from lirpa_verify.search import NeuronSplitting
from lirpa_verify.task import Task
from scipy.optimize import Bounds, LinearConstraint, milp
from torch import nn

from lirpa_core import PerturbationLpNorm

pytestmark = pytest.mark.slow

#: Neurons of the hidden layers; forty at most.
SHAPES = ((2, 6), (2, 4, 4), (3, 8), (3, 5, 5), (2, 10), (4, 4, 4), (3, 4, 4, 4), (2, 8, 8), (4, 12), (2, 40))


def network(seed: int) -> tuple[nn.Sequential, int]:
    torch.manual_seed(seed)
    inputs, *hidden = SHAPES[seed % len(SHAPES)]
    layers: list[nn.Module] = []
    width = inputs
    for n in hidden:
        layers += [nn.Linear(width, n), nn.ReLU()]
        width = n
    return nn.Sequential(*layers, nn.Linear(width, 1)).double().eval(), inputs


def least(model: nn.Sequential, inputs: int) -> float:
    """The smallest output over `[-1, 1]ⁿ`, by HiGHS: `z = z⁺ − z⁻`, and a binary says which of them is zero."""
    low, high = -np.ones(inputs), np.ones(inputs)
    objective, b = np.zeros(0), np.zeros(1)
    size = inputs
    lower, upper, integral = low.tolist(), high.tolist(), [0] * inputs
    rows: list[tuple[dict[int, float], float, float]] = []
    values = list(range(inputs))  # the columns of the layer in front
    linears = [layer for layer in model if isinstance(layer, nn.Linear)]
    for layer in linears:
        W, b = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        low, high = (
            np.maximum(W, 0) @ low + np.minimum(W, 0) @ high + b,
            np.maximum(W, 0) @ high + np.minimum(W, 0) @ low + b,
        )
        if layer is linears[-1]:
            objective = np.zeros(size)
            objective[values] = W[0]
            break
        columns = []
        for j in range(len(b)):
            up, down, sign = size, size + 1, size + 2
            size += 3
            lower += [0.0, 0.0, 0.0]
            upper += [max(high[j], 0.0), max(-low[j], 0.0), 1.0]
            integral += [0, 0, 1]
            terms = {c: -w for c, w in zip(values, W[j], strict=True)} | {up: 1.0, down: -1.0}
            rows.append((terms, b[j], b[j]))
            rows.append(({up: 1.0, sign: -max(high[j], 0.0)}, -np.inf, 0.0))
            rows.append(({down: 1.0, sign: max(-low[j], 0.0)}, -np.inf, max(-low[j], 0.0)))
            columns.append(up)
        values, low, high = columns, np.maximum(low, 0), np.maximum(high, 0)
    matrix = np.zeros((len(rows), size))
    for i, (terms, _, _) in enumerate(rows):
        for c, v in terms.items():
            matrix[i, c] = v
    found = milp(
        objective,
        constraints=LinearConstraint(matrix, [r[1] for r in rows], [r[2] for r in rows]),
        integrality=np.array(integral),
        bounds=Bounds(np.array(lower), np.array(upper)),
        options={"mip_rel_gap": 0.0},
    )
    assert found.success
    # The solver's tolerances let signs be off by a little, so its point is evaluated.
    with torch.no_grad():
        reached = float(model(torch.from_numpy(found.x[:inputs]).unsqueeze(0)))
    assert reached == pytest.approx(found.fun + b[0], abs=1e-6)
    return reached


@pytest.mark.parametrize(
    "seed", [*range(20), *[pytest.param(s, marks=pytest.mark.thorough) for s in range(20, 50)]]
)
def test_it_equals_a_mixed_integer_program(seed: int) -> None:
    model, inputs = network(seed)
    low = least(model, inputs)
    x = torch.zeros(1, inputs, dtype=torch.float64)
    region, module = Region.around((x,), PerturbationLpNorm(eps=1.0)), from_module(model, (x,))
    bounder: Bounder | None = None
    for move, status in ((-1e-6, "proved"), (1e-6, "refuted")):
        task = Task.of(module, region, output_in_box(lower=low + move).property_for(1))
        bounder = Bounder(task, bounder)
        found = answer([task], (NeuronSplitting(),), Clock(60), bounder=bounder)
        assert found.status == status
