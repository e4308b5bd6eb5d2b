"""How many events were acked and not persisted yet, at each moment of a run."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from lossmeter.errors import LoadError
from lossmeter.model import Status
from lossmeter.record import npy
from lossmeter.record.arrays import OUTCOME, ROW, Records, keys
from lossmeter.record.journals import scan_journals

Times = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Unpersisted:
    """When each event that was delivered in the end was acked, and persisted: wall clock, ns.

    Of what was lost nobody knows how long it was somewhere. A row without a time may have been
    there from the beginning, so its event never was anywhere else.
    """

    acked_ns: Times
    persisted_ns: Times

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Read them from a run's folder; what cannot be read was not delivered."""
        acked: list[Records] = [np.empty(0, OUTCOME)]
        rows: list[Records] = [np.empty(0, ROW)]

        def take(intents: Records, outcomes: Records) -> None:
            del intents
            acked.append(outcomes[outcomes["status"] == Status.ACKED])

        with suppress(LoadError, OSError, ValueError):
            scan_journals(folder, take)
            rows += [part.copy() for part in npy.parts(folder / "rows.npy", ROW)]
        # Of several the first counts.
        first_ack = np.sort(np.concatenate(acked), order="done_ns")
        first_row = np.sort(np.concatenate(rows), order="persisted_ns")
        _, ack, row = np.intersect1d(keys(first_ack), keys(first_row), return_indices=True)
        return cls(first_ack["done_ns"][ack], first_row["persisted_ns"][row])

    def longest_s(self, beyond: int) -> float:
        """Return for how many seconds on end there were more than ``beyond``."""
        begun = np.sort(self.acked_ns)
        ended = np.sort(np.maximum(self.acked_ns, self.persisted_ns))
        moments = np.unique(np.concatenate([begun, ended]))
        number = np.searchsorted(begun, moments, "right") - np.searchsorted(ended, moments, "right")
        # In the end all are persisted, so each stretch has an end.
        steps = np.diff((number > beyond).astype(np.int8), prepend=0)
        begins, ends = moments[steps == 1], moments[steps == -1]
        return float((ends - begins).max(initial=0)) / 1e9
