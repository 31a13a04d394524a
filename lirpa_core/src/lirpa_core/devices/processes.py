"""Work that the processes of a `torch.distributed` group share: examples of a data set, rows of a layer.

Every process runs the same program and takes a consecutive part of the work. What was found is gathered, in the order of the
work, in all of them. Before anything is gathered the processes tell each other what they are at, so that one that
has failed, or is at something else, makes all of them fail instead of wait.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils import _pytree as pytree  # the public torch.utils.pytree is not in all supported versions

from lirpa_core.devices.shared_tensors import checked, joined
from lirpa_core.errors import InputError, OptionError, ProcessesError

F = TypeVar("F", bound=Callable[..., Any])

#: Shape of one row of a tensor, and its type.
_Kind: TypeAlias = tuple[tuple[int, ...], torch.dtype]
#: What processes have come to whose work is over.
_DONE = "the end"


@dataclass(frozen=True)
class _Report:
    """What a process tells the others.

    Attributes:
        at: What it has come to; all of them have to be there.
        failure: The error that ended its work; None: there was none.
        rows: How many rows it has found.
        kinds: What its rows are; None where it had nothing to do.
        layout: How its tensors are nested, for those that had nothing to do.
    """

    at: str
    failure: str | None = None
    rows: int = 0
    kinds: tuple[_Kind, ...] | None = None
    layout: Any = None


class _Told(Exception):  # noqa: N818  it carries an error to where the group's work began
    """An error that the other processes know of."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True)
