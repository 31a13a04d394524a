"""What depends on the device: how it multiplies, how much memory it has, when its work is done.

Every question of what kind a device is (`device.type`) is asked here, and everything that one kind alone has is used here.
"""

from lirpa_core.devices.convolutions import sums_products
from lirpa_core.devices.graphs import as_cuda_graph
from lirpa_core.devices.kinds import accelerator_of, is_cpu, is_cuda, is_sharded, synchronize, unreadable
from lirpa_core.devices.memory import free_share, ran_out_of_memory, release_memory
from lirpa_core.devices.precision import (
    agreeing_switches,
    autocast_region,
    full_precision,
    in_full_precision,
    shortened_products,
)
from lirpa_core.devices.processes import Processes
from lirpa_core.devices.random_numbers import random_state, set_random_state
from lirpa_core.devices.shared_tensors import fingerprint, refuse_gradient
from lirpa_core.devices.tracing import is_traced, same_positions

__all__ = [
    "Processes",
    "accelerator_of",
    "agreeing_switches",
    "as_cuda_graph",
    "autocast_region",
    "fingerprint",
    "free_share",
    "full_precision",
    "in_full_precision",
    "is_cpu",
    "is_cuda",
    "is_sharded",
    "is_traced",
    "ran_out_of_memory",
    "random_state",
    "refuse_gradient",
    "release_memory",
    "same_positions",
    "set_random_state",
    "shortened_products",
    "sums_products",
    "synchronize",
    "unreadable",
]
