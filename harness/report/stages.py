"""What each lost event died of, where its dispatcher marks how far events came."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.ledger.records import Records, keys
from harness.ledger.stages import STAGES, Died

UNMARKED = Died.UNMARKED.words
# The order of the rows: from the way in to the way out.
_ORDER = [died.words for died in Died]


@dataclass(frozen=True, slots=True)
class Stages:
    """What lost events died of.

    Attributes:
        of_key: sorted keys of the events (``ledger.records.keys``).
        died: the words, one for each key.
    """

    of_key: npt.NDArray[np.uint64]
    died: npt.NDArray[np.str_]

    def rows(self, ids: Records) -> tuple[npt.NDArray[np.intp], list[str]]:
        """Return for each event its row, and the words of the rows that have any."""
        wanted = keys(ids)
        at = np.minimum(np.searchsorted(self.of_key, wanted), len(self.of_key) - 1)
        died = np.where(self.of_key[at] == wanted, self.died[at], UNMARKED)
        used, number = np.unique(died, return_inverse=True)
        names = sorted((str(words) for words in used), key=_place)
        row = np.array([names.index(str(words)) for words in used], np.intp)
        return row[number], names


def _place(words: str) -> tuple[int, str]:
    """Return where a row lies; words of another version of this harness come last."""
    return (_ORDER.index(words) if words in _ORDER else len(_ORDER), words)


def read_stages(folder: Path) -> Stages | None:
    """Return what the lost events of a run died of; None where nothing was marked.

    The file is an array with the fields ``producer``, ``sequence`` and ``stage``.
    """
    try:
        saved = np.load(folder / STAGES, allow_pickle=False)
    except (OSError, ValueError):
        return None
    if not {"producer", "sequence", "stage"} <= set(saved.dtype.names or ()):
        return None
    if not (saved["stage"] != UNMARKED).any():
        return None
    order = np.argsort(keys(saved), kind="stable")
    return Stages(keys(saved)[order], saved["stage"][order])