class Processes:
    """The processes that share a computation; where there is no process group, this one alone.

    Every process makes the same calls with the same data. Work is cut into consecutive parts; where its size is stated
    (`chunk`), the cuts do not depend on how many processes there are, and neither does any number that comes out.

    There are no gradients through what is gathered: for training, wrap `lirpa_training.CertifiedLoss` in
    `torch.nn.parallel.DistributedDataParallel`.

    Args:
        group: The process group; default: the one of `torch.distributed.init_process_group`, if there is one.

    >>> processes = Processes()
    >>> processes.rank, processes.world
    (0, 1)
    >>> processes.share(10, chunk=4)
    range(0, 10)
    """

    group: Any = None

    def __post_init__(self) -> None:
        if self.group is not None and not self._initialized:
            raise OptionError(
                f"Processes(group={self.group!r}): there is no process group; call torch.distributed.init_process_group first."
            )

    @property
    def _initialized(self) -> bool:
        return dist.is_available() and dist.is_initialized()

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        return dist.get_rank(self.group) if self._initialized else 0

    @property
    def world(self) -> int:
        """How many processes there are."""
        return dist.get_world_size(self.group) if self._initialized else 1

    def share(self, count: int, chunk: int | None = None) -> range:
        """This process's part of some work.

        Args:
            count: How much work there is.
            chunk: Cut at multiples of it only; default: parts differ by one at most.

        Returns:
            A range, empty where there is less work than processes. The first processes have more.
        """
        size = 1 if chunk is None else chunk
        each, more = divmod(math.ceil(count / size), self.world)
        start = self.rank * each + min(self.rank, more)
        stop = start + each + (self.rank < more)
        return range(min(count, start * size), min(count, stop * size))

    def examples(
        self, compute: Callable[[range], Iterable[Any]], count: int, *, chunk: int | None = None
    ) -> tuple[Any, ...]:
        """What a function finds about the examples of a data set, each process working on some.

        Args:
            compute: Given consecutive numbers of examples, returns tensors with these examples first: the result of
                `BoundedModule.compute_bounds`, or a tuple of tensors, nested as you like.
            count: How many examples there are.
            chunk: How many are given to the function at a time; the results then are bitwise those of one process. Default:
                all of a process's at once.

        Returns:
            A tuple of what the function returns, of all examples in their order, in every process.

        Raises:
            InputError: There are no examples; the function returned something else, or what has a gradient.
            OptionError: `chunk` is not a positive whole number.
            ProcessesError: Another process has failed, or is at something else. The one that failed raises its own error.

        Example:
            >>> import torch
            >>> from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm, Processes
            >>> images = torch.rand(10, 4)
            >>> bounded = BoundedModule(torch.nn.Linear(4, 2), images[:1])
            >>> def bounds_of(examples):
            ...     x = images[examples.start : examples.stop]
            ...     return bounded.compute_bounds(BoundedTensor(x, PerturbationLpNorm(eps=0.1)))
            >>> with torch.no_grad():
            ...     lb, ub = Processes().examples(bounds_of, len(images), chunk=4)
            >>> lb.shape
            torch.Size([10, 2])
        """
        if chunk is not None and (not isinstance(chunk, int) or isinstance(chunk, bool) or chunk < 1):
            raise OptionError(f"chunk={chunk!r}: expected a positive whole number, or None.")
        if count < 1:
            raise InputError(f"count={count!r}: there are no examples to share.")

        def work(own: range) -> Any:
            size = chunk or len(own)
            parts = [range(at, min(at + size, own.stop)) for at in range(own.start, own.stop, size)]
            return joined([checked(tuple(compute(part)), len(part)) for part in parts])

        with self.together():
            found: tuple[Any, ...] = self.divided(
                f"{count} examples in chunks of {chunk}", count, work, chunk
            )
            return found

    def divided(self, at: str, count: int, work: Callable[[range], Any], chunk: int | None = None) -> Any:
        """What a function finds about rows, each process working on its share; only inside of `together`.

        Args:
            at: What is worked on, the same in all processes.
            count: How many rows there are.
            work: Given consecutive numbers of rows, returns tensors with these rows first, nested as you like.
            chunk: See `share`.

        Returns:
            What the function returns, of all rows in their order.

        Raises:
            ProcessesError: Another process has failed, or is at something else.
        """
        if self.world == 1:
            return work(range(count))
        own, found = self.share(count, chunk), None
        try:
            if own:
                found = work(own)
        except Exception as error:
            self._meet(_Report(at, _described(error)))
            raise _Told(error) from error
        tensors = [x for x in pytree.tree_leaves(found) if x is not None]
        kinds = tuple([(tuple(x.shape[1:]), x.dtype) for x in tensors])
        # A layout says which leaves are None too, so that it is the same in all processes that had something to do.
        holes = pytree.tree_map(lambda x: x is not None, found)
        report = _Report(at, None, len(own), kinds if own else None, holes if own else None)
        reports = self._meet(report)
        first = next(r for r in reports if r.kinds is not None)
        assert first.kinds is not None
        if any(r.kinds not in (None, first.kinds) for r in reports):
            raise ProcessesError(f"{at}: processes found tensors of different shapes: {reports}.")
        layouts = [pytree.tree_flatten(r.layout) for r in reports if r.kinds is not None]
        if any(layout != layouts[0] for layout in layouts):
            raise ProcessesError(f"{at}: processes found tensors nested in different ways: {reports}.")
        device = tensors[0].device if tensors else None
        gathered = iter(self._gathered(tensors, first.kinds, [r.rows for r in reports], device))
        return pytree.tree_map(lambda there: next(gathered) if there else None, first.layout)

    @contextmanager
    def together(self) -> Iterator[None]:
        """While this is open, an error in one process ends the work of all.

        Raises:
            ProcessesError: Another process has failed.
        """
        try:
            yield
        except _Told as told:
            raise told.error from told.error.__cause__
        except ProcessesError:
            raise
        except Exception as error:
            self._meet(_Report(_DONE, _described(error)))
            raise
        self._meet(_Report(_DONE))

    def agree(self, at: str) -> None:
        """Check that all processes say the same, before they begin.

        Raises:
            ProcessesError: They do not.
        """
        self._meet(_Report(at))

    def _meet(self, report: _Report) -> list[_Report]:
        """Tell the others, and hear them; a process that has failed hears nothing that it could do something about.

        Raises:
            ProcessesError: Another one has failed, or is at something else, or is gone.
        """
        if self.world == 1:
            return [report]
        reports: list[Any] = [None] * self.world
        try:
            dist.all_gather_object(reports, report, group=self.group)
        except RuntimeError as error:
            if report.failure is not None:
                return []
            raise ProcessesError(
                f"{report.at}: process {self.rank} of {self.world} cannot reach the others: {error}"
            ) from error
        if report.failure is not None:
            return []
        failed = [(rank, r) for rank, r in enumerate(reports) if r.failure is not None]
        if failed:
            said = "; ".join(f"process {rank} of {self.world}: {r.failure}" for rank, r in failed)
            raise ProcessesError(f"another process has failed, so no bounds are complete. {said}")
        if any(r.at != report.at for r in reports):
            said = "; ".join(f"process {rank}: {r.at}" for rank, r in enumerate(reports))
            raise ProcessesError(
                f"the processes are not at the same work: {said}. All of them have to make the same calls with the same model, "
                "inputs and options, on machines of one kind and with as many threads."
            )
        return reports

    def _gathered(
        self,
        tensors: Sequence[Tensor],
        kinds: Sequence[_Kind],
        rows: Sequence[int],
        device: torch.device | None,
    ) -> list[Tensor]:
        """The rows of all processes, as bytes, which every backend carries."""
        where = _carrier(dist.get_backend(self.group))
        sizes = [[n * math.prod(shape) * dtype.itemsize for shape, dtype in kinds] for n in rows]
        most = max([sum(size) for size in sizes])
        mine = torch.zeros(most, dtype=torch.uint8, device=where)
        parts = [t.detach().contiguous().reshape(-1).view(torch.uint8).to(where) for t in tensors]
        if parts:
            mine[: sum([p.numel() for p in parts])] = torch.cat(parts)
        every = [torch.empty_like(mine) for _ in rows]
        dist.all_gather(every, mine, group=self.group)
        device = device or where
        pieces: list[list[Tensor]] = [[] for _ in kinds]
        for n, size, buffer in zip(rows, sizes, every, strict=True):
            split = buffer[: sum(size)].split(size)
            for into, (shape, dtype), piece in zip(pieces, kinds, split, strict=True):
                into.append(piece.clone().view(dtype).reshape(n, *shape).to(device))
        return [torch.cat(p) for p in pieces]


def in_all_processes(method: F) -> F:
    """A method that ends with an error in all of the processes that it is given as `processes=`, if it ends so in one."""

    @functools.wraps(method)
    def shared(*args: Any, **kwargs: Any) -> Any:
        processes = kwargs.get("processes")
        if processes is None:
            return method(*args, **kwargs)
        with processes.together():
            return method(*args, **kwargs)

    return cast("F", shared)


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _carrier(backend: str) -> torch.device:
    """Where tensors have to be for a backend to carry them."""
    if backend == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")
