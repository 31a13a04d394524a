"""Every error that verification raises on purpose, below the core's `LirpaError`."""

from __future__ import annotations

from lirpa_core.errors import CaptureError, LirpaError


class PropertyError(LirpaError, ValueError):
    """A property is ill-formed, or does not fit the network."""


class NetworkError(CaptureError, ValueError):
    """A network file cannot be read or converted, or does not behave as the file says."""


class InstancesError(LirpaError, ValueError):
    """A list of instances, or the file of results, cannot be used."""


class BranchingError(LirpaError, ValueError):
    """A branching heuristic is unknown, claimed twice, or chose something impossible."""


class CertificationError(LirpaError, ValueError):
    """The examples of a data set cannot be certified, for a reason that a process of its own met."""
