"""The proof does not ask the ledger on trial where to plant, and counts what it must not find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossmeter.judge.ledger import selfproof
from lossmeter.judge.ledger.classes import Ledger
from lossmeter.judge.ledger.reconcile import reconcile
from lossmeter.judge.ledger.selfproof import PLANTED_EACH, prove
from lossmeter.model import Counts
from lossmeter.record.arrays import Held, Operations
from tests.support.histories import UNKNOWN, History, calm, histories, proof

GOOD = 0


def _doubling(operations: Operations, held: Held, **_: object) -> Ledger:
    return reconcile(operations, replace(held, rows=np.concatenate([held.rows, held.rows])))


def _accusing(operations: Operations, held: Held, **_: object) -> Ledger:
    """Call every event lost, doubled, altered and out of order, as if no row were clean."""
    ledger = reconcile(operations, held)
    ids = np.empty(len(operations.intents), ledger.lost.dtype)
    for name in ("producer", "sequence"):
        ids[name] = operations.intents[name]
    kinds = ("lost", "duplicated", "corrupted", "reordered")
    counts = replace(ledger.counts, **{kind: len(ids) for kind in kinds})
    return replace(ledger, counts=counts, **dict.fromkeys(kinds, ids))


@pytest.mark.parametrize("broken", [_doubling, _accusing])
def test_a_ledger_that_calls_every_row_suspect_cannot_escape_its_proof(
    monkeypatch: pytest.MonkeyPatch, broken: Callable[..., Ledger]
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

    def drifting(operations: Operations, held: Held, **_: object) -> Ledger:
        ledger = reconcile(operations, held)
        counts = {kind: getattr(ledger.counts, kind) + next(calls)}
        return replace(ledger, counts=replace(ledger.counts, **counts))

    monkeypatch.setattr(selfproof, "reconcile", drifting)
    checks = proof(calm(40, 2)).values()
    assert not any(check.ok for check in checks)
    assert all("also changed" in check.note and kind in check.note for check in checks)


@pytest.mark.parametrize("kind", ["lost", "duplicated", "corrupted", "reordered"])
def test_a_ledger_that_counts_right_and_names_the_wrong_event_is_caught(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    history = calm(60, 3)
    history.rows = [row for row in history.rows if row[0] != (0, 3)]
    history.rows += [((1, 3), GOOD), ((2, 3), 9)]
    early, late = history.rows.index(((0, 9), GOOD)), history.rows.index(((0, 10), GOOD))
    history.rows[early], history.rows[late] = history.rows[late], history.rows[early]
    base = reconcile(history.operations(), history.held())
    (known,) = getattr(base, kind)[:1].tolist() if kind != "reordered" else [(0, 10)]
    calls = iter(range(9))

    def misnaming(operations: Operations, held: Held, **_: object) -> Ledger:
        ledger = reconcile(operations, held)
        ids = getattr(ledger, kind).copy()
        if next(calls):
            ids["sequence"][(ids["producer"] == known[0]) & (ids["sequence"] == known[1])] = 19
        return replace(ledger, **{kind: ids})

    monkeypatch.setattr(selfproof, "reconcile", misnaming)
    # A seed by which none of those out of order is taken away.
    checks = proof(history, seed=2)
    assert all(f"also changed: {kind}" in check.note for check in checks.values()), checks
    assert not any(check.ok for check in checks.values())


@given(histories(), st.integers(0, 2**32))
def test_the_proof_holds_for_any_history_and_changes_none(history: History, seed: int) -> None:
    operations, held = history.operations(), history.held()
    before = held.rows.copy()
    assert all(check.ok for check in prove(operations, held, seed))
    assert (held.rows == before).all()
    assert [str(c) for c in prove(operations, held, seed)] == [
        str(c) for c in prove(operations, held, seed)
    ]


def test_the_smallest_run_is_proven_as_far_as_it_goes() -> None:
    checks = proof(calm(1, 1))
    planted = {name: check.planted for name, check in checks.items()}
    assert planted == {
        "dropped": 1,
        "duplicated": 1,
        "swapped": 0,
        "altered": 1,
        "invented": 3,
        "stranded": 1,
        "late": 1,
    }
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

    def counting(operations: Operations, held: Held, **_: object) -> Ledger:
        sizes.append(len(operations.intents))
        return reconcile(operations, held)

    monkeypatch.setattr(selfproof, "reconcile", counting)
    assert all(check.ok for check in proof(calm(300, producers)).values())
    assert 0 < max(sizes) <= 30
