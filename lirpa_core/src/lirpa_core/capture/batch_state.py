"""What a module in training mode takes from the batch, fixed so that a bound has one function to bound.

In training mode, batch norm standardises by the statistics of the batch, and dropout draws a mask. One
pass over the clean batch fixes both: from then on the model is a function of one example again, in which
batch norm is affine and dropout a product with a constant. Gowal et al. 2018 (sec. 3) and Zhang et al. 2020
(CROWN-IBP, appendix) train with the clean batch's statistics in this sense.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # the only common base of the batch norms
from torch.nn.modules.dropout import _DropoutNd  # the only common base of the dropouts

from lirpa_core.capture.derivatives.running import recorded_if_needed, run
from lirpa_core.errors import TrainingModeError
from lirpa_core.graph import Graph, NodeKind
from lirpa_core.problem.batching import output_batch_dim
from lirpa_core.rules.call import Const

#: Name of the buffer that stands for a dropout's mask in a captured graph.
MASK = "_lirpa_mask"

_MASKING = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_Forward: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class BatchState:
    """Statistics and masks that one clean batch fixed, by module path.

    Attributes:
        statistics: Mean and biased variance `[C]` of the input of each batch norm in training mode.
        masks: What each dropout in training mode multiplied its input by, in the input's shape.
        batch: Number of examples.
    """

    statistics: Mapping[str, tuple[Tensor, Tensor]]
    masks: Mapping[str, Tensor]
    batch: int

    def detach(self) -> BatchState:
        """The same, so that no gradient flows through the statistics."""
        found = {path: (mean.detach(), var.detach()) for path, (mean, var) in self.statistics.items()}
        return BatchState(found, self.masks, self.batch)

    def leaves(self, graph: Graph) -> dict[str, Const]:
        """Values of the graph's buffers that this state replaces, by buffer path."""
        found: dict[str, Const] = {}
        for path, (mean, var) in self.statistics.items():
            found[_join(path, "running_mean")] = Const(mean)
            found[_join(path, "running_var")] = Const(var)
        shapes = {n.path: n.shape for n in graph.nodes if n.kind is NodeKind.BUFFER}
        for path, mask in self.masks.items():
            name = _join(path, MASK)
            if name in shapes:
                found[name] = _by_example(mask, shapes[name], self.batch)
        return found


def fixable(module: nn.Module) -> bool:
    """Whether a module is in training mode in a way that a `BatchState` can fix."""
    return module.training and (_is_batch_norm(module) or _is_dropout(module))


def standardising(model: nn.Module) -> list[str]:
    """Paths of the layers that standardise by the statistics of the batch, which a `BatchState` fixes."""
    return [path for path, module in model.named_modules() if fixable(module) and _is_batch_norm(module)]


def needs_state(model: nn.Module) -> bool:
    """Whether the model takes statistics or masks from the batch."""
    return any(fixable(module) for module in model.modules())


def clean_pass(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], batch: int, *, update: bool = True
) -> tuple[Any, BatchState]:
    """Run the model once, and note which statistics and masks it used.

    Args:
        model: The model.
        args: Positional inputs.
        kwargs: Keyword inputs.
        batch: Number of examples.
        update: Whether batch norms update their running statistics, as in any pass in training mode.

    Returns:
        The model's output, and the state.

    Raises:
        TrainingModeError: If a batch norm or dropout is called more than once in a pass.
    """
    statistics: dict[str, tuple[Tensor, Tensor]] = {}
    masks: dict[str, Tensor] = {}

    def normalise(path: str, module: nn.Module, original: _Forward) -> _Forward:
        def forward(x: Tensor) -> Tensor:
            _once(path, module, statistics)
            dims = [d for d in range(x.dim()) if d != 1]
            statistics[path] = x.mean(dims), x.var(dims, unbiased=False)
            return original(x)

        return forward

    def mask(path: str, module: nn.Module, original: _Forward) -> _Forward:
        def forward(x: Tensor) -> Tensor:
            _once(path, module, masks)
            masks[path] = original(torch.ones_like(x)).detach()
            return x * masks[path]

        return forward

    def attempt(*args: Any, **kwargs: Any) -> Any:
        statistics.clear()
        masks.clear()
        return model(*args, **kwargs)

    with ExitStack() as stack:
        if not update:
            stack.enter_context(_own_buffers(model))
        stack.enter_context(_replaced(model, normalise, mask))
        output = recorded_if_needed(attempt, args, kwargs)
    return output, BatchState(_all_paths(model, statistics), _all_paths(model, masks), batch)


@contextmanager
def holding(model: nn.Module, state: BatchState) -> Iterator[None]:
    """While this is open, the model uses the statistics and masks of `state`, and updates nothing.

    Args:
        model: The model; its modules are as before afterwards.
        state: From `clean_pass` over a batch of the same size.
    """

    def normalise(path: str, module: nn.Module, original: _Forward) -> _Forward:
        mean, var = state.statistics[path]
        assert isinstance(module, _BatchNorm)
        scale = torch.rsqrt(var + module.eps)
        scale = scale if module.weight is None else scale * module.weight
        shift = -mean * scale if module.bias is None else module.bias - mean * scale
        return lambda x: _channels(x, scale) * x + _channels(x, shift)

    def mask(path: str, module: nn.Module, original: _Forward) -> _Forward:
        return lambda x: x * state.masks[path]

    with _replaced(model, normalise, mask):
        yield


