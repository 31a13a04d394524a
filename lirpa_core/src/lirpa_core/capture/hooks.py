"""What the program has registered for all modules, or put in the place of their call, while a model is captured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn

from lirpa_core.errors import CaptureError

_TORCH = f"{Path(torch.__file__).parent}/"

Hook: TypeAlias = Callable[..., Any]

#: The tables of `register_module_forward_pre_hook` and `register_module_forward_hook`, by the hooks' ids.
HOOKS_OF_ALL: tuple[MutableMapping[int, Hook], ...] = (
    nn.modules.module._global_forward_pre_hooks,  # no public way to them
    nn.modules.module._global_forward_hooks,
)


@contextmanager
def hooks_of_all_on(model: nn.Module) -> Iterator[None]:
    """While this is open, hooks of all modules run on those of a model alone.

    `torch.export` wraps the model in a module of its own, to which a hook would do what nobody does to the model.

    Args:
        model: The model.
    """
    own = frozenset(map(id, model.modules()))
    before = [dict(table) for table in HOOKS_OF_ALL]
    for table in HOOKS_OF_ALL:
        for number, hook in table.items():
            table[number] = _on_those(own, hook)
    try:
        yield
    finally:
        for table, hooks in zip(HOOKS_OF_ALL, before, strict=True):
            for number, hook in hooks.items():
                if number in table:
                    table[number] = hook


def refuse_another_call() -> None:
    """Refuse to trace while all modules are called in another way than PyTorch's.

    `torch.export` puts its own call there, so that what the program's does would not be a part of the graph.

    Raises:
        CaptureError: `nn.Module.__call__` is not PyTorch's.
    """
    for name in ("__call__", "_call_impl"):
        code = getattr(vars(nn.Module)[name], "__code__", None)
        if code is None or not code.co_filename.startswith(_TORCH):
            where = f" (by the one at {code.co_filename}:{code.co_firstlineno})" if code else ""
            raise CaptureError(
                f"the program has replaced torch.nn.Module.{name}{where}, and torch.export does not see what that does. Register a "
                "hook for all modules instead (torch.nn.modules.module.register_module_forward_hook), which is followed, or put "
                "PyTorch's back until the model is captured."
            )


def _on_those(own: frozenset[int], hook: Hook) -> Hook:
    def run(module: nn.Module, *given: Any) -> Any:
        return hook(module, *given) if id(module) in own else None

    return run
