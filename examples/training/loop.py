"""The loop of all training programs: epochs, validation, checkpoints, logs."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lirpa_core.errors import LirpaError, NonFiniteBoundError
from lirpa_training import LossParts, WeightSchedule, certify, ibp_initialize
from training import checkpoints, options
from training.errors import TrainingError
from training.log import Row, TensorBoard, write_csv
from training.ranks import Ranks, process_group
from training.sources import Source

#: `(epoch, metrics)`: called after each epoch, once the checkpoint is written.
AfterEpoch = Callable[[int, Row], None]


@dataclass(eq=False)
class Task:
    """What a program trains.

    Attributes:
        name: For the checkpoint, which another program's run must not resume.
        model: From inputs to class scores; what is bounded.
        train: Training examples.
        test: Test examples.
        also: Further modules to train and save, such as embeddings.
        key: Settings that a resumed run must share.
    """

    name: str
    model: nn.Module
    train: Source
    test: Source
    also: nn.ModuleDict = field(default_factory=nn.ModuleDict)
    key: dict[str, Any] = field(default_factory=dict)

    @property
    def whole(self) -> nn.ModuleDict:
        """Everything that is trained and saved."""
        return nn.ModuleDict({"model": self.model, **self.also})


class Run:
    """One training run, which can be saved after an epoch and resumed."""

    def __init__(self, task: Task, settings: argparse.Namespace, console: Console) -> None:
        self.task, self.settings, self.console = task, settings, console
        self.ranks = Ranks.current()
        self.whole = task.whole.to(settings.device)
        if settings.init == "ibp":
            ibp_initialize(task.model)
        self.loss = options.criterion(settings, task.model)
        self.wrapped: nn.Module = DistributedDataParallel(self.loss) if self.ranks.world > 1 else self.loss
        self.optimizer = torch.optim.Adam(self.whole.parameters(), lr=settings.lr)
        ends = [round(settings.num_epochs * part) for part in (0.7, 0.9)]
        self.rates = torch.optim.lr_scheduler.MultiStepLR(self.optimizer, ends, gamma=0.2)
        self.radius = options.radius(settings)
        ramp = _ramp(self.radius)
        self.kappa = WeightSchedule(1.0, settings.kappa, **ramp)
        self.beta = WeightSchedule(1.0, settings.beta, **ramp)
        self.epoch = 0
        self.history: list[Row] = []
        batches = -(-len(task.train) // settings.batch_size)
        for clock in (self.radius, self.kappa, self.beta):
            clock.set_epoch_length(batches)

    @property
    def path(self) -> Path:
        """Where the checkpoint is."""
        return Path(self.settings.out) / "checkpoint.pt"

    # ------------------------------------------------------------------ saving

    def save(self) -> None:
        """Write the checkpoint and the metrics."""
        clocks = {name: getattr(self, name).state_dict() for name in ("radius", "kappa", "beta")}
        checkpoints.save(
            self.path,
            {
                "task": self.task.name, "key": self.task.key, "model": self.whole.state_dict(),
                "optimizer": self.optimizer.state_dict(), "rates": self.rates.state_dict(),
                "epoch": self.epoch, "history": self.history, **clocks,
            },
        )  # fmt: skip
        write_csv(Path(self.settings.out) / "metrics.csv", self.history)

    def resume(self) -> None:
        """Go on after the last epoch that was saved.

        Raises:
            TrainingError: If the checkpoint is another program's, or of other settings.
        """
        state = checkpoints.read(self.path)
        if state["task"] != self.task.name:
            raise TrainingError(f"{self.path} is a run of {state['task']}, not of {self.task.name}.")
        for name in sorted({*state["key"], *self.task.key}):
            before, now = state["key"].get(name), self.task.key.get(name)
            if before != now:
                raise TrainingError(
                    f"{self.path} was trained with --{name} {before}, and this is --{name} {now}: give the same, "
                    "or another --out, or leave --resume out to begin anew."
                )
        checkpoints.load_weights(self.whole, state["model"], self.path)
        self.optimizer.load_state_dict(state["optimizer"])
        self.rates.load_state_dict(state["rates"])
        for name in ("radius", "kappa", "beta"):
            getattr(self, name).load_state_dict(state[name])
        self.epoch, self.history = state["epoch"], state["history"]

    # ------------------------------------------------------------------ training

    def train(self, after_epoch: AfterEpoch | None = None) -> None:
        """Train the epochs that are left."""
        board = TensorBoard(Path(self.settings.out) / "tensorboard" if self.settings.tensorboard else None)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        quiet = not (self.ranks.first and self.console.is_terminal)
        with Progress(*columns, console=self.console, transient=True, disable=quiet) as bar:
            while self.epoch < self.settings.num_epochs:
                row = self._epoch(bar)
                self.history.append(row)
                if self.ranks.first:
                    self.save()
                    board.add(row)
                    self.console.print(_line(row, self.settings.num_epochs), highlight=False, soft_wrap=True)
                if after_epoch is not None:
                    after_epoch(self.epoch, row)

    def _epoch(self, bar: Progress) -> Row:
        self.epoch += 1
        # The order and the noise of an epoch depend on its number alone, so that a resumed run repeats them.
        torch.manual_seed(1_000_003 * self.settings.seed + self.epoch)
        order = torch.randperm(len(self.task.train))
        for clock in (self.radius, self.kappa, self.beta):
            clock.step_epoch()
        self.whole.train()
        self.loss.train()
        start, sums = time.perf_counter(), torch.zeros(3, dtype=torch.float64)
        batches = order.split(self.settings.batch_size)
        shown = bar.add_task(f"epoch {self.epoch}", total=len(batches))
        for index in batches:
            if len(index) < self.ranks.world:
                continue  # a process without examples would let the others wait
            mine = self.ranks.share(index)
            parts = self._step(mine, len(mine) * self.ranks.world / len(index))
            wrong = (parts.scores.argmax(1) != parts.labels).sum()
            sums += torch.tensor([float(parts.loss), float(wrong) / len(mine), 1.0]) * len(mine)
            bar.advance(shown)
        bar.remove_task(shown)
        self.rates.step()
        seconds = time.perf_counter() - start
        sums = self.ranks.total(sums.to(self.settings.device))
        loss, error, _ = (sums / sums[2]).tolist()
        last = self.epoch == self.settings.num_epochs
        tested = last or self.epoch % self.settings.verify_every == 0
        clean, verified = self.test() if tested else (math.nan, math.nan)
        return {
            "epoch": float(self.epoch), "eps": self.radius.get_eps(), "loss": loss, "train_error": error,
            "test_error": clean, "verified_error": verified, "seconds": seconds,
        }  # fmt: skip

    def _step(self, index: Tensor, weight: float) -> _Done:
        """Learn from examples, with a weight that makes the mean over the processes that over the batch."""
        for clock in (self.radius, self.kappa, self.beta):
            clock.step_batch()
        eps = self.radius.get_eps()
        x, labels, perturbation = self.task.train.batch(index, eps, train=True)
        plain = self.settings.objective == "plain" or eps == 0
        share = 0.0 if self.radius.max_eps == 0 else 1 - eps / self.radius.max_eps
        parts = self.wrapped(
            x, labels, perturbation, kappa=1.0 if plain else self.kappa.get(), beta=self.beta.get(),
            regularization=share, parts=True,
        )  # fmt: skip
        assert isinstance(parts, LossParts)
        self.optimizer.zero_grad()
        (weight * parts.loss).backward()  # type: ignore[no-untyped-call]
        self.ranks.average_gradients(self.task.also.parameters())
        if self.settings.clip:
            nn.utils.clip_grad_norm_(self.whole.parameters(), self.settings.clip)
        self.optimizer.step()
        loss = self.ranks.total(weight * parts.loss.detach()) / self.ranks.world
        self.radius.update_loss(float(loss))
        return _Done(parts.loss.detach(), parts.scores, labels)

    # ------------------------------------------------------------------ testing

    def test(self) -> tuple[float, float]:
        """Clean and verified error on test examples, in evaluation mode, at the largest radius.

        What intervals verify is not bounded again by the method, and neither is what is wrong without a perturbation.
        """
        self.whole.eval()
        count = min(len(self.task.test), self.settings.verify_samples or len(self.task.test))
        index = self.ranks.share(torch.arange(count))
        try:
            correct, verified = self._certify(index, "IBP")
        except NonFiniteBoundError:
            correct, verified = (
                torch.ones_like(index, dtype=torch.bool),
                torch.zeros_like(index, dtype=torch.bool),
            )
        left = torch.where(correct & ~verified)[0]
        if self.settings.verify_method != "IBP" and len(left) > 0:
            correct[left], verified[left] = self._certify(index[left], self.settings.verify_method)
        found = torch.stack([correct.sum(), (correct & verified).sum()]).to(self.settings.device)
        right, sure = self.ranks.total(found).tolist()
        return 1 - right / count, 1 - sure / count

    def _certify(self, index: Tensor, method: str) -> tuple[Tensor, Tensor]:
        """Which test examples are right, and which provably are, two of `[N]`."""
        correct, verified = [], []
        for part in index.split(self.settings.verify_batch or self.settings.batch_size):
            with torch.no_grad():
                x, labels, perturbation = self.task.test.batch(part, self.settings.eps, train=False)
            bounded = self.loss.bounded(x if isinstance(x, tuple) else (x,))
            found = certify(bounded, x, labels, perturbation, method=method)
            correct.append(found.correct.cpu())
            verified.append(found.verified.cpu())
        return torch.cat(correct), torch.cat(verified)


@dataclass(frozen=True, eq=False)
class _Done:
    loss: Tensor
    scores: Tensor
    labels: Tensor


def _ramp(radius: Any) -> dict[str, float]:
    """When the weights of the loss change: while the radius grows."""
    found = getattr(radius, "options", None)
    return {"start": getattr(found, "start", 1), "length": getattr(found, "length", 0)}


def _line(row: Row, epochs: int) -> str:
    tested = f", test {row['test_error']:.1%}, verified {row['verified_error']:.1%}"
    return (
        f"epoch {int(row['epoch'])}/{epochs}  eps {row['eps']:.4g}  loss {row['loss']:.4f}  error: train "
        f"{row['train_error']:.1%}{'' if math.isnan(row['test_error']) else tested}  {row['seconds']:.1f} s"
    )


def seed(settings: argparse.Namespace) -> None:
    """Seed the weights; call before the model is made."""
    torch.manual_seed(settings.seed)


def main(
    make: Callable[[argparse.Namespace], Task],
    usage: argparse.ArgumentParser,
    arguments: list[str] | None = None,
    *,
    smoke: Callable[[argparse.Namespace], None] | None = None,
) -> int:
    """Run a training program.

    Args:
        make: From the options to the task.
        usage: The parser.
        arguments: The command line; default: the process's.
        smoke: Makes options small for `--smoke`.

    Returns:
        The exit status.
    """
    settings = usage.parse_args(arguments)
    if settings.smoke:
        settings.num_epochs, settings.verify_samples = 2, 16
        settings.scheduler_opts = settings.scheduler_opts or (
            None if settings.scheduler_name != "SmoothedScheduler" else "start=1,length=2"
        )
        if smoke is not None:
            smoke(settings)
    options.check(settings, usage)
    try:
        with process_group(settings.device) as settings.device:
            _work(make, settings)
    except (TrainingError, LirpaError) as error:
        print(f"{usage.prog}: {error}", file=sys.stderr)
        return 1
    return 0


def _work(make: Callable[[argparse.Namespace], Task], settings: argparse.Namespace) -> None:
    """Train or certify, as the options say."""
    console = Console(quiet=not Ranks.current().first)
    seed(settings)
    run = Run(make(settings), settings, console)
    if settings.load is not None:
        checkpoints.load_weights(run.whole, checkpoints.read(settings.load)["model"], settings.load)
    if settings.verify:
        clean, verified = run.test()
        console.print(f"eps {settings.eps:g}: test error {clean:.2%}, verified error {verified:.2%}")
        return
    if settings.resume and run.path.is_file():
        run.resume()
        console.print(f"resumed after epoch {run.epoch} from {run.path}", soft_wrap=True, highlight=False)
    run.train()
    console.print(f"wrote {run.path} and {run.path.with_name('metrics.csv')}", soft_wrap=True)
