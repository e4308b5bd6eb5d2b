"""The stage at which each event was last seen, where the target marks it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.ledger.records import Records, keys

STAGES = "stages.npy"


@dataclass(frozen=True, slots=True)
class Stages:
    """The last stage of events.

    Attributes:
        names: of the stages, in the order of an event's life.
        of_key: sorted keys of the events (``ledger.records.keys``).
        stage: index into ``names``, one for each key.
    """

    names: tuple[str, ...]
    of_key: npt.NDArray[np.uint64]
    stage: npt.NDArray[np.intp]

    def of(self, ids: Records) -> npt.NDArray[np.intp]:
        """Return the stage of each id; -1 where none is known."""
        if not len(self.of_key):
            return np.full(len(ids), -1, np.intp)
        wanted = keys(ids)
        at = np.minimum(np.searchsorted(self.of_key, wanted), len(self.of_key) - 1)
        return np.where(self.of_key[at] == wanted, self.stage[at], -1)


def read_stages(folder: Path) -> Stages | None:
    """Return the stages that a run saved; None where it saved none.

    The file is an array with the fields ``producer``, ``sequence`` and ``stage`` (text).
    """
    try:
        saved = np.load(folder / STAGES, allow_pickle=False)
    except (OSError, ValueError):
        return None
    if not {"producer", "sequence", "stage"} <= set(saved.dtype.names or ()):
        return None
    order = np.argsort(keys(saved), kind="stable")
    names, stage = np.unique(saved["stage"][order].astype(str), return_inverse=True)
    return Stages(tuple(str(name) for name in names), keys(saved)[order], stage)
