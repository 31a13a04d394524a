"""How recurrent layers and cells fall apart: linear layers, sums, and gates with joint planes.

What the input adds to all gates is computed for the whole sequence at once. What has a rule of its own
stays whole: `lirpa_nlp::sigmoid_tanh` and `lirpa_nlp::sigmoid_mul`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from lirpa_core.errors import TrainingModeError, UnsupportedOperandError
from lirpa_core.plugins import OperatorRegistry

aten = torch.ops.aten
nlp = torch.ops.lirpa_nlp

State: TypeAlias = tuple[Tensor, ...]

#: `(what the input adds to the gates, state, weights) -> next state`; its first part is the output.
Step: TypeAlias = Callable[[Tensor, State, "Weights"], State]


class Weights(NamedTuple):
    """Parameters of one layer in one direction."""

    of_input: Tensor
    of_hidden: Tensor
    input_bias: Tensor | None = None
    hidden_bias: Tensor | None = None
    projection: Tensor | None = None


# ---------------------------------------------------------------------- one step


def lstm_step(from_input: Tensor, state: State, w: Weights) -> State:
    """`c' = σ(f)·c + σ(i)·tanh(g)`, `h' = σ(o)·tanh(c')`, projected where there is a projection."""
    h, c = state
    i, f, g, o = (from_input + F.linear(h, w.of_hidden, w.hidden_bias)).chunk(4, -1)
    c = nlp.sigmoid_mul(f, c) + nlp.sigmoid_tanh(i, g)
    h = nlp.sigmoid_tanh(o, c)
    return (h if w.projection is None else F.linear(h, w.projection), c)


def gru_step(from_input: Tensor, state: State, w: Weights) -> State:
    """`n = tanh(a + σ(r)·b)`, `h' = σ(z)·h + σ(−z)·n`; `1 − σ(z)` is `σ(−z)`."""
    (h,) = state
    ir, iz, inner = from_input.chunk(3, -1)
    hr, hz, hn = F.linear(h, w.of_hidden, w.hidden_bias).chunk(3, -1)
    z = iz + hz
    n = inner + nlp.sigmoid_mul(ir + hr, hn)
    return (nlp.sigmoid_mul(z, h) + nlp.sigmoid_tanh(-z, n),)


def simple_step(function: Callable[[Tensor], Tensor]) -> Step:
    """`h' = function(a + b)`."""

    def step(from_input: Tensor, state: State, w: Weights) -> State:
        return (function(from_input + F.linear(state[0], w.of_hidden, w.hidden_bias)),)

    return step


# ---------------------------------------------------------------------- cells


def cell(step: Step) -> Callable[..., Any]:
    """Decomposition of a cell operator: `(input, hx, w_ih, w_hh, b_ih, b_hh)`."""

    def run(
        input: Tensor,  # noqa: A002
        hx: Any,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor | None = None,
        b_hh: Tensor | None = None,
    ) -> Any:
        several = isinstance(hx, (list, tuple))
        weights = Weights(w_ih, w_hh, b_ih, b_hh)
        state = step(F.linear(input, w_ih, b_ih), tuple(hx) if several else (hx,), weights)
        return state if several else state[0]

    return run


# ---------------------------------------------------------------------- layers


def layers(step: Step, states: int) -> Callable[..., Any]:
    """Decomposition of a layer operator such as `lstm.input`.

    Args:
        step: One step of one layer.
        states: How many tensors the state consists of: 2 for an LSTM, else 1.
    """

    def run(
        input: Tensor,  # noqa: A002
        hx: Any,
        params: Sequence[Tensor],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> tuple[Tensor, ...]:
        if train and dropout > 0:
            raise TrainingModeError(
                f"a recurrent layer in training mode drops out with probability {dropout}. Call model.eval()."
            )
        directions = 2 if bidirectional else 1
        given = tuple(hx) if states > 1 else (hx,)
        weights = _split(params, has_biases, num_layers * directions)
        sequence = input.transpose(0, 1) if batch_first else input
        finals: list[State] = []
        for layer in range(num_layers):
            outputs = []
            for direction in range(directions):
                number = layer * directions + direction
                start = tuple(h.select(0, number) for h in given)
                out, final = _sequence(step, sequence, start, weights[number], backwards=direction == 1)
                outputs.append(out)
                finals.append(final)
            sequence = outputs[0] if directions == 1 else torch.cat(outputs, -1)
        last = tuple(torch.stack(parts) for parts in zip(*finals, strict=True))
        return (sequence.transpose(0, 1) if batch_first else sequence, *last)

    return run


def _sequence(
    step: Step, sequence: Tensor, state: State, weights: Weights, backwards: bool
) -> tuple[Tensor, State]:
    """One layer in one direction over `[T, N, D]`: all outputs and the final state."""
    from_inputs = F.linear(sequence, weights.of_input, weights.input_bias)
    times = range(sequence.shape[0])
    outputs: list[Tensor] = []
    for t in reversed(times) if backwards else times:
        state = step(from_inputs.select(0, t), state, weights)
        outputs.append(state[0])
    return torch.stack(outputs[::-1] if backwards else outputs), state


def _split(params: Sequence[Tensor], has_biases: bool, count: int) -> list[Weights]:
    """The flat list of parameters by layer and direction; a fifth (third) one is a projection."""
    size = len(params) // count
    groups = [params[k * size : (k + 1) * size] for k in range(count)]
    if has_biases:
        return [Weights(*g) for g in groups]
    return [Weights(g[0], g[1], projection=g[2] if size > 2 else None) for g in groups]


def refuse_packed(*args: Any) -> Any:
    """Decomposition of the operators for packed sequences: there is none.

    Raises:
        UnsupportedOperandError: Always.
    """
    raise UnsupportedOperandError(
        "packed sequences cannot be bounded: the examples of a batch share steps there. Give the recurrent layer "
        "padded sequences, and pick each example's last step with a mask or torch.gather."
    )


def register(registry: OperatorRegistry) -> None:
    """Register this file's decompositions."""
    tanh, relu = simple_step(torch.tanh), simple_step(torch.relu)
    for name, step, states in (
        ("lstm", lstm_step, 2),
        ("gru", gru_step, 1),
        ("rnn_tanh", tanh, 1),
        ("rnn_relu", relu, 1),
    ):
        packet = getattr(aten, name)
        registry.decompose(packet.input, layers(step, states))
        registry.decompose(packet.data, refuse_packed)
        registry.decompose(getattr(aten, f"{name}_cell").default, cell(step))
