"""One operator call as a rule sees it: static arguments, constants, and slots for what is perturbed."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from lirpa_core.graph import Argument, Node, NodeKind, Shape
from lirpa_core.linear.shapes import broadcast_shapes
from lirpa_core.rules.leaf_modules import LeafModule
from lirpa_core.rules.precision import bounds_dtype, is_narrower

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Slot:
    """Place of the i-th perturbed operand among the arguments."""

    index: int


@dataclass(frozen=True, eq=False)
class Const:
    """An operand that no perturbation reaches.

    Attributes:
        value: `[*S]`, or `[B, *S]` where `batched`.
        batched: Whether the value differs between examples.
    """

    value: Tensor
    batched: bool = False


@dataclass(frozen=True, eq=False)
class Call:
    """An operator with its arguments bound; what every rule method receives first.

    Attributes:
        node: The graph node, for the operator, the output's shape, and the source line in errors.
        arguments: Every argument by its schema name: a `Slot`, a `Const`, a tuple of them, or a
            plain Python value.
        operands: Names of the nodes behind the slots.
        shapes: Shape `S_i` of one example of each slot.
        batch: Number of examples `B`.
        device: Where the tensors live.
        dtypes: The model's element type of each slot; empty where all are that of the output.
        infinite: Whether bounds of operands or constants may be infinite, because a constant here or before
            holds an infinity, as masks do. Rules then tell infinities from numbers.
        precision: Element type of the bounds of the problem's inputs; None: each node's bounds are of its own type.
        shape: Shape `S` of one example of the output.
        slots: Index of the perturbed operand by the name of its argument; without those in lists.
    """

    node: Node
    arguments: Mapping[str, Any]
    operands: tuple[str, ...]
    shapes: tuple[Shape, ...]
    batch: int = 1
    device: torch.device = _CPU
    dtypes: tuple[torch.dtype, ...] = ()
    infinite: bool = False
    precision: torch.dtype | None = None
    shape: Shape = field(init=False)
    slots: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        slots = {}
        for name, value in self.arguments.items():
            if type(value) is Slot:
                slots[name] = value.index
        object.__setattr__(self, "shape", self.node.shape)
        object.__setattr__(self, "slots", slots)

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    @property
    def dtype(self) -> torch.dtype:
        """Element type of the output: the one that its bounds are kept in, or that of a mask."""
        own = self.node.dtype
        return (
            own if self.precision is None or not own.is_floating_point else bounds_dtype(own, self.precision)
        )

    def slot(self, name: str) -> int | None:
        """Index of the perturbed operand passed as argument `name`; None where it is constant."""
        return self.slots.get(name)

    def slot_dtype(self, slot: int) -> torch.dtype:
        """Element type in which a slot's bounds are kept.

        Masks have no bounds of their own type: those of a boolean or integer operand are floating.
        """
        given = self.dtypes[slot] if self.dtypes else self.node.dtype
        if self.precision is not None:
            return bounds_dtype(given, self.precision)
        if given.is_floating_point:
            return given
        return self.dtype if self.dtype.is_floating_point else torch.get_default_dtype()

    def zeros(self) -> list[Tensor]:
        """A zero `[1, *S_i]` for every slot."""
        return [
            torch.zeros(1, *s, dtype=self.slot_dtype(i), device=self.device)
            for i, s in enumerate(self.shapes)
        ]

    @property  # not cached: Dynamo cannot trace the lock that cached_property takes in Python 3.11
    def constants(self) -> tuple[Const, ...]:
        """All constant operands in the order of the arguments."""
        return tuple(v for v in _leaves(self.arguments.values()) if isinstance(v, Const))

    @property
    def has_batched_constants(self) -> bool:
        """Whether a constant operand differs between examples."""
        return any(c.batched for c in self.constants)

    def function(self, operands: Sequence[Tensor], constants: Sequence[Tensor]) -> Tensor:
        """Run the operator on one example.

        Args:
            operands: One tensor `[*S_i]` a slot.
            constants: One tensor `[*S]` an entry of `constants`.

        Returns:
            The output of this node, `[*S]`.
        """
        remaining = iter(constants)

        def fill(value: Any) -> Any:
            if isinstance(value, Slot):
                return operands[value.index]
            if isinstance(value, Const):
                return next(remaining)
            if isinstance(value, tuple):
                return [fill(item) for item in value]
            return value

        args, kwargs = [], {}
        for argument in self.node.arguments:
            value = fill(self.arguments[argument.name])
            if argument.keyword_only:
                kwargs[argument.name] = value
            else:
                args.append(value)
        result: Any = self.node.target(*args, **kwargs)
        output: Tensor = result if self.node.output is None else result[self.node.output]
        return output

    def evaluate(self, operands: Sequence[Tensor], lead: int = 1) -> Tensor:
        """Run the operator on operands with leading dimensions, the last of which is the batch.

        Every operand is `[*L, B, *S_i]` with the same number `lead` of leading dimensions; a size
        of one broadcasts. Works for every operator, through `torch.vmap`.

        Args:
            operands: One tensor a slot.
            lead: How many leading dimensions there are, the batch included.

        Returns:
            `[*L, B, *S]`.
        """
        constants = [c.value for c in self.constants]
        if not operands:
            return self._evaluate_constant(constants)
        leading = broadcast_shapes(*(x.shape[:lead] for x in operands))
        batch = broadcast_shapes(leading[-1:], *(c.value.shape[:1] for c in self.constants if c.batched))
        leading = leading[:-1] + batch
        operands = [x.expand(*leading, *x.shape[lead:]) for x in operands]
        constant_dims = tuple(0 if c.batched else None for c in self.constants)
        constants = [
            c.value.expand(*batch, *c.value.shape[1:]) if c.batched else c.value for c in self.constants
        ]
        if not self.has_batched_constants:
            flat = [x.reshape(math.prod(leading), *x.shape[lead:]) for x in operands]
            run: Callable[..., Tensor] = torch.vmap(lambda *xs: self.function(xs, constants))
            out = run(*flat)
        else:
            n = len(operands)
            run = torch.vmap(lambda *xs: self.function(xs[:n], xs[n:]), in_dims=(0,) * n + constant_dims)
            if lead == 1:
                return run(*operands, *constants)
            flat = [x.reshape(math.prod(leading[:-1]), *x.shape[lead - 1 :]) for x in operands]
            run = torch.vmap(run, in_dims=(0,) * n + (None,) * len(constants))
            out = run(*flat, *constants)
            return out.reshape(*leading, *out.shape[2:])
        return out.reshape(*leading, *out.shape[1:])

    def _evaluate_constant(self, constants: list[Tensor]) -> Tensor:
        if not self.has_batched_constants:
            return self.function((), constants)
        in_dims = tuple(0 if c.batched else None for c in self.constants)
        return torch.vmap(lambda *cs: self.function((), cs), in_dims=in_dims)(*constants)

    def __str__(self) -> str:
        return str(self.node)

    @classmethod
    def of(cls, op: Any, *args: Any, batch: int = 1, output: int | None = None, **kwargs: Any) -> Call:
        """Build a call without a graph, for tests and for trying a rule.

        Positional and keyword arguments are those of `op` for one example, with an
        `Operand(shape)` wherever a tensor is perturbed and a tensor (or `Const`) elsewhere. `output` picks
        one of several outputs. For an `nn.Module`, parameters and buffers are arguments too; those that
        are not given have their present values.

        >>> call = Call.of(torch.ops.aten.relu.default, Operand((1, 3)))
        >>> call.shape, call.shapes
        ((1, 3), ((1, 3),))
        >>> call = Call.of(torch.nn.Linear(3, 2), Operand((1, 3)))
        >>> call.shape, list(call.arguments)
        ((1, 2), ['input', 'weight', 'bias'])

        Args:
            op: An operator, a `torch.library.custom_op`, a module, or a plain Python function.
            *args: Positional arguments.
            batch: Number of examples.
            output: Which of several outputs.
            **kwargs: Keyword arguments.
        """
        op, parameters, state = _declared(op)
        given = dict(zip((p.name for p in parameters), args, strict=False)) | kwargs
        shapes: list[Shape] = []
        dtypes: list[torch.dtype] = []
        dtype = next(
            (x.dtype for x in _leaves(given.values()) if isinstance(x, Operand)), torch.get_default_dtype()
        )

        def bind(value: Any) -> Any:
            if isinstance(value, Operand):
                shapes.append(value.shape)
                dtypes.append(value.dtype)
                return Slot(len(shapes) - 1)
            if isinstance(value, Tensor):
                return Const(value)
            if isinstance(value, (list, tuple)):
                return tuple(bind(v) for v in value)
            return value

        unknown = [name for name in given if name not in {p.name for p in parameters} | set(state)]
        if unknown or len(args) > len(parameters):
            raise TypeError(
                f"{op} takes {', '.join([p.name for p in parameters] + list(state))}; got {unknown or args}"
            )
        arguments = {p.name: bind(given.get(p.name, p.default)) for p in parameters}
        for name, value in state.items():
            converted = value.detach().to(dtype) if value.is_floating_point() else value.detach()
            arguments[name] = bind(given.get(name, converted))
        declared = tuple(Argument(p.name, None, p.keyword_only) for p in parameters)
        declared += tuple(Argument(name, None, True) for name in state)
        node = Node("call", NodeKind.OPERATOR, (), dtype, target=op, arguments=declared, output=output)
        names = [f"x{i}" for i in range(len(shapes))]
        call = cls(node, arguments, tuple(names), tuple(shapes), batch, dtypes=tuple(dtypes))
        ones = [torch.ones(1, *s, dtype=d) for s, d in zip(shapes, dtypes, strict=True)]
        with torch.no_grad():
            sample = call.evaluate(ones)
        node = dataclasses.replace(node, shape=tuple(sample.shape[1:]), dtype=sample.dtype)
        kept = torch.float64 if torch.float64 in dtypes else torch.float32
        narrow = dtypes and is_narrower(sample.dtype, kept) and kept in dtypes
        return dataclasses.replace(call, node=node, precision=kept if narrow else None)


@dataclass(frozen=True)
class Operand:
    """Stands for a perturbed tensor of one example in `Call.of`."""

    shape: Shape
    dtype: torch.dtype = torch.float64


@dataclass(frozen=True)
class _Parameter:
    name: str
    default: Any
    keyword_only: bool


def _declared(op: Any) -> tuple[Any, list[_Parameter], dict[str, Tensor]]:
    """The target of a call, the arguments that it declares, and those that stand for a module's state."""
    if isinstance(op, (nn.Module, FunctionType)):
        op = LeafModule.of(op)
    if isinstance(op, LeafModule):
        parameters = op.signature.parameters.values()
        empty = inspect.Parameter.empty
        found = [_Parameter(p.name, None if p.default is empty else p.default, True) for p in parameters]
        return op, found, op.state()
    op = getattr(op, "_opoverload", op)  # torch offers no public way from a custom_op to its overload
    if not hasattr(op, "_schema"):
        raise TypeError(
            f"expected an operator such as torch.ops.aten.relu.default, a torch.library.custom_op, a module or a "
            f"function written in Python, got {op!r}"
        )
    schema = op._schema.arguments  # the only access to argument names
    return op, [_Parameter(a.name, a.default_value, a.kwarg_only) for a in schema], {}


def _leaves(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, (tuple, list)):
            yield from _leaves(value)
        else:
            yield value
