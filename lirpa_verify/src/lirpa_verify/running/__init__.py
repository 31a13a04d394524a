"""Work of many parts, one after the other, in processes that may fail, or on machines that may vanish; results that stay."""

from lirpa_verify.running.cluster import OnRay
from lirpa_verify.running.processes import InProcesses
from lirpa_verify.running.rows import RowsFile
from lirpa_verify.running.work import Failed, Finished, Here, Overran, Runner, Work

__all__ = ["Failed", "Finished", "Here", "InProcesses", "OnRay", "Overran", "RowsFile", "Runner", "Work"]
