"""What each lost event died of, where its dispatcher marks how far events came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.ledger.records import Records, keys
from harness.ledger.stages import Died
from harness.marks import LOST

_ON_THE_WAY = {died.words: int(died) for died in Died}


@dataclass(frozen=True, slots=True)
class Stages:
    """What lost events died of.

    Attributes:
        of_key: sorted keys of the events (``ledger.records.keys``).
        died: index into ``words``, one for each key.
        words: what is died of, in the order of an event's way.
    """

    of_key: npt.NDArray[np.uint64]
    died: npt.NDArray[np.intp]
    words: Sequence[str]

    def rows(self, ids: Records) -> tuple[npt.NDArray[np.intp], list[str]]:
        """Return for each event its row, and the words of the rows that have any."""
        wanted = keys(ids)
        at = np.minimum(np.searchsorted(self.of_key, wanted), len(self.of_key) - 1)
        died = np.where(self.of_key[at] == wanted, self.died[at], -1)
        used, row = np.unique(died, return_inverse=True)
        words = [Died.UNMARKED.words if n < 0 else self.words[n] for n in used.tolist()]
        return row.astype(np.intp), words


def read_stages(folder: Path) -> Stages | None:
    """Return what the lost events of a run died of; None where nothing was marked.

    The judge leaves it in an array with the fields ``producer``, ``sequence`` and ``stage``.
    """
    try:
        saved = np.load(folder / LOST, allow_pickle=False)
    except (OSError, ValueError):
        return None
    if not {"producer", "sequence", "stage"} <= set(saved.dtype.names or ()):
        return None
    if not (saved["stage"] != Died.UNMARKED.words).any():
        return None
    saved = saved[np.argsort(keys(saved), kind="stable")]
    # Few words, many events: looking each up is much faster than sorting them as text.
    each = saved["stage"].tolist()
    words = sorted(set(each), key=lambda told: (_ON_THE_WAY.get(told, len(Died)), told))
    number = {told: n for n, told in enumerate(words)}
    died = np.fromiter(map(number.__getitem__, each), np.intp, len(each))
    return Stages(keys(saved), died, words)
