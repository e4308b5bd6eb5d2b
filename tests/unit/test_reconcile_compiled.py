"""The compiled ledger is the ledger by arrays: same classes, same names, same refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import LedgerError
from harness.ledger import reconcile as module
from harness.ledger.reconcile import reconcile, reconcile_by_arrays
from harness.ledger.records import INTENT, OUTCOME, PAIR, ROW, Held, Ledger, Told
from tests.unit import test_reconcile
from tests.unit.histories import History
from tests.unit.test_reconcile_reference import Raw, raws

compiled = pytest.importorskip("harness.ledger.compiled")
NAMED = ("lost", "duplicated", "corrupted", "reordered", "resurrected", "unexpected")


def by_loops(told: Told, held: Held) -> Ledger:
    ledger: Ledger = compiled.reconcile_compiled(told, held, frozenset())
    return ledger


def same(told: Told, held: Held) -> None:
    loops, arrays = by_loops(told, held), reconcile_by_arrays(told, held)
    assert loops.counts == arrays.counts
    for name in NAMED:
        found, wanted = getattr(loops, name), getattr(arrays, name)
        assert sorted(found.tolist()) == sorted(wanted.tolist()), name
    assert loops.unexpected.tolist() == arrays.unexpected.tolist()
    for name in ("extra_rows", "lost_prefix", "lost_middle", "lost_suffix"):
        assert getattr(loops, name) == getattr(arrays, name), name


@given(raws(), st.booleans(), st.booleans())
def test_both_ways_agree(raw: Raw, hashes: bool, positions: bool) -> None:
    held = replace(raw.held(), hashes_measured=hashes, positions_measured=positions)
    same(raw.told(), held)


@given(raws(), st.sampled_from([2**33, 2**62, -(2**62)]))
def test_both_ways_agree_on_positions_far_apart(raw: Raw, stride: int) -> None:
    held = raw.held()
    odd = held.rows["sequence"] % 2 == 1
    held.rows["position"] += np.where(odd, stride, 0)
    same(raw.told(), held)


def test_many_producers_many_strangers_many_repeats() -> None:
    random = np.random.default_rng(5)
    events, producers = 60_000, 700
    intents, outcomes = np.zeros(events, INTENT), np.zeros(events, OUTCOME)
    place = np.arange(events)
    for told in (intents, outcomes):
        told["producer"], told["sequence"] = place % producers, place // producers
    intents["sent_ns"] = place * 10 - random.integers(0, 40_000, events)
    outcomes["done_ns"] = intents["sent_ns"] + random.integers(0, 30_000, events)
    outcomes["status"] = random.choice(3, events, p=[0.1, 0.8, 0.1])
    rows = np.zeros(80_000, ROW)
    rows["producer"] = random.integers(-1, producers + 1, len(rows))
    rows["sequence"] = random.integers(-1, events // producers + 3, len(rows))
    rows["position"] = np.arange(len(rows)) + random.integers(0, 300, len(rows))
    pairs = intents[["producer", "sequence"]].astype(PAIR)
    shuffled = random.permutation(events)
    told = Told(intents[shuffled], outcomes[random.permutation(events)])
    same(told, Held(rows, pairs[::7], pairs[::5]))


def test_the_tests_of_the_ledger_hold_for_the_compiled_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "COMPILED_FROM", 0)
    calls = []
    monkeypatch.setattr(module, "reconcile_by_arrays", lambda *_: calls.append(1))
    for name, function in vars(test_reconcile).items():
        if name.startswith("test_") and not hasattr(function, "pytestmark"):
            function()
    assert not calls


def test_without_the_compiler_arrays_do_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMPILED_FROM", 0)

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(module, "import_module", missing)
    assert reconcile(History().told(), History().held()).counts.sent == 0


def test_more_records_than_can_be_numbered_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NOWHERE", 2)
    told = History({(0, n): (n, n, 1) for n in range(3)}).told()  # type: ignore[misc]
    with pytest.raises(LedgerError, match="more than one ledger can number"):
        reconcile(told, History().held())
