"""`BoundedModule`: the façade over capture and methods, with the names that users know."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree  # the public torch.utils.pytree is not in all supported versions

from lirpa_core.api.compatibility.calls import constructor_keywords, other_keywords
from lirpa_core.api.compatibility.module import ReferenceMembers
from lirpa_core.api.computation import Computation, Found
from lirpa_core.api.drawing import draw
from lirpa_core.api.inference import outside_inference_mode
from lirpa_core.api.intermediate_bounds import given_intervals
from lirpa_core.api.methods import method_for
from lirpa_core.api.options import BoundOptions, Rounding, positive
from lirpa_core.api.outputs import output_nodes, structured
from lirpa_core.api.recorded import Compiled
from lirpa_core.api.recording import BACKENDS, Backend
from lirpa_core.api.results import BoundsResult, NodeBounds
from lirpa_core.api.rounding import Moved, may_matter
from lirpa_core.api.rule_variants import with_options
from lirpa_core.api.tripwire import Watch
from lirpa_core.capture.batch_state import BatchState, clean_pass, holding
from lirpa_core.capture.capture import AUTO
from lirpa_core.capture.captured_model import CapturedModel, without_set
from lirpa_core.devices import in_full_precision
from lirpa_core.errors import InputError, OptionError
from lirpa_core.graph import Graph
from lirpa_core.methods.base import Method
from lirpa_core.methods.rows import bytes_of_a_row
from lirpa_core.plugins import Registry, default_registry
from lirpa_core.problem.batching import batch_size
from lirpa_core.problem.problem import Problem
from lirpa_core.progress import Monitor


class BoundedModule(ReferenceMembers):
    """A model whose output can be bounded when its inputs or weights move inside given sets.

    It shares the original module's parameters, buffers and submodules: it has the same `state_dict`,
    and training, moving or loading one does the same to the other.

    Args:
        model: The model: an `nn.Module`, an `ExportedProgram`, or whatever else an installed reader reads.
        example: An example input, or a tuple of all positional inputs; a batch of any size.
        bound_opts: Options by name, see `BoundOptions`.
        device: Where to move the model; default: where it is.
        registry: Rules to use; default: those of all installed plugins.
        kwargs: Example keyword inputs.
        batch_dims: Per flattened input, the dimension over examples, or None for an input that all
            examples share; `"auto"`: inputs whose leading size is that of the first float tensor
            are per example; None: the inputs have no batch dimension at all.
        others: Keywords of auto_LiRPA: `global_input`, another name of `example`; `verbose`; `custom_ops`.

    Raises:
        CaptureError: If the model cannot be captured as one graph; says where and what to do.
        OptionError: For an unknown option.

    Example:
        >>> import torch
        >>> from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
        >>> x = torch.zeros(3, 2)
        >>> bounded = BoundedModule(model, x)
        >>> lb, ub = bounded.compute_bounds(x=(BoundedTensor(x, PerturbationLpNorm(eps=0.1)),))
        >>> lb.shape, bool((lb <= ub).all())
        (torch.Size([3, 1]), True)
    """

    def __init__(
        self,
        model: object,
        example: Any = None,
        bound_opts: Mapping[str, Any] | None = None,
        device: torch.device | str | None = None,
        registry: Registry | None = None,
        *,
        kwargs: Mapping[str, Any] | None = None,
        batch_dims: Sequence[int | None] | str | None = AUTO,
        **others: Any,
    ) -> None:
        super().__init__()
        if others:
            example = constructor_keywords(others, example)
        if example is None:
            if not kwargs:
                raise InputError("BoundedModule needs an example input: BoundedModule(model, example).")
            example = ()
        self._lirpa_options = BoundOptions().updated(bound_opts)
        self._lirpa_plain_registry = registry or default_registry()
        self._lirpa_registry = with_options(self._lirpa_plain_registry, self._lirpa_options)
        self._lirpa_captured = CapturedModel.of(
            model, example, kwargs, batch_dims, device, self._lirpa_registry
        )
        original = self._lirpa_captured.live.module
        # The dictionaries themselves are shared, so that names in state_dict() stay the original's.
        self._parameters, self._buffers = original._parameters, original._buffers
        self._modules = original._modules
        self._non_persistent_buffers_set = original._non_persistent_buffers_set
        self.training = original.training
        self._lirpa_last: BoundsResult | None = None
        self._lirpa_called: tuple[Any, Mapping[str, Any] | None] | None = None  # inputs of the last call
        self._lirpa_calls = 0  # of methods that cost little more than the model
        self._lirpa_looks = 0  # computations that may have been looked at for rounding
        self._lirpa_captured.graph(
            self._lirpa_registry,
            executed=self._lirpa_options.covers == "float",
            report=self._lirpa_options.progress,
        )

    # ------------------------------------------------------------------ the module's ordinary life

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the original model; `BoundedTensor`s act as the tensors they are.

        The inputs are kept until the next call, so that `compute_bounds()` without inputs bounds what was called last.

        Args:
            *args: Positional inputs.
            **kwargs: Keyword inputs. `method_opt="compute_bounds"` calls `compute_bounds` with all others, as wrappers
                that can only call a module need it.
        """
        option = kwargs.pop("method_opt", "forward")
        if option != "forward":
            return self._called_by(option, args, kwargs)
        if not torch.compiler.is_compiling():
            self.__dict__["_lirpa_called"] = args, kwargs
        args, kwargs = pytree.tree_map_only(Tensor, without_set, (args, kwargs))
        return self._lirpa_captured.live.module(*args, **kwargs)

    def _called_by(self, option: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if option != "compute_bounds":
            raise OptionError(f"method_opt={option!r}: expected 'forward' or 'compute_bounds'.")
        return self.compute_bounds(*args, **kwargs)

    def train(self, mode: bool = True) -> BoundedModule:
        """Set the original model's mode; bounds then are those of the model in that mode."""
        if (
            self._lirpa_captured.live.fixed_mode
        ):  # torch leaves an exported program in the mode it was exported in
            if mode:
                raise OptionError(
                    "an exported program cannot be put in training mode; give the nn.Module instead."
                )
            return self
        self._lirpa_captured.live.module.train(mode)
        self.training = self._lirpa_captured.live.module.training
        return self

    def set_bound_opts(self, new_opts: Mapping[str, Any]) -> None:
        """Change options by name.

        Raises:
            OptionError: For an unknown name or a wrong value.
        """
        self._lirpa_options = self._lirpa_options.updated(new_opts)
        self._lirpa_registry = with_options(self._lirpa_plain_registry, self._lirpa_options)

    # ------------------------------------------------------------------ the graph

    @property
    def graph(self) -> Graph:
        """The captured graph of the model in its current mode."""
        executed = self._lirpa_options.covers == "float"
        return self._lirpa_captured.graph(self._lirpa_registry, executed=executed)

    @property
    def input_name(self) -> list[str]:
        """Names of the inputs, as `needed_A_dict` takes them."""
        return list(self.graph.inputs)

    @property
    def output_name(self) -> list[str]:
        """Names of the outputs, as `needed_A_dict` takes them."""
        return [name for name in self.graph.outputs if name is not None]

    # ------------------------------------------------------------------ bounds

    @outside_inference_mode
    @in_full_precision
    def compute_bounds(
        self,
        x: Any = None,
        *,
        kwargs: Mapping[str, Any] | None = None,
        C: Tensor | None = None,
        method: str | Method | None = "backward",
        IBP: bool = False,
        forward: bool = False,
        bound_lower: bool = True,
        bound_upper: bool = True,
        return_A: bool = False,
        needed_A_dict: Mapping[str, str | Sequence[str] | set[str]] | None = None,
        interm_bounds: Mapping[str, Any] | None = None,
        output: int | str | None = None,
        batch_state: BatchState | None = None,
        time_budget: float | None = None,
        memory_budget: int | None = None,
        **others: Any,
    ) -> BoundsResult:
        """Guaranteed bounds of the output over the perturbation sets of the inputs.

        Args:
            x: Positional inputs, the perturbed ones as `BoundedTensor`; one input need not be a tuple. Without any, those
                of the last call of the model or of this method.
            kwargs: Keyword inputs.
            C: Specification matrix `[B, K, out]`: bounds of `C @ output` are computed instead.
            method: A name, such as `"IBP"`, `"forward"`, `"backward"` = `"CROWN"`, `"IBP+backward"` = `"CROWN-IBP"`,
                `"forward+backward"` = `"CROWN-forward"`, `"CROWN-Optimized"` = `"alpha-CROWN"` (`lirpa methods` lists
                all that are installed); `"auto"` chooses by the time that it may take; or a `Method` with options of its own, such as `AlphaCROWN(steps=50)`.
            IBP: Another way to say `"CROWN-IBP"`, or with `method=None` `"IBP"`.
            forward: Another way to say `"CROWN-forward"`, or with `method=None` `"forward"`.
            bound_lower: Whether lower bounds are wanted.
            bound_upper: Whether upper bounds are wanted.
            return_A: Also return the linear bounds; the method must have them (all but IBP do).
            needed_A_dict: Which of them: `{output name: [names]}` of inputs, or of inner nodes or modules, over which
                the bounds are linear then; default: all inputs.
            interm_bounds: Sound bounds of inner nodes to use, `{node or module path: (lower, upper)}`.
            output: What to bound: the number of an output, where the model has several, or the name of
                an inner node or the path of a module; default: all outputs.
            batch_state: Of a model in training mode: the statistics and masks to hold, from `clean_pass`;
                default: those of these inputs, without an update of running statistics.
            time_budget: Seconds that `method="auto"` may take; it chooses by what methods are estimated to take, and
                stops at the time.
            memory_budget: Bytes that coefficients may take; default: the option of that name.
            others: Further keywords of auto_LiRPA, such as `final_node_name` and `reference_bounds`: taken,
                taken with a warning, or refused, as the page on migration lists them.

        Returns:
            A result that unpacks as `lb, ub` (and `A`).

        Raises:
            LirpaError: Of the class that fits: an unknown method, an input or specification of a wrong
                shape, nothing perturbed, an operator without a rule, a box outside a domain, or a
                bound that is not finite.
        """
        if not (bound_lower or bound_upper):
            raise OptionError("bound_lower and bound_upper are both False, so there is nothing to compute.")
        registry, options, captured = self._lirpa_registry, self._lirpa_options, self._lirpa_captured
        further = other_keywords(others, output) if others else None
        if further is not None:
            output = further.output
        if x is None and not kwargs and self._lirpa_called is not None:
            x, kwargs = self._lirpa_called
        chosen = self._method(method, IBP=IBP, forward=forward, time_budget=time_budget)
        if return_A and not chosen.gives_linear_bounds:
            raise OptionError(
                f"return_A=True: method {chosen.name!r} returns no linear bounds; use another method."
            )
        inputs = captured.flatten(x, kwargs)
        self.__dict__["_lirpa_called"] = x, kwargs
        graph = captured.graph(registry, inputs, options.covers == "float", options.progress)
        nodes = output_nodes(graph, output, C)
        names = frozenset([node.name for node in nodes.values()])
        problem = captured.bind(graph, registry, inputs, names, batch_state, options.rounding == "outward")
        computation = Computation(
            chosen, nodes, C, bound_lower, bound_upper,
            given_intervals(problem, interm_bounds) if interm_bounds else None,
            None if further is None else further.intersected,
            self._budget(problem, memory_budget), return_A, needed_A_dict,
        )  # fmt: skip
        report = options.progress
        computed = computation.run(
            problem if report is None else dataclasses.replace(problem, monitor=Monitor(report))
        )
        found, intervals = computed.found, computed.inner.intervals
        watched = self._is_watched(chosen) or not (options.tripwire is False or captured.is_certain(graph))
        if watched and batch_state is None and not captured.takes_state(graph):
            plain = [without_set(v) if isinstance(v, Tensor) else v for v in inputs]
            Watch(captured, graph, problem, plain, intervals, nodes, found, C).check(options.tripwire, output)
        moved = self._moved(problem, computation, found, graph, output)
        if moved is not None and self._looks_at_rounding() and may_matter(problem, intervals):
            moved.warn()
        result = BoundsResult(
            structured({i: low for i, (low, _) in found.items()}, graph, output) if bound_lower else None,
            structured({i: up for i, (_, up) in found.items()}, graph, output) if bound_upper else None,
            computed.A if return_A else None,
            NodeBounds(graph, intervals),
            chosen.name if computed.choice is None else computed.choice.method,
            "" if computed.choice is None else computed.choice.reason,
            problem,
            moved,
        )
        self.__dict__["_lirpa_last"] = result
        return result

    def compiled(
        self,
        x: Any = None,
        *,
        kwargs: Mapping[str, Any] | None = None,
        C: Tensor | None = None,
        method: str | Method = "backward",
        bound_lower: bool = True,
        bound_upper: bool = True,
        output: int | str | None = None,
        backend: Backend = "operators",
    ) -> Compiled:
        """A function that computes the same bounds faster, by replaying what was recorded at its first call.

        For small models, whose bounds take the host longer than the device: a recording has no Python of this library
        in it, and on CUDA it is one graph of kernels. CROWN bounds every neuron then, not only those that are
        unstable, so for large models `compute_bounds` may be faster.

        Args:
            x: Inputs to record at once, as for `compute_bounds`; default: those of the first call.
            kwargs: Likewise.
            C: As for `compute_bounds`.
            method: As for `compute_bounds`; not one that searches slopes.
            bound_lower: As for `compute_bounds`.
            bound_upper: As for `compute_bounds`.
            output: As for `compute_bounds`.
            backend: `"operators"` runs the recorded operators; `"inductor"`, on CPUs only, has `torch.compile` fuse
                them, which takes a minute the first time and needs a C++ compiler.

        Returns:
            A function of `(x, kwargs=None)` that returns `(lower, upper)`, without gradients.

        Raises:
            OptionError: For an unknown backend or method, or if something is decided by values on the way.
            LirpaError: As `compute_bounds`, if `x` is given.

        Example:
            >>> import torch
            >>> from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
            >>> model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
            >>> x = torch.zeros(3, 2)
            >>> bounded = BoundedModule(model, x)
            >>> fast = bounded.compiled(method="CROWN")
            >>> for shift in range(3):
            ...     moved = BoundedTensor(x + shift, PerturbationLpNorm(eps=0.1))
            ...     lb, ub = fast(moved)
            ...     torch.allclose(lb, bounded.compute_bounds(moved, method="CROWN")[0], atol=1e-5)
            True
            True
            True
        """
        if backend not in BACKENDS:
            raise OptionError(f"backend={backend!r}: expected one of {', '.join(map(repr, BACKENDS))}.")
        chosen = self._method(method)
        if chosen.optimises_slopes:
            raise OptionError(
                f"compiled(method={chosen.name!r}): a search decides by values and cannot be recorded; use compute_bounds."
            )
        captured = self._lirpa_captured
        asked: dict[str, Any] = {
            "C": C, "method": method, "bound_lower": bound_lower, "bound_upper": bound_upper, "output": output,
        }  # fmt: skip

        def graph(inputs: Sequence[Any]) -> Graph:
            return captured.graph(self._lirpa_registry, inputs, self._lirpa_options.covers == "float")

        def prepare(inputs: Sequence[Any]) -> tuple[Problem, Computation]:
            if captured.takes_state(graph(inputs)):
                raise OptionError("compiled() is for models in evaluation mode; call model.eval().")
            nodes = output_nodes(graph(inputs), output, C)
            names = frozenset([node.name for node in nodes.values()])
            outward = self._lirpa_options.rounding == "outward"
            problem = captured.bind(graph(inputs), self._lirpa_registry, inputs, names, outward=outward)
            budget = self._budget(problem)
            return problem, Computation(chosen, nodes, C, bound_lower, bound_upper, memory_budget=budget)

        def watch(problem: Problem, inputs: Sequence[Any], found: Found) -> None:
            points, own = self._lirpa_options.tripwire, problem.graph
            if self._is_watched(chosen) or not (points is False or captured.is_certain(own)):
                plain = [without_set(v) if isinstance(v, Tensor) else v for v in inputs]
                nodes = output_nodes(own, output, C)
                Watch(captured, own, problem, plain, {}, nodes, found, C).check(points, output)

        found = Compiled(
            prepare=prepare,
            refuse=captured.refuse_autocast,
            watch=watch,
            fixed=() if C is None else (C,),
            eager=lambda x, kwargs: self.compute_bounds(x, kwargs=kwargs, **asked),
            flatten=captured.flatten,
            arrange=lambda problem, bounds: structured(bounds, problem.graph, output) if bounds else None,
            module=captured.live.module,
            backend=backend,
            state=lambda inputs: (graph(inputs), self._lirpa_options, self._lirpa_registry),
        )
        if x is not None or kwargs:
            found(x, kwargs=kwargs)
        return found

    def _last_bounds(self) -> NodeBounds | None:
        return None if self._lirpa_last is None else self._lirpa_last.intermediate

    def visualize(self, output_path: str | Path, *, result: BoundsResult | None = None) -> Path:
        """Draw the captured graph: operators, shapes, module paths.

        Args:
            result: Bounds by whose widths the nodes are coloured, from white for the narrowest to orange for the widest.
            output_path: File to write: `.dot` (or no suffix) is text; `.svg`, `.png` or `.pdf` need the
                `dot` program of Graphviz.

        Returns:
            The file written.

        Raises:
            OptionError: If the format cannot be written.
        """
        bounds = {} if result is None else result.intermediate
        widths = {name: float(interval.width.detach().mean()) for name, interval in bounds.items()}
        return draw(self.graph, output_path, widths)

    def problem(
        self,
        x: Any,
        *,
        kwargs: Mapping[str, Any] | None = None,
        batch_state: BatchState | None = None,
        rounding: Rounding | None = None,
    ) -> Problem:
        """The bound problem of these inputs, which the functions of `lirpa_core.functional` work on.

        For several computations that share their intermediate bounds; `compute_bounds` is for one.

        Args:
            x: As for `compute_bounds`.
            kwargs: Likewise.
            batch_state: Likewise.
            rounding: `"outward"` or `"nearest"`, see `BoundOptions`; default: what the model's options say.

        Raises:
            LirpaError: As `compute_bounds`.
        """
        captured, registry = self._lirpa_captured, self._lirpa_registry
        inputs = captured.flatten(x, kwargs)
        graph = captured.graph(registry, inputs, self._lirpa_options.covers == "float")
        outputs = frozenset([n for n in graph.outputs if n is not None])
        outward = (rounding or self._lirpa_options.rounding) == "outward"
        return captured.bind(graph, registry, inputs, outputs, batch_state, outward)

    # ------------------------------------------------------------------ training mode

    def clean_pass(self, *args: Any, update: bool = True, **kwargs: Any) -> tuple[Any, BatchState]:
        """Run the model, and note the batch's statistics and masks that it used in training mode.

        Args:
            *args: Positional inputs.
            update: Whether running statistics are updated, as in any pass in training mode.
            **kwargs: Keyword inputs.

        Returns:
            The output, and what to give to `compute_bounds` and `holding` so that they are about the same
            function. In evaluation mode the state is empty.
        """
        args, kwargs = pytree.tree_map_only(Tensor, without_set, (args, kwargs))
        inputs = pytree.tree_leaves((args, kwargs))
        graph = self._lirpa_captured.graph(self._lirpa_registry, inputs)
        batch = batch_size(inputs, graph.input_batch_dims, graph.inputs)
        return clean_pass(self._lirpa_captured.live.module, args, kwargs, batch, update=update)

    def holding(self, state: BatchState) -> AbstractContextManager[None]:
        """A context in which the model uses the statistics and masks of `state`, for attacks on it."""
        return holding(self._lirpa_captured.live.module, state)

    def save_intermediate(self, save_path: str | Path | None = None) -> dict[str, tuple[Tensor, Tensor]]:
        """Bounds of all inner nodes of the last `compute_bounds`, by node name.

        Args:
            save_path: Where to write them with `torch.save`; default: nowhere.

        Raises:
            InputError: If no bounds have been computed yet.
        """
        if self._lirpa_last is None:
            raise InputError("save_intermediate: call compute_bounds first.")
        found = {
            name: (interval.lower.detach(), interval.upper.detach())
            for name, interval in self._lirpa_last.intermediate.items()
        }
        if save_path is not None:
            torch.save(found, save_path)
        return found

    def _method(
        self,
        method: str | Method | None,
        *,
        IBP: bool = False,
        forward: bool = False,
        time_budget: float | None = None,
    ) -> Method:
        """The method that is asked for, with the options of its search."""
        return method_for(
            self._lirpa_registry, method, self._lirpa_options.optimize_bound_args,
            IBP=IBP, forward=forward, time_budget=time_budget,
        )  # fmt: skip

    def _moved(
        self, problem: Problem, computation: Computation, found: Found, graph: Graph, output: int | str | None
    ) -> Moved | None:
        """What can tell by how much rounding moved these bounds; nothing while PyTorch compiles."""
        if torch.compiler.is_compiling():
            return None
        return Moved.of(problem, computation, found, partial(structured, graph=graph, output=output))

    def _looks_at_rounding(self) -> bool:
        """Whether this computation is looked at for rounding: the first, second, fourth, eighth and so on."""
        count = self.__dict__["_lirpa_looks"] = self._lirpa_looks + 1
        return count & (count - 1) == 0

    def _is_watched(self, method: Method) -> bool:
        """Whether the model is run to check these bounds; where that is not cheap, less and less often."""
        points = self._lirpa_options.tripwire
        if points == "corners" or not points or method.gives_linear_bounds:
            return bool(points)
        count = self.__dict__["_lirpa_calls"] = self._lirpa_calls + 1
        return count & (count - 1) == 0

    def _budget(self, problem: Problem, given: int | None = None) -> int | None:
        """Bytes for coefficients: the budget given to the call or by the options, or what the stated number of rows takes."""
        options = self._lirpa_options
        positive("memory_budget", given)
        stated = options.memory_budget if given is None else given
        budgets = [] if stated is None else [stated]
        if options.crown_batch_size is not None:
            budgets.append(options.crown_batch_size * bytes_of_a_row(problem))
        return min(budgets, default=None)

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.__dict__.items() if name != "_lirpa_jacobian"}
        told = dataclasses.replace(self._lirpa_options, progress=None)  # a function of this process
        return {
            **kept,
            "_lirpa_last": None, "_lirpa_called": None, "_lirpa_registry": None, "_lirpa_options": told,
        }  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._lirpa_registry = with_options(self._lirpa_plain_registry, self._lirpa_options)
