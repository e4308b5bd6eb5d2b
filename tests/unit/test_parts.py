"""A run in many parts is the run as a whole: its verdict, its figures and its page."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lossmeter.errors import HarnessError
from lossmeter.judge import parts
from lossmeter.judge.account import open_account
from lossmeter.judge.ledger import selfproof
from lossmeter.judge.parts import open_parts
from lossmeter.judge.verdict import judge_facts, judge_run, judging
from lossmeter.load.journal import JournalWriter
from lossmeter.model import Status
from lossmeter.record.arrays import ROW
from lossmeter.record.facts import Facts
from lossmeter.report import saved
from lossmeter.report.page import run_page
from tests.support.histories import History, histories
from tests.support.resealed import resealed
from tests.support.run_folders import Written, page_of


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Return a run with losses by stage, a no here and there, a fault, and rows that came twice."""
    folder = tmp_path / "run"
    Written(folder, events=3000, lost=40, refused=60, marked=True).save()
    rows = np.load(folder / "rows.npy")
    foreign = np.zeros(3, ROW)
    foreign["producer"], foreign["sequence"] = [-1, 10**9, 1], [5, 5, 10**9]
    mixed = np.concatenate([rows, rows[100:110], foreign])
    mixed["position"] = np.arange(len(mixed))
    mixed["payload_hash"][200:205] ^= 1
    mixed["position"][[300, 340]] = mixed["position"][[340, 300]]
    np.save(folder / "rows.npy", np.random.default_rng(1).permutation(mixed))
    judge_run(resealed(folder)).save(folder)
    return folder


@pytest.mark.parametrize("events", [1, 700, 1500, 2999])
def test_a_run_in_parts_is_judged_and_shown_as_a_whole(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, events: int
) -> None:
    whole, page = judge_run(recorded), page_of(recorded)
    assert whole.counts.lost == 40
    assert whole.counts.unexpected == 3
    assert whole.counts.duplicated == 10
    assert whole.counts.corrupted == 5
    assert whole.counts.reordered > 0
    monkeypatch.setattr(parts, "PART_EVENTS", events)
    assert judge_run(recorded) == whole
    assert page_of(recorded) == page


@pytest.mark.parametrize("events", [700, 250_000])
def test_a_page_is_drawn_from_what_was_judged_without_reading_it_again(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, events: int
) -> None:
    page = page_of(recorded)
    monkeypatch.setattr(parts, "PART_EVENTS", events)
    with judging(recorded, Facts.load(recorded)) as judged:
        for again in ("open_account", "fates"):
            monkeypatch.delattr(saved, again)
        assert run_page(recorded, judged.result, judged=judged) == page


def test_a_sample_of_a_run_in_parts_proves_it(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selfproof, "LARGEST_SAMPLE", 300)
    whole = judge_run(recorded)
    monkeypatch.setattr(parts, "PART_EVENTS", 500)
    assert judge_run(recorded).self_proof == whole.self_proof
    with open_account(recorded, Facts.load(recorded), collected=True) as of:
        reported, held = of.sample.all()
    assert 0 < len(reported.intents) <= 300
    assert 0 < len(held.rows) <= 330


def test_each_event_is_in_one_part(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_EVENTS", 700)
    with open_parts(recorded, Facts.load(recorded), collected=True) as opened:
        every = list(opened)
        again = list(opened)
    assert len(every) > 2
    assert [part.first for part in every] == sorted({part.first for part in every})
    sent = [set(part.operations.intents["producer"].tolist()) for part in every]
    assert sum(map(len, sent)) == len(set().union(*sent)) == opened.producers
    assert sum(len(part.operations.intents) for part in every) == opened.heads.events == 3000
    assert all(np.array_equal(a.held.rows, b.held.rows) for a, b in zip(every, again, strict=True))


def test_what_was_not_collected_is_void_in_parts_too(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = Facts.load(recorded).model_copy(update={"collected": False})
    whole = judge_facts(recorded, facts)
    monkeypatch.setattr(parts, "PART_EVENTS", 500)
    assert judge_facts(recorded, facts) == whole
    assert whole.counts.lost == 0
    assert "lost" in whole.not_measured


@pytest.mark.parametrize("damaged", ["rows.npy", "pending.npy", "journal-0.bin"])
def test_damage_is_an_error_in_parts_too(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, damaged: str
) -> None:
    monkeypatch.setattr(parts, "PART_EVENTS", 500)
    (recorded / damaged).write_bytes(b"damaged")
    result = judge_run(recorded)
    assert result.verdict == "error"
    assert damaged in result.reason
    page_of(recorded)


def test_ids_with_gaps_are_refused_before_room_is_made_for_them(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PART_EVENTS", 1)
    (recorded / "journal-0.bin").unlink()
    with JournalWriter(recorded / "journal-0.bin", 0, 1, 1, 0) as journal:
        for n in range(5):
            journal.intent(n * 10**9 // 2, 0, n, n, 0)
        journal.end(5)
    opening = open_parts(recorded, Facts.load(recorded), collected=False)
    with pytest.raises(HarnessError, match="minted without gaps"):
        opening.__enter__()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(histories(), st.integers(1, 12))
def test_any_history_has_the_same_classes_in_parts(
    recorded: Path, history: History, events: int
) -> None:
    folder = recorded.with_name("history")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    facts = Facts.load(recorded).model_copy(update={"collected": True})
    _record(folder, history)
    with (
        open_account(folder, facts, collected=True) as whole,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(parts, "PART_EVENTS", events)
        with open_account(folder, facts, collected=True) as dealt:
            assert dealt.ledger.counts == whole.ledger.counts
            for name in ("lost", "duplicated", "corrupted", "reordered", "resurrected"):
                assert _ids(getattr(dealt.ledger, name)) == _ids(getattr(whole.ledger, name))
            assert len(dealt.times.acked_ns) == len(whole.times.acked_ns)
            assert dealt.lost_sent_ns.tolist() == whole.lost_sent_ns.tolist()


def _ids(records: np.ndarray) -> list[tuple[int, int]]:
    return sorted(zip(records["producer"].tolist(), records["sequence"].tolist(), strict=True))


def _record(folder: Path, history: History) -> None:
    with JournalWriter(folder / "journal-0.bin", 0, 1, 1, 0) as journal:
        for (producer, sequence), (sent_ns, _, _) in history.sent.items():
            journal.intent(producer, sequence, sent_ns, sent_ns, 0)
        for (producer, sequence), (_, done_ns, status) in history.sent.items():
            if done_ns is not None and status != Status.UNKNOWN:
                journal.outcome(producer, sequence, done_ns, status, 0)
        journal.end(0)
    held = history.held()
    for name in ("rows", "dead_lettered", "pending"):
        np.save(folder / f"{name}.npy", getattr(held, name), allow_pickle=False)
