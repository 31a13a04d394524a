"""Keeps modules and functions that have a rule in one piece while a model is exported.

Their bodies are hidden behind one opaque operator, `lirpa::leaf_module`, for as long as the export takes:
`forward` of each such module is covered by an attribute of the instance, and the code of each such
function is exchanged, so that it does not matter under which name the model calls it. Both are put
back afterwards. `read_nodes` then puts a `LeafModule` in the place of the operator.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from types import CodeType, FunctionType, MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree  # the public torch.utils.pytree is not in all supported versions

from lirpa_core.errors import CaptureError
from lirpa_core.plugins.reader import CaptureRules
from lirpa_core.rules.leaf_modules import LeafModule

_NAME = "lirpa::leaf_module"
torch.library.define(_NAME, "(Tensor[] tensors, int site) -> Tensor[]")

#: The operator that stands for a whole while a model is exported. `site` counts the calls.
LEAF_MODULE = torch.ops.lirpa.leaf_module.default


@dataclass(frozen=True)
class Index:
    """Place of a tensor among those that the opaque operator takes."""

    at: int


@dataclass(eq=False)
class Site:
    """One call of a module or function.

    Attributes:
        whole: What is called.
        arguments: Every argument by name, with an `Index` for each tensor.
    """

    whole: LeafModule
    arguments: dict[str, Any]

    def run(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The results on other tensors, none of which is one of those given."""
        values = {name: fill(value, tensors) for name, value in self.arguments.items()}
        result = self.whole(**values)
        items = [result] if isinstance(result, Tensor) else result
        if not (isinstance(items, (tuple, list)) and items and all(isinstance(y, Tensor) for y in items)):
            raise CaptureError(
                f"{self.whole} returns {_describe(result)}, so it cannot be kept whole; what a rule is for must "
                "return a tensor or a tuple of tensors."
            )
        self.whole = dataclasses.replace(self.whole, single=isinstance(result, Tensor))
        return [y.clone() for y in items]


