"""Histories written by hand or drawn at random."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from lossmeter.judge.ledger.selfproof import Check, prove
from lossmeter.model import Status
from lossmeter.record.arrays import INTENT, OUTCOME, PAIR, ROW, Held, Operations

Id = tuple[int, int]

ACKED, REFUSED, UNKNOWN = Status.ACKED, Status.REFUSED, Status.UNKNOWN


@dataclass
class History:
    """A history in plain words.

    ``sent`` maps an id to (sent_ns, done_ns, status); done_ns None leaves no outcome.
    ``rows`` lists (id, hash) in the order of persisting, the n-th at ``n`` ns; the right hash
    is 0. Faults struck at ``struck_ns``, and the broker gives an event again after 10 ns.
    """

    sent: dict[Id, tuple[int, int | None, Status]] = field(default_factory=dict)
    rows: list[tuple[Id, int]] = field(default_factory=list)
    dead: list[Id] = field(default_factory=list)
    pending: list[Id] = field(default_factory=list)
    stranded: list[Id] = field(default_factory=list)
    struck_ns: tuple[int, ...] = ()

    def operations(self) -> Operations:
        intents = np.zeros(len(self.sent), INTENT)
        done = {k: v for k, v in self.sent.items() if v[1] is not None}
        outcomes = np.zeros(len(done), OUTCOME)
        for n, ((producer, sequence), (sent_ns, _, _)) in enumerate(self.sent.items()):
            intents[n] = (producer, sequence, sent_ns, sent_ns, 0)
        for n, ((producer, sequence), (_, done_ns, status)) in enumerate(done.items()):
            outcomes[n] = (producer, sequence, done_ns, status, 0)
        return Operations(intents, outcomes)

    def held(self) -> Held:
        rows = np.zeros(len(self.rows), ROW)
        for n, ((producer, sequence), payload_hash) in enumerate(self.rows):
            rows[n] = (producer, sequence, payload_hash, n, n)
        return Held(
            *(rows, _pairs(self.dead), _pairs(self.pending)),
            stranded=_pairs(self.stranded),
            stranded_measured=True,
            redelivered_after_ns=10,
            struck_ns=self.struck_ns,
        )


def _pairs(ids: list[Id]) -> np.ndarray:
    return np.array(ids, PAIR) if ids else np.empty(0, PAIR)


def calm(events: int, producers: int) -> History:
    """Return a history in which every event is acked before the next, and in order."""
    history = History()
    for n in range(events):
        ident = (n % producers, n // producers)
        history.sent[ident] = (10 * n, 10 * n + 5, ACKED)
        history.rows.append((ident, 0))
    history.struck_ns = (10 * events,)
    return history


def proof(history: History, seed: int = 1) -> dict[str, Check]:
    """Return the checks of the self-proof on a history, by name."""
    return {check.name: check for check in prove(history.operations(), history.held(), seed)}


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Draw any history: losses, duplicates, overlaps, foreign rows, silence."""
    history = History()
    for producer in range(draw(st.integers(0, 3))):
        for sequence in range(draw(st.integers(0, 6))):
            sent_ns = draw(st.integers(1, 30))
            done_ns = draw(st.one_of(st.none(), st.integers(sent_ns, sent_ns + 15)))
            status = draw(st.sampled_from([ACKED, ACKED, REFUSED, UNKNOWN]))
            history.sent[producer, sequence] = (sent_ns, done_ns, status)
    known = sorted(history.sent)
    number = st.one_of(st.integers(-2, 9), st.integers(-(2**63), 2**63 - 1))
    foreign = st.tuples(number, number)
    ident = st.one_of(st.sampled_from(known), foreign) if known else foreign
    history.rows = draw(st.lists(st.tuples(ident, st.sampled_from([0, 0, 0, 1])), max_size=25))
    if known:
        history.dead = draw(st.lists(ident, max_size=5))
        history.pending = draw(st.lists(ident, max_size=5))
        history.stranded = draw(st.lists(ident, max_size=5))
    history.struck_ns = tuple(draw(st.lists(st.integers(0, 20), max_size=2)))
    return history
