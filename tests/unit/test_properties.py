"""Properties that hold for any history: the classes are a partition, and no order matters."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from lossmeter.judge.ledger.classes import Ledger
from lossmeter.judge.ledger.reconcile import merge, reconcile
from lossmeter.judge.ledger.stages import last_marks
from lossmeter.load.journal import JournalWriter
from lossmeter.record.arrays import Operations
from lossmeter.record.journals import read_journals
from lossmeter.record.mark_format import MARK, Stage
from tests.support.histories import History, histories

IDS = ("lost", "duplicated", "corrupted", "reordered", "resurrected", "unexpected")
WHERE = ("extra_rows", "lost_prefix", "lost_middle", "lost_suffix")


def _shown(ledger: Ledger) -> tuple[object, ...]:
    """Return all that a ledger says, without the order in which it lists it."""
    ids = [sorted(map(tuple, getattr(ledger, name).tolist())) for name in IDS]
    return ledger.counts, ids, [getattr(ledger, name) for name in WHERE]


@given(histories())
def test_every_event_is_in_exactly_one_class(history: History) -> None:
    ledger = reconcile(history.operations(), history.held())
    counts = ledger.counts
    for name in IDS:
        ids = getattr(ledger, name)
        assert len(ids) == getattr(counts, name), name
        assert name == "unexpected" or len(np.unique(ids)) == len(ids), name
    assert counts.lost == ledger.lost_prefix + ledger.lost_middle + ledger.lost_suffix
    held = counts.delivered + counts.lost + counts.dead_lettered + counts.pending + counts.stranded
    assert held == counts.acked
    assert counts.recovered + counts.unresolved == counts.unknown
    assert held + counts.recovered + counts.unresolved + counts.refused == counts.sent
    assert counts.resurrected <= counts.refused


@given(histories(), st.lists(st.integers(0, 3), min_size=40, max_size=40), st.randoms())
def test_it_does_not_matter_which_load_process_sent_what(
    history: History, shard_of: list[int], shuffle: st.DataObject
) -> None:
    sent = list(history.sent.items())
    shuffle.shuffle(sent)  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        writers = [JournalWriter(folder / f"journal-{n}.bin", n, 4, 1, 0) for n in range(4)]
        for number, ((producer, sequence), (sent_ns, done_ns, status)) in enumerate(sent):
            writer = writers[shard_of[number % 40]]
            writer.intent(producer, sequence, sent_ns, sent_ns, 0)
            if done_ns is not None:
                writer.outcome(producer, sequence, done_ns, status, 0)
        for writer in writers:
            writer.end(0)
        journals = read_journals(folder)
        # The same files in another order.
        names = [*range(4)]
        shuffle.shuffle(names)  # type: ignore[attr-defined]
        for number, name in enumerate(names):
            (folder / f"journal-{number}.bin").rename(folder / f"other-{name}.bin")
        for name in names:
            (folder / f"other-{name}.bin").rename(folder / f"journal-{name}.bin")
        renamed = read_journals(folder)
    assert journals.complete
    assert renamed.complete
    operations = Operations(journals.intents, journals.outcomes)
    expected = reconcile(history.operations(), history.held())
    assert _shown(reconcile(operations, history.held())) == _shown(expected)
    operations = Operations(renamed.intents, renamed.outcomes)
    assert _shown(reconcile(operations, history.held())) == _shown(expected)


@given(histories(), st.integers(0, 2**32))
def test_the_order_of_records_and_rows_does_not_matter(history: History, seed: int) -> None:
    random = np.random.default_rng(seed)
    operations, held = history.operations(), history.held()
    shuffled = Operations(
        random.permutation(operations.intents), random.permutation(operations.outcomes)
    )
    rows = replace(
        held,
        rows=random.permutation(held.rows),
        dead_lettered=held.dead_lettered[::-1],
        pending=held.pending[::-1],
        stranded=held.stranded[::-1],
    )
    assert _shown(reconcile(shuffled, rows)) == _shown(reconcile(operations, held))


def _of(found: npt.NDArray[np.int64], producers: list[int] | None) -> npt.NDArray[np.bool_]:
    """Return which are of these producers; None stands for all that are of no other part."""
    if producers is None:
        return ~np.isin(found, [-2, -1, 0, 1])
    return np.isin(found, producers)


@given(histories())
def test_the_merge_of_reconciled_parts_is_the_ledger_of_the_merged(history: History) -> None:
    operations, held = history.operations(), history.held()
    parts = []
    for producers in ([-2, -1, 0], [1], [], None):
        intents, outcomes, rows, dead, pending, stranded = (
            records[_of(records["producer"].astype(np.int64), producers)]
            for records in (
                *(operations.intents, operations.outcomes),
                *(held.rows, held.dead_lettered, held.pending, held.stranded),
            )
        )
        own = replace(held, rows=rows, dead_lettered=dead, pending=pending, stranded=stranded)
        parts.append(reconcile(Operations(intents, outcomes), own))
    assert _shown(merge(parts)) == _shown(reconcile(operations, held))


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(list(Stage)[:13])), max_size=30))
def test_marks_of_other_events_do_not_change_an_events_last_mark(
    marked: list[tuple[int, Stage]],
) -> None:
    marks = np.zeros(len(marked), MARK)
    for place, (sequence, stage) in enumerate(marked):
        marks[place] = (0, sequence, place, stage, 0)
    whole = {int(mark["sequence"]): int(mark["at_ns"]) for mark in last_marks(marks)}
    for sequence, at_ns in whole.items():
        alone = last_marks(marks[marks["sequence"] == sequence])
        assert alone["at_ns"].tolist() == [at_ns]