@dataclass(eq=False)
class Kept:
    """The calls that one export has met."""

    sites: list[Site] = field(default_factory=list)
    inside: bool = False

    def call(self, whole: LeafModule, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Record a call and put the opaque operator in its place."""
        bound = whole.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        tensors: list[Tensor] = []
        arguments, static = {}, {}
        for name, value in {**bound.arguments, **whole.state()}.items():
            if any(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(value)):
                arguments[name] = _take(value, tensors, name, whole)
            else:
                arguments[name] = static[name] = value
        if not tensors:
            return whole.function(*args, **kwargs)
        site = Site(dataclasses.replace(whole, static=MappingProxyType(static)), arguments)
        self.sites.append(site)
        outputs = LEAF_MODULE(tensors, len(self.sites) - 1)
        return outputs[0] if site.whole.single else tuple(outputs)


_current: ContextVar[Kept | None] = ContextVar("lirpa_kept", default=None)
_patching = threading.RLock()


def _run_site(tensors: Sequence[Tensor], site: int) -> list[Tensor]:
    kept = _current.get()
    if kept is None:
        raise CaptureError(f"the operator {_NAME} has a meaning only while lirpa captures a model.")
    before, kept.inside = kept.inside, True
    try:
        return kept.sites[site].run(tensors)
    finally:
        kept.inside = before


torch.library.impl(_NAME, "CompositeExplicitAutograd", _run_site)


@cache
def _known_to_exports() -> None:
    """Let an export trace what is hidden. PyTorch looks through every imported module for it, so only an export asks for it."""
    torch.library.register_fake(_NAME, _run_site)


@contextmanager
def keeping_leaf_modules(model: nn.Module, registry: CaptureRules) -> Iterator[Kept]:
    """While this is open, what the registry has a rule for is exported in one piece.

    Args:
        model: The model; its modules are as before afterwards.
        registry: Whose classes and functions are kept whole.
    """
    _known_to_exports()
    kept = Kept()
    modules = [m for m in model.modules() if registry.rule_for(LeafModule.of(m)) is not None]
    functions = [key for key in registry.leaf_modules if isinstance(key, FunctionType)]
    with _patching:
        undo: list[Callable[[], None]] = []
        token = _current.set(kept)
        try:
            # What undoes a step is noted before it is taken: Ctrl-C may come in between.
            for module in modules:
                undo.append(_uncovering_module(module))
                _cover_module(module, kept)
            for function in functions:
                undo.append(_uncovering_function(function))
                _cover_function(function)
            yield kept
        finally:
            _current.reset(token)
            for step in reversed(undo):
                step()


def _uncovering_module(module: nn.Module) -> Callable[[], None]:
    own = module.__dict__.get("forward")

    def undo() -> None:
        if own is None:
            module.__dict__.pop("forward", None)
        else:
            module.__dict__["forward"] = own

    return undo


def _cover_module(module: nn.Module, kept: Kept) -> None:
    whole = LeafModule.of(module)

    def forward(*args: Any, **kwargs: Any) -> Any:
        return whole.function(*args, **kwargs) if kept.inside else kept.call(whole, args, kwargs)

    module.__dict__["forward"] = forward


_KEY = "lirpa: the function that this code stands for"
_covered: dict[str, tuple[FunctionType, FunctionType]] = {}


def _stand_in(*args: Any, **kwargs: Any) -> Any:
    from lirpa_core.capture.leaf_modules import call_covered  # this code runs with another module's globals

    return call_covered("lirpa: the function that this code stands for", args, kwargs)


def call_covered(key: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a covered function does: inside an export that keeps it whole, record the call."""
    function, original = _covered[key]
    kept = _current.get()
    if kept is None or kept.inside:
        return original(*args, **kwargs)
    return kept.call(LeafModule(function, original), args, kwargs)


def _key_of(function: FunctionType) -> str:
    return f"{function.__module__}.{function.__qualname__} at {id(function)}"


def _uncovering_function(function: FunctionType) -> Callable[[], None]:
    code, key = function.__code__, _key_of(function)

    def undo() -> None:
        function.__code__ = code
        _covered.pop(key, None)

    return undo


def _cover_function(function: FunctionType) -> None:
    code, key = function.__code__, _key_of(function)
    original = FunctionType(
        code, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    original.__kwdefaults__ = function.__kwdefaults__
    original.__annotations__ = function.__annotations__
    _covered[key] = function, original
    function.__code__ = _code_for(key, code)


def _code_for(key: str, code: CodeType) -> CodeType:
    """Code that calls `call_covered`, with the free variables of the code in whose place it stands."""
    template = _stand_in.__code__
    constants = tuple(key if constant == _KEY else constant for constant in template.co_consts)
    return template.replace(co_consts=constants, co_freevars=code.co_freevars, co_name=code.co_name)


def _take(value: Any, tensors: list[Tensor], name: str, whole: LeafModule) -> Any:
    if isinstance(value, Tensor):
        tensors.append(value)
        return Index(len(tensors) - 1)
    if type(value) in (tuple, list):
        return tuple(_take(item, tensors, name, whole) for item in value)
    if any(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(value)):
        raise CaptureError(
            f"argument '{name}' of {whole} is {_describe(value)} with tensors in it, so the call cannot be kept "
            "whole: a rule sees tensors, tuples of tensors, and plain values. Pass the tensors as arguments of "
            "their own, or register the rule for a smaller part."
        )
    return value


def fill(value: Any, tensors: Sequence[Any]) -> Any:
    """An argument of a `Site` with other things in the places of its tensors."""
    if isinstance(value, Index):
        return tensors[value.at]
    return tuple(fill(item, tensors) for item in value) if isinstance(value, tuple) else value


def _describe(value: Any) -> str:
    return "nothing (None)" if value is None else f"a {type(value).__name__}"


__all__ = ["LEAF_MODULE", "Index", "Kept", "Site", "call_covered", "fill", "keeping_leaf_modules"]
