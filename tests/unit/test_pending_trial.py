"""A broker that was never seen to hold an event by its id may be asked for something else."""

from __future__ import annotations

import numpy as np
import pytest

from lossmeter.errors import UsageError
from lossmeter.record.arrays import Records
from lossmeter.run.outside import Outside
from lossmeter.run.pending_trial import PendingTrial, note_pending
from lossmeter.world.queues._held import Seen
from lossmeter.world.queues._ids import ENTRY, FOREIGN, entries
from lossmeter.world.waiting import wait_for
from tests.support.conducted import written_facts

EVENT = ((0, 5), False, None)
NAMELESS = (FOREIGN, False, None)
IN_HAND = (FOREIGN, True, 0.0)
NOTHING = np.empty(0, ENTRY)


class Told:
    """A broker and a queue of which each moment is written down: when, since when some wait, what
    is found; None for no answer.
    """

    leaves_no_trace = True

    def __init__(self, *moments: tuple[float, float | None, list[object] | None]) -> None:
        self._moments = list(moments)
        self.closed = False

    def __call__(self) -> Records | None:
        found = self._moments[0][2]
        return None if found is None else entries(found)  # type: ignore[arg-type]

    def close(self) -> None:
        self.closed = True

    def waits_since(self) -> float | None:
        return self._moments[0][1]

    def clock(self) -> float:
        return self._moments[0][0]

    def tried(self) -> PendingTrial:
        trial = PendingTrial(self, self, self.clock)
        while self._moments:
            trial.look()
            self._moments.pop(0)
        return trial


@pytest.mark.parametrize(
    ("moments", "missed_s"),
    [
        ([(1, None, []), (9, None, [])], 0),  # nothing waits
        ([(1, 1, [])], 0),  # one look may come too late
        ([(1, 1, []), (1.5, 1, []), (2.25, 1, [])], 1.25),
        # Two stretches are not one.
        ([(1, 1, []), (1.5, 1, []), (2, None, []), (3, 3, []), (3.75, 3, [])], 0.75),
        ([(1, 1, []), (1.5, 2, []), (2.5, 2, [])], 1),
        # Who does not answer has not said that there is none.
        ([(1, 1, []), (1.5, 1, None), (4, 4, None), (6, 4, None)], 0),
        # It had waited for long when the looks began.
        ([(9, 1, []), (9.5, 1, [])], 0.5),
    ],
)
def test_what_waits_and_is_not_found_is_missed(
    moments: list[tuple[float, float | None, list[object] | None]], missed_s: float
) -> None:
    trial = Told(*moments).tried()
    assert trial.missed_s == missed_s
    assert trial.seen == Seen()


def test_one_that_is_found_settles_it() -> None:
    trial = Told((1, 1, []), (3, 1, [NAMELESS, EVENT]), (4, 1, [])).tried()
    assert trial.seen == Seen(some=True, named=True, nameless=1)


def test_what_had_gone_by_the_end_of_a_look_is_not_missed() -> None:
    class Going(Told):
        def __call__(self) -> Records | None:
            self._moments[0] = (self._moments[0][0], None, [])
            return NOTHING

    assert Going((1, 1, []), (3, 1, [])).tried().missed_s == 0


def test_what_cannot_be_read_for_now_is_not_missed() -> None:
    class Away(Told):
        def __call__(self) -> Records | None:
            raise UsageError("no such table")

    assert Away((1, 1, []), (3, 1, [])).tried().missed_s == 0


def test_it_looks_by_itself_until_one_was_found() -> None:
    told = Told((1, 1, [EVENT]))
    with PendingTrial(told, told) as trial:
        assert wait_for(lambda: trial.seen.named and told.closed, 20)


@pytest.mark.parametrize(
    ("seen", "missed_s", "queue_doubt", "begins"),
    [
        (Seen(), 0.9, None, ""),
        (Seen(), 1.25, None, "[queue.pending] found no event, although for 1.2 s on end"),
        (Seen(), 0, "it was empty", "[queue.pending] found no event, and it was empty"),
        (Seen(some=True, nameless=3), 0, None, "[queue.pending] read 3 messages and found no"),
        (Seen(some=True, nameless=1), 9, "x", "[queue.pending] read 1 message and found no"),
        # Found once, it is the right place, whatever else is there.
        (Seen(some=True, named=True, nameless=3), 9, "x", ""),
        # What somebody has in hand cannot be read.
        (Seen(some=True), 0, "it was empty", ""),
    ],
)
def test_what_speaks_against_it_is_said_in_one_sentence(
    seen: Seen, missed_s: float, queue_doubt: str | None, begins: str
) -> None:
    facts = written_facts()
    note_pending(facts, seen, missed_s, queue_doubt)
    assert facts.pending_named is seen.named
    assert facts.pending_doubt.startswith(begins)
    assert bool(facts.pending_doubt) == bool(begins)


def test_what_a_look_shows_is_kept() -> None:
    seen = Seen()
    seen.add(NOTHING)
    assert seen == Seen()
    seen.add(entries([IN_HAND, IN_HAND]))
    assert seen == Seen(some=True)
    seen.add(entries([NAMELESS, NAMELESS, IN_HAND]))
    seen.add(entries([NAMELESS]))
    assert seen == Seen(some=True, nameless=2)
    assert seen | Seen(named=True) == Seen(some=True, named=True, nameless=2)


def test_where_nothing_is_read_from_outside_nothing_is_noted() -> None:
    facts = written_facts()
    outside = Outside()
    assert outside.note(facts, None, 4) == []  # type: ignore[arg-type]
    assert outside.seen() == Seen()
    assert (facts.queue_most, facts.pending_named, facts.pending_doubt) == (None, None, "")
