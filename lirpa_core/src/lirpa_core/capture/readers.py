"""The readers of the core: modules, functions, and programs that `torch.export` made."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch import nn

from lirpa_core.capture.functions import FunctionModule
from lirpa_core.errors import CaptureError
from lirpa_core.graph import Graph
from lirpa_core.plugins.reader import CaptureRules, LiveModel, Reader

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def _is_program(source: object) -> TypeGuard[ExportedProgram]:
    """Whether it is an `ExportedProgram`; who has one has imported `torch.export`, which takes a while."""
    module = sys.modules.get("torch.export")
    return module is not None and isinstance(source, module.ExportedProgram)


class ModuleReader(Reader):
    """Reads an `nn.Module`, through `torch.export`."""

    name = "module"
    summary = "an nn.Module"

    def accepts(self, source: object) -> bool:
        return isinstance(source, nn.Module)

    def open(self, source: Any) -> LiveModel:
        for path, module in source.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                raise CaptureError(
                    f"{f'module {path!r}' if path else 'the model'} ({module.original_name}) is compiled by torch.jit, which "
                    "torch.export does not read. Give the module of Python that it was scripted or traced from."
                )
        return LiveModel(source)

    def graph(
        self,
        live: LiveModel,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        registry: CaptureRules,
        batch_dims: Sequence[int | None] | str | None,
    ) -> Graph:
        from lirpa_core.capture.capture import capture  # only a capture needs it and all that it imports

        return capture(
            live.module, args, kwargs,
            registry=registry, batch_dims=batch_dims, fixed_batch=live.fixed_batch,
            straight=live.straight, monitor=live.monitor,
        )  # fmt: skip


class FunctionReader(ModuleReader):
    """Reads a function, a `functools.partial`, a method, or anything else that can be called."""

    name = "function"
    summary = "a function of tensors"

    def accepts(self, source: object) -> bool:
        return callable(source) and not isinstance(source, (nn.Module, type)) and not _is_program(source)

    def open(self, source: Any) -> LiveModel:
        return LiveModel(FunctionModule(source))


class LiveModelReader(ModuleReader):
    """Reads what another reader has opened, with what is known of it."""

    name = "live model"
    summary = "a LiveModel"

    def accepts(self, source: object) -> bool:
        return isinstance(source, LiveModel)

    def open(self, source: Any) -> LiveModel:
        found: LiveModel = source
        return found


class ExportedProgramReader(ModuleReader):
    """Reads an `ExportedProgram` of one example, or of a dynamic number of examples."""

    name = "exported program"
    summary = "an ExportedProgram from torch.export"

    def accepts(self, source: object) -> bool:
        return _is_program(source)

    def open(self, source: Any) -> LiveModel:
        from lirpa_core.capture.export import has_fixed_batch  # only a program needs it

        return LiveModel(source.module(), has_fixed_batch(source), fixed_mode=True)
