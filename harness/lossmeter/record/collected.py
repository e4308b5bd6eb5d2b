"""What was read from a target's database, as arrays that are saved before they are judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from lossmeter.record import npy
from lossmeter.record.arrays import PAIR, ROW

DTYPES = {"rows": ROW, "dead_lettered": PAIR, "pending": PAIR, "stranded": PAIR}
# What runs recorded by an earlier version do not have.
LATER = "stranded"
ARRAYS = tuple(DTYPES)


@dataclass(frozen=True, slots=True)
class Collected:
    """Everything read from the target's database."""

    rows: npt.NDArray[np.void]
    dead_lettered: npt.NDArray[np.void]
    pending: npt.NDArray[np.void]
    stranded: npt.NDArray[np.void] = field(default_factory=lambda: np.empty(0, PAIR))

    def save(self, folder: Path) -> None:
        """Write each array as ``NAME.npy``."""
        for name in ARRAYS:
            with npy.Growing(folder / f"{name}.npy", DTYPES[name]) as array:
                array.add(getattr(self, name))

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
        names = [n for n in ARRAYS if n != LATER or (folder / f"{n}.npy").exists()]
        return cls(*(npy.load(folder / f"{name}.npy", DTYPES[name]) for name in names))
