"""What each lost event died of, where its dispatcher marks how far events came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lossmeter.record.arrays import Records, keys
from lossmeter.record.mark_format import Stage

# Several stages may be lost to the same.
_WORDS = list(dict.fromkeys(stage.words for stage in Stage))
_WORD_OF = np.array([_WORDS.index(stage.words) for stage in Stage], np.intp)


@dataclass(frozen=True, slots=True)
class Stages:
    """What lost events died of.

    Attributes:
        of_key: sorted keys of the events (``record.arrays.keys``).
        died: index into ``words``, one for each key.
    """

    of_key: npt.NDArray[np.int64]
    died: npt.NDArray[np.intp]
    words: Sequence[str]

    def rows(self, ids: Records) -> tuple[npt.NDArray[np.intp], list[str]]:
        """Return for each event its row, and the words of the rows that have any."""
        wanted = keys(ids)
        at = np.minimum(np.searchsorted(self.of_key, wanted), len(self.of_key) - 1)
        died = np.where(self.of_key[at] == wanted, self.died[at], -1)
        used, row = np.unique(died, return_inverse=True)
        words = [Stage.UNMARKED.words if n < 0 else self.words[n] for n in used.tolist()]
        return row.astype(np.intp), words


def stages_of(lost: Records) -> Stages | None:
    """Return what the lost events of a run died of; None where nothing was marked."""
    if not (lost["died"] != Stage.UNMARKED).any():
        return None
    lost = lost[np.argsort(keys(lost), kind="stable")]
    return Stages(keys(lost), _WORD_OF[lost["died"]], _WORDS)
