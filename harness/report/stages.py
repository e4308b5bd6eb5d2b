"""What each lost event died of, where its dispatcher marks how far events came."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.ledger.records import Records, keys

LOST = "lost.npy"

# By the number that ``lost.npy`` holds; 0 is an event that left no mark.
WORDS = (
    "without a mark",
    "not yet queued",
    "queued",
    "in hand",
    "waiting for retry",
    "abandoned at shutdown",
    "acked but not durable in the broker",
    "given up, no dead-letter queue",
    "dead-letter overflow",
    "dead-letter queue away",
    "dead letter gone",
    "persisted, then gone from the database",
    "refused, though acked",
)
UNMARKED = 0


@dataclass(frozen=True, slots=True)
class Stages:
    """What lost events died of.

    Attributes:
        of_key: sorted keys of the events (``ledger.records.keys``).
        died: number of the words, one for each key.
    """

    of_key: npt.NDArray[np.uint64]
    died: npt.NDArray[np.intp]

    def rows(self, ids: Records) -> tuple[npt.NDArray[np.intp], list[str]]:
        """Return for each event its row, and the words of the rows that have any."""
        wanted = keys(ids)
        at = np.minimum(np.searchsorted(self.of_key, wanted), len(self.of_key) - 1)
        died = np.where(self.of_key[at] == wanted, self.died[at], UNMARKED)
        used, row = np.unique(died, return_inverse=True)
        return row.astype(np.intp), [_words(int(number)) for number in used]


def _words(number: int) -> str:
    return WORDS[number] if number < len(WORDS) else f"stage {number}"


def read_stages(folder: Path) -> Stages | None:
    """Return what the lost events of a run died of; None where nothing was marked.

    The file is an array with the fields ``producer``, ``sequence`` and ``died``.
    """
    try:
        saved = np.load(folder / LOST, allow_pickle=False)
    except (OSError, ValueError):
        return None
    if not {"producer", "sequence", "died"} <= set(saved.dtype.names or ()):
        return None
    if not (saved["died"] != UNMARKED).any():
        return None
    order = np.argsort(keys(saved), kind="stable")
    return Stages(keys(saved)[order], saved["died"][order].astype(np.intp))
