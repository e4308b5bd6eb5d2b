"""What was read from a target's database, as arrays that are saved before they are judged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from harness.ledger.records import PAIR, ROW

ARRAYS = ("rows", "dead_lettered", "pending")


@dataclass(frozen=True, slots=True)
class Collected:
    """Everything read from the target's database.

    Attributes:
        rows: dtype ROW, one per persisted row.
        dead_lettered, pending: dtype PAIR.
    """

    rows: npt.NDArray[np.void]
    dead_lettered: npt.NDArray[np.void]
    pending: npt.NDArray[np.void]

    def save(self, folder: Path) -> None:
        """Write each array as ``NAME.npy``."""
        for name in ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name), allow_pickle=False)

    @classmethod
    def empty(cls) -> Self:
        """Return what is read from a database that holds nothing."""
        return cls(np.empty(0, ROW), np.empty(0, PAIR), np.empty(0, PAIR))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            OSError, ValueError: a file is missing or damaged.
        """
        return cls(*(np.load(folder / f"{name}.npy", allow_pickle=False) for name in ARRAYS))
