"""Marks of stages: both sides of the format, and what a lost event is said to have died of."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.catalogue import Catalogue
from harness.errors import LedgerError
from harness.ledger import stages
from harness.ledger.reconcile import reconcile
from harness.ledger.records import PAIR
from harness.ledger.stages import (
    EVERY,
    HEADER,
    MAGIC,
    MARK,
    RECORD,
    Died,
    Life,
    Marks,
    Stage,
    When,
    by_stage,
    by_time,
    combine,
    died_of,
    last_marks,
    lost_events,
    parse_header,
    parse_records,
    when_lost,
)
from harness.marks import FOLDER, MarkFile, _lives, _parts, load_marks, save_marks
from targets.dispatcher import stages as theirs
from targets.dispatcher.config import ConfigurationError, StageSettings
from targets.dispatcher.events import Event
from tests.unit.histories import History, histories

BOOT = "0123456789abcdef" * 2


def _event(producer: int, sequence: int) -> Event:
    return Event(producer=producer, sequence=sequence)


def _marks(folder: Path, boot_id: str = BOOT, capacity: int = 100_000) -> theirs.FileMarks:
    return theirs.FileMarks(folder, boot_id, survives=True, capacity=capacity)


def read_marks(run: Path) -> stages.Marks:
    """Read the files of all lives, as they are while targets still mark."""
    lives = _lives(run)
    records = np.concatenate([np.empty(0, MARK), *_parts(lives)])
    return stages.Marks(records, [life for life, _ in lives])


# Both sides of the format.


def test_both_sides_name_the_same_stages() -> None:
    assert {s.name: int(s) for s in Stage} == {s.name: int(s) for s in theirs.Stage}


def test_both_sides_agree_on_the_format(tmp_path: Path) -> None:
    assert theirs.MAGIC == stages.MAGIC
    assert theirs.HEADER.format == stages.HEADER.format
    assert theirs.EVERY == stages.EVERY
    assert theirs.RECORD.size == stages.RECORD.itemsize
    marks = _marks(tmp_path / "target")
    greatest = (2**31 - 1, 2**62 - 1)
    for stage in theirs.Stage:
        marks.mark(_event(*greatest), stage)
    marks.mark_every(theirs.Stage.ABANDONED)
    read = read_marks(tmp_path)
    (life,) = read.lives
    assert (life.boot_id, life.survives, life.overflow) == (BOOT, True, 0)
    assert read.records["stage"][:-1].tolist() == list(Stage)
    assert set(read.records["producer"][:-1].tolist()) == {greatest[0]}
    assert set(read.records["sequence"][:-1].tolist()) == {greatest[1]}
    assert read.records[["producer", "sequence"]][-1].tolist() == stages.EVERY
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
    assert len(read.lives) == 2
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
    assert loaded.lives[0].boot_id == BOOT


def test_a_run_without_marks_has_none(tmp_path: Path) -> None:
    assert len(read_marks(tmp_path).records) == len(load_marks(tmp_path).records) == 0


@pytest.mark.parametrize("data", [b"", b"short", b"LOSSMRK0" + bytes(56)])
def test_what_is_no_file_of_marks_is_refused(data: bytes) -> None:
    with pytest.raises(LedgerError, match="not of this version"):
        parse_header(data)


def test_a_stage_that_does_not_exist_is_refused() -> None:
    with pytest.raises(LedgerError, match="does not exist"):
        parse_records(theirs.RECORD.pack(0, 0, 0, max(Stage) + 1))


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
        if target.start is None or "targets.dispatcher" not in target.start.command:
            continue
        assert target.stages, f"targets/{name}.toml: stages = true"
        path = target.start.environment["DISPATCHER_STAGES__PATH"]
        assert path == "{run_folder}", f"targets/{name}.toml"


# What an event died of.


@dataclass
class Told:
    """Marks in plain words: per life whether its queue survives, and (sequence, stage)."""

    lives: list[tuple[bool, list[tuple[int, Stage]]]] = field(default_factory=list)

    def marks(self) -> Marks:
        files = []
        for number, (survives, marked) in enumerate(self.lives):
            records = np.zeros(len(marked), stages.RECORD)
            for place, (sequence, stage) in enumerate(marked):
                every = sequence < 0
                records[place] = (
                    stages.EVERY[1] if every else sequence,
                    1000 * number + place,
                    stages.EVERY[0] if every else 0,
                    stage,
                )
            files.append((Life(str(number), number, survives, 0), records))
        return combine(files)


def _died(*lives: tuple[bool, list[tuple[int, Stage]]]) -> Died:
    lost = np.zeros(1, PAIR)
    died, _ = died_of(lost, Told(list(lives)).marks())
    return Died(died[0])


S = Stage
WAY = [S.ACCEPTED, S.QUEUED, S.TAKEN, S.HANDLING, S.PERSISTED, S.ACKNOWLEDGED]


def _way(*more: Stage, upto: Stage = S.HANDLING) -> list[tuple[int, Stage]]:
    return [(0, stage) for stage in [*WAY[: WAY.index(upto) + 1], *more]]


@pytest.mark.parametrize(
    ("lives", "died"),
    [
        ([(False, _way(upto=S.ACCEPTED))], Died.ACCEPTED),
        ([(False, _way(upto=S.QUEUED))], Died.QUEUED),
        ([(True, _way(upto=S.QUEUED))], Died.BROKER),
        ([(False, _way(upto=S.TAKEN))], Died.IN_HAND),
        ([(True, _way())], Died.IN_HAND),
        ([(False, _way(S.RETRYING))], Died.RETRYING),
        ([(False, _way(S.RETRYING, S.HANDLING))], Died.IN_HAND),
        ([(False, _way(S.DROPPED))], Died.DROPPED),
        ([(False, _way(S.OVERFLOWED))], Died.OVERFLOWED),
        ([(False, _way(S.UNLETTERED))], Died.UNLETTERED),
        ([(False, _way(S.DEAD_LETTERED))], Died.LETTER_GONE),
        ([(False, _way(S.DEAD_LETTERED, S.REQUEUED))], Died.QUEUED),
        ([(False, _way(upto=S.PERSISTED))], Died.DATABASE),
        ([(False, _way(upto=S.ACKNOWLEDGED))], Died.DATABASE),
        # Closed down in order: what was in memory is abandoned, what the queue keeps is not.
        ([(False, [*_way(upto=S.QUEUED), (-1, S.CLOSING), (-1, S.ABANDONED)])], Died.ABANDONED),
        ([(False, [*_way(), (-1, S.CLOSING), (-1, S.ABANDONED)])], Died.ABANDONED),
        ([(True, [*_way(upto=S.QUEUED), (-1, S.CLOSING), (-1, S.ABANDONED)])], Died.BROKER),
        ([(True, [*_way(), (-1, S.CLOSING), (-1, S.ABANDONED)])], Died.ABANDONED),
        ([(False, [*_way(S.DROPPED), (-1, S.CLOSING), (-1, S.ABANDONED)])], Died.DROPPED),
        # Killed before it gave up.
        ([(False, [*_way(upto=S.QUEUED), (-1, S.CLOSING)])], Died.QUEUED),
        # The yes of the queue came back after a worker had taken the event.
        ([(True, [(0, S.ACCEPTED), (0, S.TAKEN), (0, S.QUEUED)])], Died.IN_HAND),
        # Redelivered in a second life, which closed down while the first was killed.
        ([(True, _way()), (True, [(0, S.TAKEN)])], Died.IN_HAND),
        ([(True, _way()), (True, [(0, S.TAKEN), (-1, S.ABANDONED)])], Died.ABANDONED),
        ([(True, _way()), (True, [(-1, S.ABANDONED)])], Died.IN_HAND),
        ([(True, [(1, S.TAKEN)])], Died.UNMARKED),
        ([], Died.UNMARKED),
    ],
)
def test_an_event_died_of_what_its_marks_say(
    lives: list[tuple[bool, list[tuple[int, Stage]]]], died: Died
) -> None:
    assert _died(*lives) is died


def test_everything_that_can_be_died_of_has_words() -> None:
    assert len({died.words for died in Died}) == len(Died)
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


_ANY = st.lists(
    st.tuples(
        st.booleans(),
        st.lists(st.tuples(st.integers(-1, 6), st.sampled_from(list(Stage))), max_size=30),
    ),
    max_size=3,
)


@given(histories(), _ANY)
def test_each_lost_event_is_placed_once(
    history: History, lives: list[tuple[bool, list[tuple[int, Stage]]]]
) -> None:
    marks = Told(lives).marks()
    told = history.told()
    ledger = reconcile(told, history.held())
    lost = lost_events(told, ledger, marks, (15, 20))
    unmarked = int((lost["died"] == Died.UNMARKED).sum())
    assert sum(by_stage(lost).values()) + unmarked == ledger.counts.lost
    assert sum(by_time(lost).values()) == ledger.counts.lost
    for event in lost:
        sent_ns, acked_ns, _ = history.sent[int(event["producer"]), int(event["sequence"])]
        assert (event["sent_ns"], event["acked_ns"]) == (sent_ns, acked_ns)


@given(_ANY)
def test_each_event_has_one_last_mark(
    lives: list[tuple[bool, list[tuple[int, Stage]]]],
) -> None:
    last = last_marks(Told(lives).marks().records)
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
    assert some.lives == whole.lives
    is_wanted = (whole.records["producer"] == EVERY[0]) | (
        (whole.records["producer"] == 1) & np.isin(whole.records["sequence"], (3, 4, 49_999))
    )
    assert some.records.tobytes() == whole.records[is_wanted].tobytes()
    none = load_marks(tmp_path, wanted[:0])
    assert len(none.records) == 2
    (tmp_path / "marks.npy").write_bytes((tmp_path / "marks.npy").read_bytes()[:-5])
    with pytest.raises(ValueError, match="damaged"):
        load_marks(tmp_path, wanted)
