"""The operations of some producers with the place of each, looked up once for whatever needs it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lossmeter.errors import LedgerError
from lossmeter.judge.ledger.space import NOWHERE, Places, Ranks, Space, chunks, indices
from lossmeter.model import plural
from lossmeter.record.arrays import Operations, Records, taken

# What a producer was reported, ordered by what binds most: when one event has two outcomes, a
# yes was promised, and a silence may have had an effect; only a lone refusal is a refusal.
NEVER_SENT, REFUSED, UNKNOWN, ACKED = range(4)
_RANK_OF_STATUS = np.array([UNKNOWN, ACKED, REFUSED], np.uint8)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the operations of some producers are.

    Attributes:
        operations: what they say.
        intent_at: for each place the index of its intent; ``NOWHERE`` where none was sent.
        outcome_at: for each outcome the place of its event.
        status: for each place what its producer was reported.
    """

    operations: Operations
    space: Space
    intent_at: Ranks
    outcome_at: Ranks
    status: npt.NDArray[np.uint8]

    def of_each_outcome(self, name: str) -> npt.NDArray[np.int64]:
        """Return a time of each outcome's intent."""
        times = self.operations.intents[name]
        return np.asarray(times[self.intent_at[self.outcome_at]], np.int64)

    def of(self, ids: Records) -> Operations:
        """Return what is said of some events that were sent, in the order of recording."""
        places = self.space.places(ids)
        intents, outcomes = self.operations.intents, self.operations.outcomes
        wanted = np.zeros(self.space.size, bool)
        wanted[places] = True
        found = np.flatnonzero(wanted[self.outcome_at]) if len(places) else places
        return Operations(taken(intents, np.sort(self.intent_at[places])), taken(outcomes, found))


def lay_out(operations: Operations, first: int = 0) -> Layout:
    """Look up the place of each operation of producers that are numbered from ``first`` on.

    Raises:
        LedgerError: the journals contradict themselves, or hold more than can be counted.
    """
    check_countable(max(len(operations.intents), len(operations.outcomes)))
    space = Space.of(operations.intents, first)
    intent_at = _intents_at(space, operations.intents)
    outcome_at, status = _outcomes(space, operations.outcomes, intent_at)
    return Layout(operations, space, intent_at, outcome_at, status)


def check_countable(most: int) -> None:
    """Raise when there are more records than can be numbered."""
    if most >= NOWHERE:
        raise LedgerError(
            f"{most} records are more than one ledger can number; judge the producers in "
            "several groups and merge their ledgers"
        )


def _intents_at(space: Space, intents: Records) -> Ranks:
    at = np.full(space.size, NOWHERE)
    for part in chunks(len(intents)):
        at[space.places(intents[part])] = indices(part, len(intents))
    sent = int(np.count_nonzero(at != NOWHERE))
    if sent != len(intents):
        raise LedgerError(
            f"{plural(len(intents) - sent, 'event was', 'events were')} intended twice under the "
            "same id; "
            "two load processes may have shared a shard number"
        )
    return at


def _outcomes(
    space: Space, outcomes: Records, intent_at: Ranks
) -> tuple[Ranks, npt.NDArray[np.uint8]]:
    """Return the place of each outcome, and the status of each place."""
    outcome_at = np.empty(len(outcomes), np.uint32)
    status = np.zeros(space.size, np.uint8)
    for part in chunks(len(outcomes)):
        places: Places = space.places(outcomes[part])
        if (places < 0).any() or (intent_at[places] == NOWHERE).any():
            raise LedgerError("an outcome is recorded for an event that was never intended")
        said = outcomes["status"][part]
        if (said >= len(_RANK_OF_STATUS)).any():
            raise LedgerError("an outcome has a status that does not exist")
        np.maximum.at(status, places, _RANK_OF_STATUS[said])
        outcome_at[part] = places
    status[(intent_at != NOWHERE) & (status == NEVER_SENT)] = UNKNOWN
    return outcome_at, status
