"""The judge proves itself: and when its ledger is broken on purpose, the proof says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from lossmeter.judge.ledger import selfproof
from lossmeter.judge.ledger.classes import Ledger
from lossmeter.judge.ledger.reconcile import reconcile
from lossmeter.judge.ledger.selfproof import PLANTED_EACH, prove
from lossmeter.record.arrays import Held, Operations
from tests.support.histories import REFUSED, UNKNOWN, History, calm, histories, proof

GOOD = 0


def _troubled() -> History:
    """A run that already holds every class."""
    history = calm(60, 3)
    history.rows = [row for row in history.rows if row[0][1] % 5]
    history.rows += [*history.rows[:4], ((7, 7), GOOD), ((0, 1), 9)]
    history.sent[0, 20] = (900, 901, REFUSED)
    history.sent[1, 20] = (900, None, UNKNOWN)
    history.sent[2, 20] = (900, 950, UNKNOWN)
    history.rows += [((0, 20), GOOD), ((2, 20), GOOD)]
    history.dead = [(0, 0)]
    return history


@pytest.mark.parametrize("history", [calm(60, 3), _troubled()], ids=["calm", "troubled"])
@pytest.mark.parametrize("seed", range(5))
def test_everything_planted_is_found(history: History, seed: int) -> None:
    checks = proof(history, seed)
    assert [*checks] == [
        *("dropped", "duplicated", "swapped", "altered", "invented", "stranded", "late")
    ]
    assert all(check.ok for check in checks.values()), checks
    planted = {name: check.planted for name, check in checks.items()}
    swapped = planted.pop("swapped")
    assert swapped == 1
    assert set(planted.values()) == {PLANTED_EACH}


@given(histories())
def test_no_history_makes_a_sound_ledger_fail_its_proof(history: History) -> None:
    checks = proof(history)
    assert all(check.ok for check in checks.values()), checks


def test_a_row_that_looks_like_an_invented_one_is_no_alarm() -> None:
    history = calm(60, 3)
    history.rows += [((-1, -1), GOOD), ((3, 0), GOOD)]
    checks = proof(history)
    assert all(check.ok for check in checks.values()), checks
    assert checks["invented"].planted == checks["invented"].found == PLANTED_EACH


def test_what_cannot_be_planted_is_said() -> None:
    checks = proof(History())
    assert all(check.planted == 0 and check.note for check in checks.values())


def test_what_is_not_measured_is_not_claimed_to_be_proven() -> None:
    history = calm(60, 3)
    held = replace(history.held(), hashes_measured=False, positions_measured=False)
    held = replace(held, redelivered_after_ns=None)
    checks = {check.name: check for check in prove(history.operations(), held, 1)}
    assert "not measured" in checks["altered"].note
    assert "not measured" in checks["swapped"].note
    assert "not known" in checks["late"].note


def test_a_large_run_is_proven_on_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selfproof, "LARGEST_SAMPLE", 30)
    sizes = []

    def counting(operations: Operations, held: Held, **_: object) -> Ledger:
        sizes.append(len(operations.intents))
        return reconcile(operations, held)

    monkeypatch.setattr(selfproof, "reconcile", counting)
    assert all(check.ok for check in proof(calm(600, 30)).values())
    assert max(sizes) < 100


Break = Callable[..., Ledger]


def _blind_to_losses(operations: Operations, held: Held, **_: object) -> Ledger:
    ledger = reconcile(operations, held)
    return replace(ledger, counts=replace(ledger.counts, lost=0), lost=ledger.lost[:0])


def _blind_to_duplicates(operations: Operations, held: Held, **_: object) -> Ledger:
    _, first = np.unique(held.rows[["producer", "sequence"]], return_index=True)
    return reconcile(operations, replace(held, rows=held.rows[np.sort(first)]))


def _blind_to_payloads(operations: Operations, held: Held, **_: object) -> Ledger:
    rows = held.rows.copy()
    rows["payload_hash"] = 0
    return reconcile(operations, replace(held, rows=rows))


def _blind_to_order(operations: Operations, held: Held, **_: object) -> Ledger:
    rows = held.rows.copy()
    rows["position"] = np.lexsort((rows["sequence"], rows["producer"])).argsort()
    return reconcile(operations, replace(held, rows=rows))


def _blind_to_strangers(operations: Operations, held: Held, **_: object) -> Ledger:
    known = (held.rows["producer"] >= 0) & (held.rows["producer"] < 3)
    return reconcile(
        operations, replace(held, rows=held.rows[known & (held.rows["sequence"] < 20)])
    )


@pytest.mark.parametrize(
    ("broken", "name"),
    [
        (_blind_to_losses, "dropped"),
        (_blind_to_duplicates, "duplicated"),
        (_blind_to_payloads, "altered"),
        (_blind_to_order, "swapped"),
        (_blind_to_strangers, "invented"),
    ],
)
def test_a_blind_ledger_is_caught(
    monkeypatch: pytest.MonkeyPatch, broken: Break, name: str
) -> None:
    monkeypatch.setattr(selfproof, "reconcile", broken)
    checks = proof(calm(60, 3))
    assert not checks[name].ok
    assert checks[name].planted > 0
