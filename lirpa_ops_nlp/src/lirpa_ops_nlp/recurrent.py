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
from lirpa_core.operators import as_executed
from lirpa_core.plugins import OperatorRegistry

aten = torch.ops.aten
nlp = torch.ops.lirpa_nlp

State: TypeAlias = tuple[Tensor, ...]

#: `(what `prepare` made of the input, state, weights) -> next state`; its first part is the output.
Step: TypeAlias = Callable[[Tensor, State, "Weights"], State]


#: `(input of one or of all steps, weights) -> what steps read`.
Prepare: TypeAlias = Callable[[Tensor, "Weights"], Tensor]


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
    return _lstm(from_input + F.linear(h, w.of_hidden, w.hidden_bias), c, w)


def _lstm(gates: Tensor, c: Tensor, w: Weights) -> State:
    i, f, g, o = gates.chunk(4, -1)
    c = nlp.sigmoid_mul(f, c) + nlp.sigmoid_tanh(i, g)
    h = nlp.sigmoid_tanh(o, c)
    return (h if w.projection is None else F.linear(h, w.projection), c)


def gru_step(from_input: Tensor, state: State, w: Weights) -> State:
    """`n = tanh(a + σ(r)·b)`, `h' = σ(z)·h + σ(−z)·n`; `1 − σ(z)` is `σ(−z)`."""
    (h,) = state
    z, n = _gru(from_input, F.linear(h, w.of_hidden, w.hidden_bias))
    return (nlp.sigmoid_mul(z, h) + nlp.sigmoid_tanh(-z, n),)


def _gru(from_input: Tensor, from_hidden: Tensor) -> tuple[Tensor, Tensor]:
    """What is behind the update gate and behind the new state."""
    ir, iz, inner = from_input.chunk(3, -1)
    hr, hz, hn = from_hidden.chunk(3, -1)
    return iz + hz, inner + nlp.sigmoid_mul(ir + hr, hn)


def simple_step(function: Callable[[Tensor], Tensor]) -> Step:
    """`h' = function(a + b)`."""

    def step(from_input: Tensor, state: State, w: Weights) -> State:
        return (function(from_input + F.linear(state[0], w.of_hidden, w.hidden_bias)),)

    return step


def input_part(x: Tensor, w: Weights) -> Tensor:
    """What the input adds to the gates, for all steps at once."""
    return F.linear(x, w.of_input, w.input_bias)


# ---------------------------------------------------------------------- one step, as it is executed


def input_alone(x: Tensor, w: Weights) -> Tensor:
    """The input itself, for steps that multiply it."""
    return x


def gates_in_one(x: Tensor, h: Tensor, w: Weights) -> Tensor:
    """Input, hidden state and biases in one sum of products: oneDNN and others may add them up in any order."""
    parts, weights = [x, h], [w.of_input, w.of_hidden]
    if w.hidden_bias is not None:
        parts.append(h.new_ones(*h.shape[:-1], 1))
        weights.append(w.hidden_bias.unsqueeze(-1))
    return F.linear(torch.cat(parts, -1), torch.cat(weights, -1), w.input_bias)


def simple_step_executed(function: Callable[[Tensor], Tensor]) -> Step:
    """`simple_step`, from the input itself."""

    def step(x: Tensor, state: State, w: Weights) -> State:
        return (function(gates_in_one(x, state[0], w)),)

    return step


def lstm_step_executed(x: Tensor, state: State, w: Weights) -> State:
    """`lstm_step`, from the input itself."""
    h, c = state
    return _lstm(gates_in_one(x, h, w), c, w)


def gru_step_executed(x: Tensor, state: State, w: Weights) -> State:
    """`gru_step`, whose last line is executed as `(h − n)·σ(z) + n`: where `h` and `n` differ, that cancels.

    What the hidden state adds is written as a sum over the input too, with weights of zero: an initial state is a constant,
    and products of constants are refused, because nothing says how they are rounded.
    """
    (h,) = state
    weights = torch.cat([torch.zeros_like(w.of_input), w.of_hidden], -1)
    from_hidden = F.linear(torch.cat([x, h], -1), weights, w.hidden_bias)
    z, n = _gru(F.linear(x, w.of_input, w.input_bias), from_hidden)
    value = nlp.sigmoid_mul(z, h) + nlp.sigmoid_tanh(-z, n)
    info = torch.finfo(h.dtype)
    # `|h − n| ≤ |h| + 1`; the gate is off by 16 units, `tanh` by as many, and there are three more roundings.
    error = (h.abs() + 1) * (32 * info.eps) + 256 * info.tiny
    return (as_executed(value, error, [z, h, n]),)


# ---------------------------------------------------------------------- cells


def cell(step: Step, prepare: Prepare = input_part) -> Callable[..., Any]:
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
        state = step(prepare(input, weights), tuple(hx) if several else (hx,), weights)
        return state if several else state[0]

    return run


# ---------------------------------------------------------------------- layers


def layers(step: Step, states: int, prepare: Prepare = input_part) -> Callable[..., Any]:
    """Decomposition of a layer operator such as `lstm.input`.

    Args:
        step: One step of one layer.
        states: How many tensors the state consists of: 2 for an LSTM, else 1.
        prepare: What is made of the input of all steps at once.
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
                out, final = _sequence(
                    step, prepare, sequence, start, weights[number], backwards=direction == 1
                )
                outputs.append(out)
                finals.append(final)
            sequence = outputs[0] if directions == 1 else torch.cat(outputs, -1)
        last = tuple(torch.stack(parts) for parts in zip(*finals, strict=True))
        return (sequence.transpose(0, 1) if batch_first else sequence, *last)

    return run


def _sequence(
    step: Step, prepare: Prepare, sequence: Tensor, state: State, weights: Weights, backwards: bool
) -> tuple[Tensor, State]:
    """One layer in one direction over `[T, N, D]`: all outputs and the final state."""
    from_inputs = prepare(sequence, weights)
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


def _instead(function: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return lambda inner: function


def register(registry: OperatorRegistry) -> None:
    """Register this file's decompositions."""
    tanh, relu = simple_step(torch.tanh), simple_step(torch.relu)
    for name, step, states, executed in (
        ("lstm", lstm_step, 2, lstm_step_executed),
        ("gru", gru_step, 1, gru_step_executed),
        ("rnn_tanh", tanh, 1, simple_step_executed(torch.tanh)),
        ("rnn_relu", relu, 1, simple_step_executed(torch.relu)),
    ):
        packet, one = getattr(aten, name), getattr(aten, f"{name}_cell").default
        registry.decompose(packet.input, layers(step, states))
        registry.decompose(packet.data, refuse_packed)
        registry.decompose(one, cell(step))
        registry.decompose_as_executed(packet.input, _instead(layers(executed, states, input_alone)))
        registry.decompose_as_executed(one, _instead(cell(executed, input_alone)))
