"""`capture`: the way from a model and an example to a checked `Graph`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree  # the public torch.utils.pytree is not in all supported versions

from lirpa_core.capture.batch_state import fixable, stand_ins, standardising
from lirpa_core.capture.chains import chained
from lirpa_core.capture.derivatives import Noticed, noticed, run, traced
from lirpa_core.capture.export import export, read_nodes, rewritten
from lirpa_core.capture.hooks import hooks_of_all_on, refuse_another_call
from lirpa_core.capture.inputs import AUTO, batch_dims_of, refuse_other_types
from lirpa_core.capture.known_values import KnownValues, knowing_constants
from lirpa_core.capture.leaf_modules import Kept, keeping_leaf_modules
from lirpa_core.capture.recording import Recorded, recorded
from lirpa_core.capture.refusals import control_flow
from lirpa_core.capture.replay import fails_by_itself, other_batch_size, replayed
from lirpa_core.capture.training_mode import (
    refuse_derivatives_of_statistics,
    refuse_random_nodes,
    refuse_training_mode,
)
from lirpa_core.errors import (
    CaptureError,
    InputError,
    LirpaError,
    TrainingModeError,
    UnsupportedOperatorError,
)
from lirpa_core.graph import Graph, Node
from lirpa_core.plugins.reader import CaptureRules
from lirpa_core.problem.batching import one_example
from lirpa_core.progress import Monitor
from lirpa_core.rules.index_ranges import ids_out_of_range

if TYPE_CHECKING:
    from torch.export import ExportedProgram

#: A program, its nodes and outputs, what its modules end in, the tensors of the model whose values entered it, and the checks of the
#: model that are taken to hold.
_Read: TypeAlias = tuple[
    "ExportedProgram | Recorded",
    tuple[Node, ...],
    tuple[str | None, ...],
    dict[str, str],
    tuple[Tensor, ...],
    tuple[str, ...],
]


@contextmanager
def _transformer_layers_as_written() -> Iterator[None]:
    """Run transformer layers by their Python code, not by PyTorch's fused inference path.

    That path reads attributes of submodules that a user may have replaced, and is not what is captured.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@_transformer_layers_as_written()
def capture(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    *,
    registry: CaptureRules,
    batch_dims: Sequence[int | None] | str | None = AUTO,
    fixed_batch: bool = False,
    straight: bool = False,
    monitor: Monitor | None = None,
) -> Graph:
    """Capture one example of a model as a graph, and check that the graph is the model.

    In training mode, batch norms enter with their running statistics and dropouts with masks of ones; a
    `BatchState` gives those of a batch when bounds are computed.

    Args:
        model: The model, in the mode (training or evaluation) that is to be bounded.
        args: Positional example inputs; a batch of any size.
        kwargs: Keyword example inputs.
        registry: Which operators have rules, and so stay whole.
        batch_dims: Per flattened input, the dimension that runs over examples, None where the input
            is shared; `"auto"` guesses from leading sizes; None: there is no batch at all.
        fixed_batch: The model takes batches of one only (an exported program without a dynamic batch
            dimension); the replay then cannot try another size.
        straight: Whether one run may say what the model is, see `LiveModel`.
        monitor: Is told how far the capture is, by what its steps take of most models.

    Returns:
        The graph of one example.

    Raises:
        CaptureError: Or one of its subclasses: training mode, a data-dependent branch, an operator
            that cannot be captured, or a graph that does not reproduce the model.
        InputError: If an example input is of an unsupported type.
    """
    monitor = monitor or Monitor()
    monitor.begin("capture", 1.0)
    kwargs = dict(kwargs or {})
    inputs, spec = pytree.tree_flatten((tuple(args), kwargs))
    inputs = [x.as_subclass(Tensor).detach() if isinstance(x, Tensor) else x for x in inputs]
    refuse_other_types(inputs)
    refuse_training_mode(model)
    dims = batch_dims_of(batch_dims, inputs)
    if fixed_batch:
        inputs = [one_example(x, dim) for x, dim in zip(inputs, dims, strict=True)]
    # Copies: forward differentiation in a model cannot be exported on a view.
    single = [one_example(x, dim) for x, dim in zip(inputs, dims, strict=True)]
    single = [x.clone() if isinstance(x, Tensor) else x for x in single]
    one_args, one_kwargs = pytree.tree_unflatten(single, spec)
    statistics, layers = _statistics_of(model), standardising(model)
    monitor.part("running the model", 0.05)
    with stand_ins(model, one_args, one_kwargs), hooks_of_all_on(model):
        how = _refuse_fixed_batch(model, args, kwargs, one_args, one_kwargs)
        if how.differentiates:
            refuse_derivatives_of_statistics(layers)
        plain = not (layers or how.differentiates or how.maps)
        found = _without_export(model, one_args, one_kwargs, registry, straight) if plain else None
        program, nodes, outputs, ends, specialized, assumed = found or _exported(
            model, one_args, one_kwargs, registry, how, monitor
        )
        if not (statistics | _statistics_of(model)).isdisjoint(map(id, specialized)):
            raise TrainingModeError(
                "forward() makes a Python number, a branch or an index of the running statistics or masks of a layer in training "
                "mode, which are other ones for every batch. Call model.eval() first."
            )
        refuse_random_nodes(nodes)
        if not any(o is not None for o in outputs):
            raise CaptureError("the model returns no tensor, so there is nothing to bound.")
        _refuse_complex_outputs(nodes, outputs)
        graph = Graph(
            nodes=nodes,
            inputs=_input_names(program, len(inputs)),
            outputs=outputs,
            input_spec=spec,
            output_spec=spec,  # the replay fills in the output's structure and batch dimensions
            input_batch_dims=dims,
            output_batch_dims=(None,) * len(outputs),
            constants={k: v for k, v in program.constants.items() if isinstance(v, Tensor)},
            specialized=specialized,
            assumed=assumed,
            ends=ends,
        )
        monitor.part("comparing the graph with the model", 0.15)
        graph = replayed(graph, model, inputs, fixed_batch=fixed_batch)
    monitor.end()
    return graph


