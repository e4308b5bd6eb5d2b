"""The answers that producers got so far, read from the journals while they grow.

The load is not asked and not slowed: its journals only grow, so each look reads what was
added since the last one and nothing else.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lossmeter.model import Status
from lossmeter.record.files import files_in, open_regular
from lossmeter.record.journal_format import HEADER, INTENT, OUTCOME, RECORD, recorded
from lossmeter.record.journals import JOURNALS, RECORD_DTYPE

# A look that fell behind catches up over the next ones instead of stopping the run for long.
MOST_RECORDS = 200_000
RATE_OVER_S = 2.0


@dataclass(slots=True)
class Tally:
    """Counts records of the journals in a folder."""

    folder: Path
    sent: int = 0
    acked: int = 0
    refused: int = 0
    _read: dict[Path, int] = field(default_factory=dict)
    _looks: deque[tuple[float, int]] = field(default_factory=deque)

    def look(self) -> None:
        """Read what was added since the last look."""
        for path in files_in(self.folder, JOURNALS):
            self._look(path)
        now = time.monotonic()
        self._looks.append((now, self.sent))
        while len(self._looks) > 2 and now - self._looks[1][0] >= RATE_OVER_S:
            self._looks.popleft()

    @property
    def rate_per_s(self) -> float | None:
        """Return the events sent per second over the last looks; None before the second."""
        if len(self._looks) < 2:
            return None
        (begin_s, before), (end_s, now) = self._looks[0], self._looks[-1]
        return (now - before) / max(end_s - begin_s, 1e-9)

    def _look(self, path: Path) -> None:
        begin = self._read.get(path, 0)
        with open_regular(path) as journal:
            count = max(0, min(recorded(journal.fileno()) - begin, MOST_RECORDS))
            journal.seek(HEADER.size + begin * RECORD.size)
            data = journal.read(count * RECORD.size)
        records = np.frombuffer(data, RECORD_DTYPE, count)
        self._read[path] = begin + count
        reported = records["status"][records["kind"] == OUTCOME]
        self.sent += int(np.count_nonzero(records["kind"] == INTENT))
        self.acked += int(np.count_nonzero(reported == Status.ACKED))
        self.refused += int(np.count_nonzero(reported == Status.REFUSED))
