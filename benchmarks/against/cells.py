"""The cells of the comparison: network, batch, method, and how much faster each has to become."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.against.networks import NETWORKS

#: Methods by the short name that stands in a cell's name.
METHODS = {
    "ibp": "IBP",
    "crown-ibp": "CROWN-IBP",
    "crown": "CROWN",
    "forward": "forward",
    "alpha": "CROWN-Optimized",
}
#: How many times faster than the reference system every cell should be.
GOAL = 3.0
#: The commit at which the reference system was measured against this project.
BASE = "7efb288"


@dataclass(frozen=True)
class Cell:
    """One measurement of both versions.

    Attributes:
        network: A key of `NETWORKS`.
        batch: How many examples.
        short: A key of `METHODS`.
        ratio: The reference system's time divided by that of commit `BASE`; None where it has no figure.
        long: Whether one call takes so long that the cell runs only when asked for.
        reference_mb: Peak memory of the reference system in MB, where it was measured.
    """

    network: str
    batch: int
    short: str
    ratio: float | None = None
    long: bool = False
    reference_mb: float | None = None

    @property
    def name(self) -> str:
        """For `--cell`: such as `mnist-cnn-16-crown`."""
        return f"{self.network}-{self.batch}-{self.short}"

    @property
    def method(self) -> str:
        """As `compute_bounds` takes it."""
        return METHODS[self.short]

    @property
    def title(self) -> str:
        """Network and batch, for tables."""
        plural = "" if self.batch == 1 else "s"
        return f"{NETWORKS[self.network].title}; {self.batch} example{plural}"

    @property
    def needed(self) -> float | None:
        """How many times faster than commit `BASE` the cell has to be to reach `GOAL`."""
        return None if self.ratio is None else GOAL / self.ratio


#: Ratios by network and batch, in the order of `METHODS`; None where one of the two systems has no figure.
_RATIOS: dict[tuple[str, int], tuple[float | None, ...]] = {
    ("mnist-cnn", 1): (2.1, 1.0, 2.0, 0.42, 5.2),
    ("mnist-cnn", 16): (1.1, 1.6, 1.5, 0.45, None),
    ("mlp", 1): (0.76, 1.0, 2.5, 0.71, 21),
    ("mlp", 16): (0.80, 1.2, 0.87, 0.91, 12),
    ("resnet-2b", 1): (1.3, 1.1, 1.4, 0.32, 9.0),
    ("resnet-2b", 16): (1.2, 1.9, 3.1, 0.52, None),
    ("cnn-7", 1): (1.2, 1.1, 1.6, 0.19, None),
    ("cnn-7", 16): (2.1, 2.0, None, None, None),
    ("resnet-18", 1): (1.1, 0.92, 0.88, None, None),
    ("lstm", 1): (4.2, 0.51, 3.2, 0.67, None),
    ("lstm", 16): (5.4, 2.5, 1.9, None, None),
    ("transformer", 1): (1.8, 0.80, 9.1, None, None),
}
#: Cells of which one call takes more than about half a minute at commit `BASE`.
_LONG = frozenset(
    {
        "mnist-cnn-16-alpha", "mlp-16-alpha", "resnet-2b-16-alpha", "cnn-7-1-alpha", "cnn-7-16-crown",
        "cnn-7-16-forward", "cnn-7-16-alpha", "cnn-7-1-forward", "resnet-2b-16-forward", "resnet-18-1-crown", "resnet-18-1-forward", "resnet-18-1-alpha",
        "lstm-1-alpha", "lstm-16-alpha", "transformer-1-alpha",
    }
)  # fmt: skip
_REFERENCE_MB = {"mlp-16-crown": 517.0, "resnet-2b-1-crown": 58.0, "lstm-16-crown": 24.0}

CELLS: tuple[Cell, ...] = tuple(
    Cell(network, batch, short, ratio, name in _LONG, _REFERENCE_MB.get(name))
    for (network, batch), ratios in _RATIOS.items()
    for short, ratio in zip(METHODS, ratios, strict=True)
    for name in [f"{network}-{batch}-{short}"]
)