def _refuse_complex_outputs(nodes: Sequence[Node], outputs: Sequence[str | None]) -> None:
    """Of constants too, which are not written out as pairs of real numbers."""
    for node in nodes:
        if node.name in outputs and node.dtype.is_complex:
            raise CaptureError(
                f"the model returns the complex tensor {node}, whose bounds would have no order. Return its parts, "
                "torch.view_as_real(y), or what you want to know of it, such as y.abs()."
            )


def _statistics_of(model: nn.Module) -> frozenset[int]:
    """Ids of the buffers of layers in training mode, whose values are others for every batch."""
    return frozenset([id(b) for m in model.modules() if fixable(m) for b in m.buffers(recurse=False)])


def _without_export(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], registry: CaptureRules, straight: bool
) -> _Read | None:
    """The program of one run or of a chain of layers, as `_exported`.

    None where neither says what the model is, or more has to be broken down.
    """
    program = recorded(model, args, kwargs) if straight else chained(model, args, kwargs, registry)
    if program is None:
        return None
    done, used = rewritten(program, registry)
    return (program, *read_nodes(program, registry), tuple(used), ()) if done else None


def _exported(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    registry: CaptureRules,
    how: Noticed,
    monitor: Monitor,
) -> _Read:
    """What `_Read` says, of the exported program.

    A model that cannot be exported without values is exported again with the values of what no input reaches. One that
    differentiates is traced to plain operators before, and one that maps if it cannot be exported otherwise.
    """
    refuse_another_call()

    def attempt(
        compute: bool, trace: bool
    ) -> tuple[ExportedProgram, tuple[tuple[Node, ...], tuple[str | None, ...], dict[str, str]], KnownValues]:
        with (
            nullcontext(Kept()) if trace else keeping_leaf_modules(model, registry) as kept,
            ExitStack() as stack,
        ):
            monitor.part("torch.export", 0.5)
            values = stack.enter_context(knowing_constants(model, compute=compute))
            if trace:
                stack.enter_context(traced(model, args, kwargs, how))
            program, used = export(model, args, kwargs, registry, lambda: monitor.part("decomposition", 0.2))
        monitor.part("reading the graph", 0.1)
        values.used.update({id(constant): constant for constant in used})
        return program, read_nodes(program, registry, kept.sites), values

    try:
        program, read, values = attempt(False, how.differentiates)
    except (CaptureError, UnsupportedOperatorError) as refused:
        try:
            program, read, values = attempt(True, how.differentiates or how.maps)
        except LirpaError as again:
            raise (again if isinstance(again, type(refused)) else refused) from None
    return program, *read, tuple(values.used.values()), tuple(values.assumed)


def _input_names(program: ExportedProgram | Recorded, count: int) -> tuple[str, ...]:
    names = tuple(
        getattr(s.arg, "name", "") for s in program.graph_signature.input_specs if s.kind.name == "USER_INPUT"
    )
    assert len(names) == count
    return names


def _refuse_fixed_batch(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], one_args: Any, one_kwargs: Any
) -> Noticed:
    """Tell a model that cannot take a batch of one from a model that cannot run at all, and notice what it does."""
    try:
        return noticed(model, one_args, one_kwargs)
    except LirpaError:
        raise
    except Exception as error:
        if (refused := control_flow(error)) is not None:
            raise refused from None
        try:
            _explain_ids(model, args, kwargs)
            run(model, args, kwargs)
        except LirpaError:
            raise
        except Exception as own:
            raise fails_by_itself(own, pytree.tree_leaves((args, kwargs))) from own
        raise other_batch_size(1, error) from error


def _explain_ids(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Run a model that failed once more, and say so if the reason is an embedding that was given wrong ids."""

    def look(name: str, rows: int) -> Any:
        def hook(module: nn.Module, given: tuple[Any, ...]) -> None:
            if not given or not isinstance(given[0], Tensor) or given[0].is_floating_point():
                return
            message = ids_out_of_range(given[0], rows)
            if message is not None:
                raise InputError(f"module '{name}' ({type(module).__name__}): {message}")

        return hook

    tables = [(n, m) for n, m in model.named_modules() if isinstance(m, (nn.Embedding, nn.EmbeddingBag))]
    handles = [module.register_forward_pre_hook(look(name, module.num_embeddings)) for name, module in tables]
    try:
        with suppress(IndexError):
            run(model, args, kwargs)
    finally:
        for handle in handles:
            handle.remove()


__all__ = ["capture"]
