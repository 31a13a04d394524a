"""Certified training: losses that bound the worst case, loss fusion, schedules, initialisation.

loss = certified_loss(model, x, y, perturbation, method="CROWN-IBP", fusion=True)
loss.backward()
"""

from lirpa_core import BoundDataParallel
from lirpa_core.devices import full_precision
from lirpa_training._version import __version__
from lirpa_training.attack import PGD
from lirpa_training.evaluation import Certificates, certify
from lirpa_training.expressive import CCIBP, MTLIBP, SABR, Adversarial, Certified
from lirpa_training.initialization import ibp_initialize
from lirpa_training.loss import CertifiedLoss, LossParts, certified_loss
from lirpa_training.margins import margin_rows
from lirpa_training.regularizers import WarmupRegularizer
from lirpa_training.schedules import (
    AdaptiveScheduler,
    FixedScheduler,
    LinearScheduler,
    SmoothedScheduler,
    WeightSchedule,
)
from lirpa_training.utilities import MultiAverageMeter, scale_gradients, sync_params
from lirpa_training.wrapper import CrossEntropyWrapper, CrossEntropyWrapperMultiInput

__all__ = [
    "CCIBP",
    "MTLIBP",
    "PGD",
    "SABR",
    "AdaptiveScheduler",
    "Adversarial",
    "BoundDataParallel",
    "Certificates",
    "Certified",
    "CertifiedLoss",
    "CrossEntropyWrapper",
    "CrossEntropyWrapperMultiInput",
    "FixedScheduler",
    "LinearScheduler",
    "LossParts",
    "MultiAverageMeter",
    "SmoothedScheduler",
    "WarmupRegularizer",
    "WeightSchedule",
    "__version__",
    "certified_loss",
    "certify",
    "full_precision",
    "ibp_initialize",
    "margin_rows",
    "scale_gradients",
    "sync_params",
]
