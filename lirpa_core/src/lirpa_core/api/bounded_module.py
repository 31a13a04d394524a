"""`BoundedModule`: the façade over capture and methods, with the names that users know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lirpa_core.api.bound_call import Question
from lirpa_core.api.compatibility.calls import other_keywords
from lirpa_core.api.drawing import draw
from lirpa_core.api.inference import outside_inference_mode
from lirpa_core.api.jacobian.compute import derivative_bounds
from lirpa_core.api.methods import method_for
from lirpa_core.api.options import Rounding
from lirpa_core.api.outputs import OutputKey
from lirpa_core.api.recorded import Compiled
from lirpa_core.api.recording import Backend
from lirpa_core.api.results import BoundsResult
from lirpa_core.api.saved import tightest_intervals
from lirpa_core.api.wrapped_module import WrappedModule
from lirpa_core.capture.batch_state import BatchState
from lirpa_core.devices import Processes, in_full_precision
from lirpa_core.devices.processes import in_all_processes
from lirpa_core.errors import InputError, OptionError
from lirpa_core.linear.interval import Interval
from lirpa_core.methods.base import Method
from lirpa_core.problem.problem import Problem


class BoundedModule(WrappedModule):
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
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
        >>> x = torch.zeros(3, 2)
        >>> bounded = BoundedModule(model, x)
        >>> lb, ub = bounded.compute_bounds(BoundedTensor(x, PerturbationLpNorm(eps=0.1)))
        >>> lb.shape, bool((lb <= ub).all())
        (torch.Size([3, 1]), True)
    """

    @in_all_processes
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
        processes: Processes | None = None,
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
            memory_budget: Bytes that coefficients may take, but for one row at a time of a method that needs rows; default:
                the option of that name.
            processes: Those that share the rows of this call: each bounds some neurons of every layer and some rows of the
                output, and all of them return the same result. For one large network; where there are many examples, let
                each process bound some of them, see `Processes.examples`.
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
        further = other_keywords(others, output) if others else None
        if x is None and not kwargs and self._lirpa_called is not None:
            x, kwargs = self._lirpa_called
        chosen = self._method(method, IBP=IBP, forward=forward, time_budget=time_budget)
        if return_A and not chosen.gives_linear_bounds:
            raise OptionError(
                f"return_A=True: method {chosen.name!r} returns no linear bounds; use another method."
            )
        question = self._question(
            chosen, output if further is None else further.output, C, bound_lower, bound_upper
        )
        inputs = self._lirpa_captured.flatten(x, kwargs)
        self.__dict__["_lirpa_called"] = x, kwargs
        call = question.of(inputs, question.graph(inputs), batch_state)
        computation = call.computation(
            given=interm_bounds,
            further=None if further is None else further.intersected,
            memory_budget=memory_budget,
            linear_bounds=return_A,
            needed=needed_A_dict,
        )
        computed = call.run(computation, processes)
        call.watch(computed.found, computed.inner.intervals)
        result = call.result(computed, call.moved(computation, computed))
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
            >>> from torch import nn
            >>> model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
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
        chosen = self._method(method)
        asked: dict[str, Any] = {
            "C": C, "method": method, "bound_lower": bound_lower, "bound_upper": bound_upper, "output": output,
        }  # fmt: skip
        found = Compiled.of(
            lambda: self._question(chosen, output, C, bound_lower, bound_upper),
            lambda x, kwargs: self.compute_bounds(x, kwargs=kwargs, **asked),
            backend,
        )
        if x is not None or kwargs:
            found(x, kwargs=kwargs)
        return found

    def compute_jacobian_bounds(self, x: Any, **bounding: Any) -> BoundsResult:
        """Bounds `[B, O, I]` of the derivative of the output with respect to the one input, both flattened.

        `lirpa_core.jacobian` does the same, takes models of several inputs, and knows norms and Lipschitz constants.

        Args:
            x: The input, a `BoundedTensor`, or a tuple of it.
            bounding: As for `compute_bounds`.

        Raises:
            InputError: If the model takes several inputs.
            LirpaError: As `lirpa_core.jacobian`.
        """
        inputs = tuple(x) if isinstance(x, (tuple, list)) else (x,)
        if len(inputs) != 1 or not isinstance(inputs[0], Tensor):
            raise InputError(
                f"compute_jacobian_bounds takes the model's one input; {len(inputs)} were given. lirpa_core.jacobian takes several."
            )
        return derivative_bounds(BoundedModule, self, inputs, **{"method": "backward", **bounding}).result

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

    def save_intermediate(self, save_path: str | Path | None = None) -> dict[str, tuple[Tensor, Tensor]]:
        """The tightest bounds of all nodes that follow from the last `compute_bounds`, by node name.

        Those of the output are what `compute_bounds` gave, if it was bounded without `C`. With a method that gives linear
        bounds, nodes behind affine operators are bounded by a backward pass each, when this is called.

        Args:
            save_path: Where to write them with `torch.save`; default: nowhere.

        Raises:
            InputError: If no bounds have been computed yet.
        """
        if self._lirpa_last is None:
            raise InputError("save_intermediate: call compute_bounds first.")
        last = self._lirpa_last
        known: Mapping[str, Interval] = last.intermediate.by_node
        if last.problem is not None:
            by_rows = self._method(last.method or None).gives_linear_bounds
            known = tightest_intervals(last.problem, known, by_rows)
        found = {name: (x.lower.detach(), x.upper.detach()) for name, x in known.items()}
        if save_path is not None:
            torch.save(found, save_path)
        return found

    def _method(self, method: str | Method | None, **settings: Any) -> Method:
        """The method that is asked for, with the options of its search; settings as those of `method_for`."""
        return method_for(self._lirpa_registry, method, self._lirpa_options.optimize_bound_args, **settings)

    def _question(
        self, method: Method, output: OutputKey, C: Tensor | None, lower: bool, upper: bool
    ) -> Question:
        """What is asked of the model, with its options and rules as they are now."""
        return Question(
            self._lirpa_captured, self._lirpa_registry, self._lirpa_options, method, output, C, lower, upper,
            self._lirpa_watching, self._lirpa_rounding,
        )  # fmt: skip
