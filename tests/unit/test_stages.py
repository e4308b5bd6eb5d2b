"""Marks of stages: both sides of the format, and what a lost event is said to have died of."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossmeter.errors import LedgerError
from lossmeter.experiment import Step
from lossmeter.judge.ledger.reconcile import reconcile
from lossmeter.judge.ledger.stages import (
    When,
    by_stage,
    by_time,
    died_of,
    last_marks,
    lost_events,
    when_lost,
)
from lossmeter.plan.catalogue import Catalogue
from lossmeter.record import mark_format
from lossmeter.record.arrays import PAIR
from lossmeter.record.mark_format import (
    EVERY,
    HEADER,
    MAGIC,
    MARK,
    MARKS,
    RECORD,
    Lifetime,
    Marks,
    Stage,
    of_lifetime,
    parse_header,
    parse_records,
)
from lossmeter.record.marks import FOLDER, MarkFile, _lifetimes, _parts, load_marks, save_marks
from lossmeter_dispatcher import stages as theirs
from lossmeter_dispatcher.config import ConfigurationError, StageSettings
from lossmeter_dispatcher.events import Event
from tests.support.histories import History, histories

BOOT = "0123456789abcdef" * 2


def _event(producer: int, sequence: int) -> Event:
    return Event(producer=producer, sequence=sequence)


def _marks(folder: Path, boot_id: str = BOOT, capacity: int = 100_000) -> theirs.FileMarks:
    return theirs.FileMarks(folder, boot_id, survives=True, capacity=capacity)


def read_marks(run: Path) -> mark_format.Marks:
    """Read the files of all lives, as they are while targets still mark."""
    lives = _lifetimes(run)
    records = np.concatenate([np.empty(0, MARK), *_parts(lives)])
    return mark_format.Marks(records, [life for life, _ in lives])


# Both sides of the format.


def test_both_sides_name_the_same_stages() -> None:
    assert {s.name: int(s) for s in Stage if s in MARKS} == {s.name: int(s) for s in theirs.Stage}


def test_both_sides_agree_on_the_format(tmp_path: Path) -> None:
    assert theirs.MAGIC == mark_format.MAGIC
    assert theirs.HEADER.format == mark_format.HEADER.format
    assert theirs.EVERY == mark_format.EVERY
    assert theirs.RECORD.size == mark_format.RECORD.itemsize
    marks = _marks(tmp_path / "target")
    greatest = (2**31 - 1, 2**62 - 1)
    for stage in theirs.Stage:
        marks.mark(_event(*greatest), stage)
    marks.mark_every(theirs.Stage.ABANDONED)
    read = read_marks(tmp_path)
    (life,) = read.lifetimes
    assert (life.boot_id, life.survives, life.overflow) == (BOOT, True, 0)
    assert read.records["stage"][:-1].tolist() == list(MARKS)
    assert set(read.records["producer"][:-1].tolist()) == {greatest[0]}
    assert set(read.records["sequence"][:-1].tolist()) == {greatest[1]}
    assert read.records[["producer", "sequence"]][-1].tolist() == mark_format.EVERY
    assert (np.diff(read.records["at_ns"]) >= 0).all()
    assert life.started_ns <= read.records["at_ns"][0]


def test_marks_are_there_before_anything_is_closed_and_after_a_kill(tmp_path: Path) -> None:
    pid = os.fork()
    if not pid:
        _marks(tmp_path / "target").mark(_event(1, 2), theirs.Stage.TAKEN)
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    (mark,) = read_marks(tmp_path).records
    assert (mark["producer"], mark["sequence"], mark["stage"]) == (1, 2, Stage.TAKEN)


def test_marks_beyond_the_capacity_are_counted(tmp_path: Path) -> None:
    marks = _marks(tmp_path / "target", capacity=3)
    for number in range(5):
        marks.mark(_event(0, number), theirs.Stage.QUEUED)
    read = read_marks(tmp_path)
    assert read.records["sequence"].tolist() == [0, 1, 2]
    assert read.overflow == 2


def test_marks_go_on_beyond_what_is_allocated_at_first(tmp_path: Path) -> None:
    marks = _marks(tmp_path / "target")
    for number in range(50_000):
        marks.mark(_event(0, number), theirs.Stage.QUEUED)
    assert read_marks(tmp_path).records["sequence"].tolist() == list(range(50_000))
    marks.close()
    assert read_marks(tmp_path).records["sequence"].tolist() == list(range(50_000))


def test_what_is_never_marked_takes_no_room(tmp_path: Path) -> None:
    _marks(tmp_path, capacity=10_000_000)
    (file,) = tmp_path.iterdir()
    assert file.stat().st_blocks * 512 < 2**20 < file.stat().st_size


def test_lives_do_not_destroy_each_others_marks(tmp_path: Path) -> None:
    first, second = _marks(tmp_path / "target"), _marks(tmp_path / "target", "f" * 32)
    first.mark(_event(0, 0), theirs.Stage.TAKEN)
    second.mark(_event(0, 0), theirs.Stage.PERSISTED)
    first.mark(_event(0, 1), theirs.Stage.QUEUED)
    read = read_marks(tmp_path)
    assert len(read.lifetimes) == 2
    assert sorted(read.records["stage"].tolist()) == [Stage.QUEUED, Stage.TAKEN, Stage.PERSISTED]


def test_a_file_is_read_on_from_where_the_last_reading_ended(tmp_path: Path) -> None:
    marks = _marks(tmp_path)
    (path,) = tmp_path.iterdir()
    file = MarkFile(path)
    assert len(file.new()) == 0
    for count in (1, 5000, 2):
        for number in range(count):
            marks.mark(_event(0, number), theirs.Stage.QUEUED)
        assert file.new()["sequence"].tolist() == list(range(count))
    file.close()


def test_saved_marks_are_loaded_again_and_the_files_are_gone(tmp_path: Path) -> None:
    _marks(tmp_path / "target").mark(_event(3, 4), theirs.Stage.DROPPED)
    save_marks(tmp_path)
    assert list((tmp_path / "target").iterdir()) == []
    loaded = load_marks(tmp_path)
    assert loaded.records["sequence"].tolist() == [4]
    assert loaded.lifetimes[0].boot_id == BOOT


def test_a_run_without_marks_has_none(tmp_path: Path) -> None:
    assert len(read_marks(tmp_path).records) == len(load_marks(tmp_path).records) == 0


@pytest.mark.parametrize("data", [b"", b"short", b"LOSSMRK0" + bytes(56)])
def test_what_is_no_file_of_marks_is_refused(data: bytes) -> None:
    with pytest.raises(LedgerError, match="not of this version"):
        parse_header(data)


def test_a_stage_that_does_not_exist_is_refused() -> None:
    with pytest.raises(LedgerError, match="does not exist"):
        parse_records(theirs.RECORD.pack(0, 0, 0, max(MARKS) + 1))


def test_a_record_that_was_never_finished_ends_the_file() -> None:
    whole = theirs.RECORD.pack(7, 1, 0, Stage.QUEUED)
    torn = theirs.RECORD.pack(8, 1, 0, 0)
    assert parse_records(whole + torn + whole)["sequence"].tolist() == [7]
    assert parse_records(whole + whole[:10])["sequence"].tolist() == [7]


def test_a_path_that_cannot_be_written_to_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="DISPATCHER_STAGES__PATH"):
        theirs.build(StageSettings(path=tmp_path / "file"), BOOT, survives=False)


def test_no_path_is_off() -> None:
    assert StageSettings(path="").path is None  # type: ignore[arg-type]
    assert isinstance(theirs.build(StageSettings(), BOOT, survives=False), theirs.NoMarks)


def test_every_shipped_target_of_the_dispatcher_marks_stages() -> None:
    catalogue = Catalogue.here()
    for name in catalogue.target_names():
        target = catalogue.target(name)
        if target.start is None or "lossmeter_dispatcher" not in target.start.command:
            continue
        assert target.stages, f"targets/{name}.toml: stages = true"
        path = target.start.environment["DISPATCHER_STAGES__PATH"]
        assert path == "{run_folder}", f"targets/{name}.toml"


# What an event died of.


@dataclass
class Operations:
    """Marks in plain words: per life whether its queue survives, and (sequence, stage)."""

    lives: list[tuple[bool, list[tuple[int, Stage]]]] = field(default_factory=list)

    def marks(self) -> Marks:
        files = []
        for number, (survives, marked) in enumerate(self.lives):
            records = np.zeros(len(marked), mark_format.RECORD)
            for place, (sequence, stage) in enumerate(marked):
                every = sequence < 0
                records[place] = (
                    mark_format.EVERY[1] if every else sequence,
                    1000 * number + place,
                    mark_format.EVERY[0] if every else 0,
                    stage,
                )
            files.append((Lifetime(str(number), number, survives, 0), records))
        parts = [of_lifetime(number, records) for number, (_, records) in enumerate(files)]
        return Marks(np.concatenate([np.empty(0, MARK), *parts]), [head for head, _ in files])


def _died(*lives: tuple[bool, list[tuple[int, Stage]]]) -> Stage:
    lost = np.zeros(1, PAIR)
    died, _ = died_of(lost, Operations(list(lives)).marks())
    return Stage(died[0])


S = Stage
WAY = [S.ACCEPTED, S.QUEUED, S.TAKEN, S.HANDLING, S.PERSISTED, S.ACKNOWLEDGED]


def _way(*more: Stage, upto: Stage = S.HANDLING) -> list[tuple[int, Stage]]:
    return [(0, stage) for stage in [*WAY[: WAY.index(upto) + 1], *more]]


@pytest.mark.parametrize(
    ("lives", "died"),
    [
        ([(False, _way(upto=S.ACCEPTED))], S.ACCEPTED),
        ([(False, _way(upto=S.QUEUED))], S.QUEUED),
        ([(True, _way(upto=S.QUEUED))], S.IN_BROKER),
        ([(False, _way(upto=S.TAKEN))], S.TAKEN),
        ([(True, _way())], S.TAKEN),
        ([(False, _way(S.RETRYING))], S.RETRYING),
        ([(False, _way(S.RETRYING, S.HANDLING))], S.TAKEN),
        ([(False, _way(S.DROPPED))], S.DROPPED),
        ([(False, _way(S.OVERFLOWED))], S.OVERFLOWED),
        ([(False, _way(S.UNLETTERED))], S.UNLETTERED),
        ([(False, _way(S.DEAD_LETTERED))], S.DEAD_LETTERED),
        ([(False, _way(S.DEAD_LETTERED, S.REQUEUED))], S.QUEUED),
        ([(False, _way(upto=S.PERSISTED))], S.PERSISTED),
        ([(False, _way(upto=S.ACKNOWLEDGED))], S.PERSISTED),
        # Closed down in order: what was in memory is abandoned, what the queue keeps is not.
        ([(False, [*_way(upto=S.QUEUED), (-1, S.CLOSING), (-1, S.ABANDONED)])], S.ABANDONED),
        ([(False, [*_way(), (-1, S.CLOSING), (-1, S.ABANDONED)])], S.ABANDONED),
        ([(True, [*_way(upto=S.QUEUED), (-1, S.CLOSING), (-1, S.ABANDONED)])], S.IN_BROKER),
        ([(True, [*_way(), (-1, S.CLOSING), (-1, S.ABANDONED)])], S.ABANDONED),
        ([(False, [*_way(S.DROPPED), (-1, S.CLOSING), (-1, S.ABANDONED)])], S.DROPPED),
        # Killed before it gave up.
        ([(False, [*_way(upto=S.QUEUED), (-1, S.CLOSING)])], S.QUEUED),
        # The yes of the queue came back after a worker had taken the event.
        ([(True, [(0, S.ACCEPTED), (0, S.TAKEN), (0, S.QUEUED)])], S.TAKEN),
        # Redelivered in a second life, which closed down while the first was killed.
        ([(True, _way()), (True, [(0, S.TAKEN)])], S.TAKEN),
        ([(True, _way()), (True, [(0, S.TAKEN), (-1, S.ABANDONED)])], S.ABANDONED),
        ([(True, _way()), (True, [(-1, S.ABANDONED)])], S.TAKEN),
        ([(True, [(1, S.TAKEN)])], S.UNMARKED),
        ([], S.UNMARKED),
    ],
)
def test_an_event_died_of_what_its_marks_say(
    lives: list[tuple[bool, list[tuple[int, Stage]]]], died: Stage
) -> None:
    assert _died(*lives).words == died.words


def test_everything_that_can_be_died_of_has_words() -> None:
    assert all(stage.words for stage in Stage)
    assert {stage.step for stage in Stage} == {*Step} - {Step.ACKED} | {None}
    assert len({when.words for when in When}) == len(When)


@pytest.mark.parametrize(
    ("sent", "acked", "when"),
    [(1, 2, When.BEFORE), (1, 15, When.ACROSS), (12, 15, When.DURING), (25, 26, When.AFTER)],
)
def test_an_event_is_placed_by_time_against_the_fault(sent: int, acked: int, when: When) -> None:
    at = np.array([sent]), np.array([acked])
    assert when_lost(*at, (10, 20)) == [when]
    assert when_lost(*at, None) == [When.NO_FAULT]
    assert when_lost(*at, (10, None)) == [min(when, When.DURING)]


_MARKS = [Stage(mark) for mark in MARKS]
_ANY = st.lists(
    st.tuples(
        st.booleans(),
        st.lists(
            st.tuples(st.integers(-1, 6), st.sampled_from([Stage(mark) for mark in MARKS])),
            max_size=30,
        ),
    ),
    max_size=3,
)


@given(histories(), _ANY)
def test_each_lost_event_is_placed_once(
    history: History, lives: list[tuple[bool, list[tuple[int, Stage]]]]
) -> None:
    marks = Operations(lives).marks()
    operations = history.operations()
    ledger = reconcile(operations, history.held())
    lost = lost_events(operations, ledger, marks, (15, 20))
    unmarked = int((lost["died"] == S.UNMARKED).sum())
    assert sum(by_stage(lost).values()) + unmarked == ledger.counts.lost
    assert sum(by_time(lost).values()) == ledger.counts.lost
    for event in lost:
        sent_ns, acked_ns, _ = history.sent[int(event["producer"]), int(event["sequence"])]
        assert (event["sent_ns"], event["acked_ns"]) == (sent_ns, acked_ns)


@given(_ANY)
def test_each_event_has_one_last_mark(
    lives: list[tuple[bool, list[tuple[int, Stage]]]],
) -> None:
    last = last_marks(Operations(lives).marks().records)
    marked = {sequence for _, marks in lives for sequence, _ in marks if sequence >= 0}
    assert last["sequence"].tolist() == sorted(marked)
    assert last.dtype == MARK


def test_the_marks_of_some_events_are_read_without_the_others(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    for number in range(2):
        records = np.zeros(150_000, RECORD)
        records["producer"], records["sequence"] = 1, np.arange(len(records)) // 3
        records["at_ns"], records["stage"] = (
            np.arange(len(records)),
            1 + np.arange(len(records)) % 3,
        )
        records["producer"][7], records["sequence"][7] = EVERY
        head = HEADER.pack(MAGIC, b"%032d" % number, len(records), number, 0, 0)
        path = tmp_path / FOLDER / f"stages-{number:032d}.bin"
        path.write_bytes(head + records.tobytes())
    before = read_marks(tmp_path)
    save_marks(tmp_path)
    whole = load_marks(tmp_path)
    assert whole.records.tobytes() == before.records.tobytes()
    wanted = np.array([(1, 4), (1, 49_999), (2, 4), (1, 3)], PAIR)
    some = load_marks(tmp_path, wanted)
    assert some.lifetimes == whole.lifetimes
    is_wanted = (whole.records["producer"] == EVERY[0]) | (
        (whole.records["producer"] == 1) & np.isin(whole.records["sequence"], (3, 4, 49_999))
    )
    assert some.records.tobytes() == whole.records[is_wanted].tobytes()
    none = load_marks(tmp_path, wanted[:0])
    assert len(none.records) == 2
    (tmp_path / "marks.npy").write_bytes((tmp_path / "marks.npy").read_bytes()[:-5])
    with pytest.raises(ValueError, match="damaged"):
        load_marks(tmp_path, wanted)