@contextmanager
def stand_ins(model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[None]:
    """While this is open, the model can be captured: batch norms use buffers, dropouts multiply by one.

    Args:
        model: The model; its modules are as before afterwards.
        args: Positional inputs of one example.
        kwargs: Keyword inputs of one example.
    """
    if not needs_state(model):
        yield
        return
    norms = [m for m in model.modules() if fixable(m) and _is_batch_norm(m)]
    dropouts = {path: m for path, m in model.named_modules() if fixable(m) and _is_dropout(m)}
    for norm in norms:
        norm.training = False
    try:
        for path, shape in _mask_shapes(model, args, kwargs).items():
            like = next((t for t in model.parameters()), torch.empty(()))
            ones = torch.ones(shape, dtype=like.dtype, device=like.device)
            dropouts[path].register_buffer(MASK, ones, persistent=False)

        def times_mask(path: str, module: nn.Module, original: _Forward) -> _Forward:
            def forward(x: Tensor) -> Tensor:
                factor = getattr(module, MASK)
                assert isinstance(factor, Tensor)
                return x * factor

            return forward

        with _replaced(model, None, times_mask):
            yield
    finally:
        for norm in norms:
            norm.training = True
        for dropout in dropouts.values():
            dropout._buffers.pop(MASK, None)
            dropout._non_persistent_buffers_set.discard(MASK)


def _mask_shapes(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}

    def note(path: str, module: nn.Module, original: _Forward) -> _Forward:
        def forward(x: Tensor) -> Tensor:
            _once(path, module, shapes)
            shapes[path] = tuple(x.shape)
            return x

        return forward

    def attempt(*args: Any, **kwargs: Any) -> Any:
        shapes.clear()
        return model(*args, **kwargs)

    with _replaced(model, None, note):
        run(attempt, args, kwargs)
    return shapes


_Factory: TypeAlias = Callable[[str, nn.Module, _Forward], _Forward]


@contextmanager
def _replaced(model: nn.Module, norm: _Factory | None, dropout: _Factory | None) -> Iterator[None]:
    """Cover `forward` of the modules that a state can fix, by an attribute of the instance."""
    covered: list[tuple[nn.Module, Any]] = []
    try:
        for path, module in model.named_modules():
            factory = norm if _is_batch_norm(module) else dropout
            if factory is None or not fixable(module):
                continue
            covered.append((module, module.__dict__.get("forward")))
            module.__dict__["forward"] = factory(path, module, module.forward)
        yield
    finally:
        for module, before in covered:
            if before is None:
                del module.__dict__["forward"]
            else:
                module.__dict__["forward"] = before


@contextmanager
def _own_buffers(model: nn.Module) -> Iterator[None]:
    """Let batch norms update copies of their buffers, so that the buffers stay as they are."""
    before: list[tuple[nn.Module, dict[str, Tensor | None]]] = []
    try:
        for module in model.modules():
            if fixable(module) and _is_batch_norm(module):
                before.append((module, dict(module._buffers)))
                for name, buffer in module._buffers.items():
                    module._buffers[name] = None if buffer is None else buffer.clone()
        yield
    finally:
        for module, buffers in before:
            module._buffers.update(buffers)


def _once(path: str, module: nn.Module, seen: Mapping[str, Any]) -> None:
    if path in seen:
        raise TrainingModeError(
            f"'{path}' ({type(module).__name__}) is in training mode and is called more than once in a pass, so "
            "one set of statistics or one mask cannot stand for it. Use a module of its own for each call, or "
            "call .eval() on it."
        )


def _all_paths(model: nn.Module, found: Mapping[str, Any]) -> dict[str, Any]:
    """The same under every name that a module is registered by; a graph may use any."""
    modules = dict(model.named_modules(remove_duplicate=False))
    by_module = {id(modules[path]): value for path, value in found.items()}
    return {path: by_module[id(m)] for path, m in modules.items() if id(m) in by_module}


def _is_batch_norm(module: nn.Module) -> bool:
    has_buffers = isinstance(module, _BatchNorm) and module.running_mean is not None
    return has_buffers and not isinstance(module, nn.SyncBatchNorm)


def _is_dropout(module: nn.Module) -> bool:
    return isinstance(module, _DropoutNd) and isinstance(module, _MASKING) and module.p > 0


def _channels(x: Tensor, value: Tensor) -> Tensor:
    return value.reshape(1, -1, *[1] * (x.dim() - 2))


def _by_example(mask: Tensor, one: tuple[int, ...], batch: int) -> Const:
    """A mask over the batch in the layout of bounds, `[B, *S]`."""
    dim = output_batch_dim(one, mask.shape, batch)
    if dim is None:
        return Const(mask)
    return Const(mask.unflatten(dim, (batch, one[dim])).movedim(dim, 0), batched=True)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
