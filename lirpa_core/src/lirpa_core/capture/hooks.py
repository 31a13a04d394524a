"""Hooks that the program has registered for all modules, while a model is captured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from torch import nn

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


def _on_those(own: frozenset[int], hook: Hook) -> Hook:
    def run(module: nn.Module, *given: Any) -> Any:
        return hook(module, *given) if id(module) in own else None

    return run
