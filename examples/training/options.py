"""Command-line options that all training programs share."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from torch import nn

from lirpa_training import (
    CCIBP,
    MTLIBP,
    PGD,
    SABR,
    AdaptiveScheduler,
    Adversarial,
    Certified,
    CertifiedLoss,
    FixedScheduler,
    LinearScheduler,
    SmoothedScheduler,
    WarmupRegularizer,
)
from lirpa_training.expressive import Objective
from lirpa_training.schedules import EpsilonScheduler

SCHEDULERS = {
    kind.__name__: kind for kind in (LinearScheduler, SmoothedScheduler, AdaptiveScheduler, FixedScheduler)
}
OBJECTIVES = ("certified", "plain", "adversarial", "sabr", "mtl-ibp", "cc-ibp")


def parser(description: str | None, **defaults: object) -> argparse.ArgumentParser:
    """A parser with the shared options; `defaults` changes some of their defaults."""
    result = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    training = result.add_argument_group("training")
    add = training.add_argument
    add("--num_epochs", type=_positive, default=20, metavar="N", help="epochs (default: %(default)s)")
    add(
        "--batch_size",
        type=_positive,
        default=128,
        metavar="N",
        help="examples a step (default: %(default)s)",
    )
    add("--lr", type=float, default=5e-4, help="step size of Adam (default: %(default)s)")
    add("--clip", type=float, default=8.0, help="largest norm of the gradient (default: %(default)s)")
    add("--seed", type=int, default=0, help="of weights, order and noise (default: %(default)s)")
    add("--device", default="cpu", help="cpu, cuda, cuda:1 ... (default: %(default)s)")

    bounds = result.add_argument_group("robustness")
    add = bounds.add_argument
    add("--eps", type=float, default=0.1, help="radius, in units of the input (default: %(default)s)")
    add("--bound_type", "--method", default="CROWN-IBP", metavar="METHOD",
        help="how the loss is bounded: IBP, CROWN-IBP, CROWN ... (default: %(default)s)")  # fmt: skip
    add("--objective", choices=OBJECTIVES, default="certified", help="what is trained (default: %(default)s)")
    add("--loss_fusion", action=argparse.BooleanOptionalAction, default=False,
        help="bound the loss by one row, whatever the number of classes")  # fmt: skip
    add("--scheduler_name", choices=tuple(SCHEDULERS), default="SmoothedScheduler",
        help="how the radius grows (default: %(default)s)")  # fmt: skip
    add("--scheduler_opts", default=None, metavar="start=2,length=10",
        help="its options (default: start=2 and half of the epochs)")  # fmt: skip
    add("--kappa", type=float, default=0.0, help="weight of the clean loss at the end (default: %(default)s)")
    add("--beta", type=float, default=1.0,
        help="weight of the backward bounds against IBP at the end (default: %(default)s)")  # fmt: skip
    add("--ratio", type=float, default=0.4, help="of SABR's box (default: %(default)s)")
    add("--alpha", type=float, default=0.3, help="of MTL-IBP and CC-IBP (default: %(default)s)")
    add("--attack_steps", type=_positive, default=8, metavar="N", help="of PGD (default: %(default)s)")
    add("--regularize", type=float, default=0.0, metavar="WEIGHT",
        help="of the warm-up regulariser while the radius grows (default: %(default)s)")  # fmt: skip
    add("--init", choices=("default", "ibp"), default="default",
        help="how weights begin; ibp: so that interval bounds keep their width")  # fmt: skip
    add("--checkpointing", action="store_true", help="compute bounds again for the gradient; saves memory")

    files = result.add_argument_group("files")
    add = files.add_argument
    add("--out", type=Path, default=Path("out"), metavar="FOLDER",
        help="for checkpoint.pt and metrics.csv (default: %(default)s)")  # fmt: skip
    add("--resume", action="store_true", help="go on from OUT/checkpoint.pt, if it is there")
    add("--load", type=Path, metavar="FILE", help="checkpoint whose weights to begin with")
    add("--verify", action="store_true", help="do not train: certify the weights given by --load")
    add("--verify_samples", type=_positive, default=None, metavar="N", help="test examples (default: all)")
    add("--verify_every", type=_positive, default=1, metavar="N", help="epochs between tests (default: 1)")
    add(
        "--verify_batch", type=_positive, default=None, metavar="N", help="of testing (default: --batch_size)"
    )
    add("--verify_method", default="CROWN-IBP", metavar="METHOD", help="for testing (default: %(default)s)")
    add("--tensorboard", action="store_true", help="also write a log for TensorBoard to OUT/tensorboard")
    add("--smoke", action="store_true", help="a few steps on little data, to see that it works")
    result.set_defaults(**defaults)
    return result


def check(options: argparse.Namespace, usage: argparse.ArgumentParser) -> None:
    """End the program for options that do not fit together."""
    for name in ("eps", "clip", "regularize"):
        value = getattr(options, name)
        if not (math.isfinite(value) and value >= 0):
            usage.error(f"argument --{name}: {value!r} must be finite and not negative")
    if options.lr <= 0:
        usage.error(f"argument --lr: {options.lr!r} must be positive")
    if options.verify and options.load is None:
        usage.error("--verify needs the weights to certify: --load FILE")
    if options.resume and options.load is not None:
        usage.error("--resume goes on with the run's own weights, --load begins with others: choose one")


def objective(options: argparse.Namespace) -> Objective:
    """What the options say is trained."""
    attack = PGD(steps=options.attack_steps)
    return {
        "certified": Certified(),
        "plain": Certified(),
        "adversarial": Adversarial(attack),
        "sabr": SABR(options.ratio, attack),
        "mtl-ibp": MTLIBP(options.alpha, attack),
        "cc-ibp": CCIBP(options.alpha, attack),
    }[options.objective]


def criterion(options: argparse.Namespace, model: nn.Module) -> CertifiedLoss:
    """The loss that the options describe, of a model."""
    return CertifiedLoss(
        model,
        method=options.bound_type,
        fusion=options.loss_fusion,
        objective=objective(options),
        regularizer=WarmupRegularizer(options.regularize) if options.regularize else None,
        checkpoint=options.checkpointing,
    )


def radius(options: argparse.Namespace) -> EpsilonScheduler:
    """The schedule of the radius that the options describe."""
    text = options.scheduler_opts
    if text is None:
        ramp = f"start=2,length={max(1, options.num_epochs // 2)}"
        text = {"FixedScheduler": "", "AdaptiveScheduler": "start=2"}.get(options.scheduler_name, ramp)
    return SCHEDULERS[options.scheduler_name](options.eps, text)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive whole number")
    return value
