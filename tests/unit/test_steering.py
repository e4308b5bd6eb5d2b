"""Aiming at the steps of an event's way, by marks and journals as they grow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from lossmeter.errors import LedgerError, UsageError
from lossmeter.experiment import STEPS, Trigger
from lossmeter.judge.ledger.reconcile import reconcile
from lossmeter.judge.ledger.steps import AtStep, dwell_s, struck_at
from lossmeter.load.journal import JournalWriter
from lossmeter.model import Status
from lossmeter.record.mark_format import MARK
from lossmeter.run.aim import PATIENCE_S, Way, aim
from lossmeter.world.site import Incarnation
from lossmeter_dispatcher.events import Event
from lossmeter_dispatcher.stages import FileMarks, Stage
from tests.support.histories import ACKED, UNKNOWN, History

WAY = [
    (Stage.ACCEPTED, "accepted"),
    (Stage.QUEUED, "enqueued"),
    (Stage.TAKEN, "dequeued"),
    (Stage.HANDLING, "dequeued"),
    (Stage.RETRYING, "dequeued"),
    (Stage.PERSISTED, "inserted"),
    (Stage.ACKNOWLEDGED, "committed"),
]


@dataclass
class Scene:
    """A run that is under way, as far as its files show."""

    folder: Path
    marks: FileMarks
    journal: JournalWriter

    def mark(self, sequence: int, stage: Stage) -> None:
        self.marks.mark(Event(producer=0, sequence=sequence), stage)

    def tell(self, sequence: int, status: Status = Status.ACKED) -> None:
        self.journal.outcome(0, sequence, 0, status, 202)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    marks = FileMarks(tmp_path / "target", "a" * 32, survives=True, capacity=1000)
    with JournalWriter(tmp_path / "journal-0.bin", 0, 1, 1, 0) as journal:
        yield Scene(tmp_path, marks, journal)


def _where(way: Way, ident: tuple[int, int] = (0, 0)) -> list[str]:
    way.look()
    return [step for step in STEPS if ident in way.at(step)]


def test_an_event_is_at_one_step_at_a_time(scene: Scene) -> None:
    way = Way(scene.folder)
    assert _where(way) == []
    for stage, step in WAY:
        scene.mark(0, stage)
        assert _where(way) == [step]
        if stage is Stage.QUEUED:
            scene.tell(0)
            assert _where(way) == ["acked"]
    assert _where(way) == []
    assert way.passed == 1
    way.close()


def test_a_no_of_the_producer_is_no_ack(scene: Scene) -> None:
    way = Way(scene.folder)
    scene.mark(0, Stage.QUEUED)
    scene.tell(0, Status.UNKNOWN)
    assert _where(way) == ["enqueued"]
    way.close()


@pytest.mark.parametrize("end", [Stage.REFUSED, Stage.DROPPED, Stage.DEAD_LETTERED])
def test_an_event_that_is_given_up_is_at_no_step(scene: Scene, end: Stage) -> None:
    way = Way(scene.folder)
    scene.mark(0, Stage.ACCEPTED)
    scene.mark(0, end)
    assert _where(way) == []
    way.close()


def test_a_late_yes_of_the_queue_takes_nothing_back(scene: Scene) -> None:
    way = Way(scene.folder)
    for stage in (Stage.ACCEPTED, Stage.TAKEN, Stage.QUEUED):
        scene.mark(0, stage)
    assert _where(way) == ["dequeued"]
    way.close()


@dataclass
class Frozen:
    """A site that can be frozen; what it does when it is thawed can be set."""

    folder: Path
    thawed: Callable[[], None] = lambda: None
    pauses: int = 0
    now_frozen: bool = False
    base_url: str = ""
    endpoints: dict[str, object] = field(default_factory=dict)
    probe: object = None

    def incarnation(self) -> Incarnation:
        return Incarnation(1, 1, 1)

    def start(self) -> Incarnation:
        return self.incarnation()

    def pause(self) -> str:
        self.pauses += 1
        self.now_frozen = True
        return "stopped"

    def resume(self) -> None:
        self.now_frozen = False
        self.thawed()


def test_the_target_stays_frozen_with_the_event_at_the_step(scene: Scene) -> None:
    site = Frozen(scene.folder)
    scene.mark(3, Stage.ACCEPTED)
    scene.mark(3, Stage.TAKEN)
    found = aim(site, "dequeued", 0, lambda: True, 1)
    assert found is not None
    assert found.hit == ((0, 3),)
    assert site.now_frozen


def test_an_event_that_moved_on_is_let_go(scene: Scene) -> None:
    site = Frozen(scene.folder)
    scene.mark(0, Stage.ACCEPTED)
    scene.mark(0, Stage.PERSISTED)

    def pause() -> str:
        # The first freeze comes too late, the second does not.
        site.pauses += 1
        site.now_frozen = True
        if site.pauses == 1:
            scene.mark(0, Stage.ACKNOWLEDGED)
        return "stopped"

    site.pause = pause  # type: ignore[method-assign]
    site.thawed = lambda: scene.mark(1, Stage.PERSISTED)
    found = aim(site, "inserted", 0, lambda: True, 5)
    assert found is not None
    assert (found.hit, found.looks) == (((0, 1),), 2)


def test_a_step_too_short_to_be_seen_is_hit_by_chance(scene: Scene) -> None:
    site = Frozen(scene.folder)
    scene.mark(0, Stage.ACCEPTED)

    def pause() -> str:
        # Whatever is marked while it runs is acknowledged before anybody can read it.
        site.pauses += 1
        site.now_frozen = True
        scene.mark(site.pauses, Stage.PERSISTED)
        if site.pauses < 5:
            scene.mark(site.pauses, Stage.ACKNOWLEDGED)
        return "stopped"

    site.pause = pause  # type: ignore[method-assign]
    found = aim(site, "inserted", 0, lambda: True, 5)
    assert found is not None
    assert (found.hit, found.looks) == (((0, 5),), 5)
    assert site.now_frozen


def test_nothing_is_frozen_by_chance_before_its_time(scene: Scene) -> None:
    site = Frozen(scene.folder)
    scene.mark(0, Stage.ACCEPTED)
    assert aim(site, "inserted", 1, lambda: True, 2 * PATIENCE_S) is None
    assert site.pauses == 0


def test_nobody_at_the_step_is_none_and_leaves_it_running(scene: Scene) -> None:
    site = Frozen(scene.folder)
    scene.mark(0, Stage.QUEUED)
    assert aim(site, "inserted", 0, lambda: True, 0.2) is None
    assert aim(site, "enqueued", 5, lambda: True, 0.2) is None
    assert aim(site, "inserted", 0, lambda: False, 60) is None
    assert not site.now_frozen


def test_a_step_that_does_not_exist_is_refused(scene: Scene) -> None:
    with pytest.raises(LedgerError, match="known are accepted"):
        aim(Frozen(scene.folder), "digested", 0, lambda: True, 1)
    with pytest.raises(UsageError, match="is not one of accepted"):
        Trigger(step="digested")
    with pytest.raises(UsageError, match="without a condition"):
        Trigger(step="acked", condition="queue_length > 1")


def _marks(*marked: tuple[int, int, Stage]) -> np.ndarray:
    marks = np.zeros(len(marked), MARK)
    for place, (sequence, at_ns, stage) in enumerate(marked):
        marks[place] = (0, sequence, at_ns, stage, 0)
    return marks


def test_what_became_of_the_events_at_each_step() -> None:
    history = History(
        sent={
            (0, 0): (1, 5, ACKED),  # committed, persisted
            (0, 1): (2, 6, ACKED),  # inserted, twice persisted
            (0, 2): (3, 7, ACKED),  # in hand, lost
            (0, 3): (4, 8, ACKED),  # queued and acked, lost
            (0, 4): (5, 50, ACKED),  # queued, not yet acked, persisted
            (0, 5): (6, None, UNKNOWN),  # accepted
            (0, 6): (60, 61, ACKED),  # later, lost
        },
        rows=[((0, 0), 0), ((0, 1), 0), ((0, 1), 0), ((0, 4), 0)],
    )
    marks = _marks(
        *((n, 10, Stage.ACCEPTED) for n in range(6)),
        *((n, 11, Stage.QUEUED) for n in range(5)),
        *((n, 12, Stage.TAKEN) for n in range(3)),
        *((n, 13, Stage.PERSISTED) for n in range(2)),
        (0, 14, Stage.ACKNOWLEDGED),
        (4, 30, Stage.TAKEN),
        (6, 60, Stage.QUEUED),
    )
    operations = history.operations()
    seen = struck_at(marks, operations, reconcile(operations, history.held()), 20)
    assert seen == {
        "accepted": AtStep(1),
        "enqueued": AtStep(1),
        "acked": AtStep(1, lost=1),
        "dequeued": AtStep(1, lost=1),
        "inserted": AtStep(1, duplicated=1),
        "committed": AtStep(1),
    }


def test_how_long_events_stay_at_each_step() -> None:
    marks = _marks(
        (0, 10, Stage.ACCEPTED),
        (0, 10 + 10**9, Stage.QUEUED),
        (1, 10, Stage.ACCEPTED),
        (1, 10 + 3 * 10**9, Stage.QUEUED),
        (1, 10 + 4 * 10**9, Stage.TAKEN),
        (1, 11 + 4 * 10**9, Stage.HANDLING),
        (1, 10 + 9 * 10**9, Stage.PERSISTED),
    )
    assert dwell_s(marks) == {"accepted": 2, "enqueued": 1, "dequeued": 5}
    assert dwell_s(marks[:0]) == {}
