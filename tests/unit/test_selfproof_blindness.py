"""The proof does not ask the ledger on trial where to plant, and counts what it must not find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.ledger import selfproof
from harness.ledger.reconcile import reconcile
from harness.ledger.records import Held, Ledger, Told
from harness.ledger.selfproof import PLANTED_EACH, prove
from harness.model import Counts
from tests.unit.histories import UNKNOWN, History, calm, histories, proof

GOOD = 0


def _doubling(told: Told, held: Held) -> Ledger:
    return reconcile(told, replace(held, rows=np.concatenate([held.rows, held.rows])))


def _accusing(told: Told, held: Held) -> Ledger:
    """Call every event lost, doubled, altered and out of order, as if no row were clean."""
    ledger = reconcile(told, held)
    ids = np.empty(len(told.intents), ledger.lost.dtype)
    for name in ("producer", "sequence"):
        ids[name] = told.intents[name]
    kinds = ("lost", "duplicated", "corrupted", "reordered")
    counts = replace(ledger.counts, **{kind: len(ids) for kind in kinds})
    return replace(ledger, counts=counts, **dict.fromkeys(kinds, ids))


@pytest.mark.parametrize("broken", [_doubling, _accusing])
def test_a_ledger_that_calls_every_row_suspect_cannot_escape_its_proof(
    monkeypatch: pytest.MonkeyPatch, broken: Callable[[Told, Held], Ledger]
) -> None:
    monkeypatch.setattr(selfproof, "reconcile", broken)
    checks = proof(calm(40, 2))
    assert not checks["dropped"].ok
    assert not checks["duplicated"].ok
    assert all(checks[name].planted == PLANTED_EACH for name in ("dropped", "duplicated"))


@pytest.mark.parametrize("kind", sorted(Counts().as_dict()))
def test_a_class_that_changes_although_nothing_of_it_was_planted_is_named(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    calls = iter(range(9))

    def drifting(told: Told, held: Held) -> Ledger:
        ledger = reconcile(told, held)
        counts = {kind: getattr(ledger.counts, kind) + next(calls)}
        return replace(ledger, counts=replace(ledger.counts, **counts))

    monkeypatch.setattr(selfproof, "reconcile", drifting)
    checks = proof(calm(40, 2)).values()
    assert not any(check.ok for check in checks)
    assert all("also changed" in check.note and kind in check.note for check in checks)


@given(histories(), st.integers(0, 2**32))
def test_the_proof_holds_for_any_history_and_changes_none(history: History, seed: int) -> None:
    told, held = history.told(), history.held()
    before = held.rows.copy()
    assert all(check.ok for check in prove(told, held, seed))
    assert (held.rows == before).all()
    assert [str(c) for c in prove(told, held, seed)] == [str(c) for c in prove(told, held, seed)]


def test_the_smallest_run_is_proven_as_far_as_it_goes() -> None:
    checks = proof(calm(1, 1))
    planted = {name: check.planted for name, check in checks.items()}
    assert planted == {"dropped": 1, "duplicated": 1, "swapped": 0, "altered": 1, "invented": 3}
    assert all(check.ok for check in checks.values())


def test_nothing_is_planted_on_what_was_never_acked() -> None:
    history = calm(40, 2)
    history.sent = {i: (sent, done, UNKNOWN) for i, (sent, done, _) in history.sent.items()}
    checks = proof(history)
    assert checks["dropped"].planted == 0
    assert checks["dropped"].note == "the run offers no row for it"


@pytest.mark.parametrize("producers", [1, 7, 300])
def test_a_sample_is_bounded_however_events_fall_on_producers(
    monkeypatch: pytest.MonkeyPatch, producers: int
) -> None:
    monkeypatch.setattr(selfproof, "LARGEST_SAMPLE", 30)
    sizes = []

    def counting(told: Told, held: Held) -> Ledger:
        sizes.append(len(told.intents))
        return reconcile(told, held)

    monkeypatch.setattr(selfproof, "reconcile", counting)
    assert all(check.ok for check in proof(calm(300, producers)).values())
    assert 0 < max(sizes) <= 30
