"""A wait for what cannot be read: given up at once, or after a while, and never under a fault."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lossmeter.errors import CollectError
from lossmeter.plan.target import Persisted
from lossmeter.run.probe import Unreadable
from lossmeter.run.unread import Unread
from lossmeter.world import auditor as audit
from lossmeter.world.auditor import Auditor, auditor

LIST = Unreadable("the answer is no JSON object", for_good=True)
SILENT = Unreadable("no answer", for_good=False)


def said(*found: Unreadable | None, holds: bool = False, within_s: float = 0.0) -> list[str]:
    answers: Iterator[Unreadable | None] = iter(found)
    unread = Unread(lambda: next(answers), lambda: holds, within_s)
    return [unread() for _ in found]


def test_what_no_wait_mends_is_given_up_at_once() -> None:
    assert said(None, LIST, within_s=60) == ["", LIST.why]


def test_what_may_pass_has_its_time_to_do_so() -> None:
    assert said(SILENT, SILENT, within_s=60) == ["", ""]
    assert said(SILENT) == ["no answer, for 0 s on end"]


def test_nothing_is_given_up_while_a_fault_holds() -> None:
    assert said(LIST, SILENT, holds=True) == ["", ""]


class Breaking:
    """A store that cannot be read for some looks."""

    def __init__(self, broken: int) -> None:
        self.left = broken

    def count(self) -> int:
        self.left -= 1
        if self.left >= 0:
            raise CollectError("what was persisted cannot be read: the connection broke")
        return 3


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Auditor:
    monkeypatch.setattr(audit, "COUNT_AGAIN_S", 0.0)
    table = {"kind": "jsonl", "file": "kept.jsonl", "quiet_s": 0.2, "settle_limit_s": 5.0}
    return auditor("t", Persisted(**table), folder=tmp_path)


@pytest.mark.parametrize(("broken", "settles"), [(2, True), (99, False)])
def test_a_store_is_asked_again_some_times(
    kept: Auditor, monkeypatch: pytest.MonkeyPatch, broken: int, *, settles: bool
) -> None:
    store = Breaking(broken)
    monkeypatch.setattr(kept, "count", store.count)
    if settles:
        assert kept.settle(lambda: True, lambda: None) == (True, "queue empty, 3 rows for 0.2 s")
        return
    with pytest.raises(CollectError, match="the connection broke"):
        kept.settle(lambda: True, lambda: None)
    assert store.left == broken - audit.COUNTS


def test_a_wait_that_is_given_up_says_why(kept: Auditor) -> None:
    settled, how = kept.settle(lambda: False, lambda: None, lambda: LIST.why)
    assert (settled, how) == (False, "the answer is no JSON object (0 rows)")
