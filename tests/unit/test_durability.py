"""The table of ack durability."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lossmeter.errors import UsageError
from lossmeter.model import Counts
from lossmeter.plan.catalogue import Catalogue
from lossmeter.report.durability import durability_page
from lossmeter.studies.durability import ALL, BROKER, HOW, POWER, Ran, keep, measure, rows, trials
from lossmeter.studies.worth import Window, Worth
from lossmeter.world.runtimes.local import LocalRuntime
from tests.support.judged_runs import a_result
from tests.support.pages import squeezed


def test_each_target_meets_each_fault_and_what_cannot_be_measured_says_why() -> None:
    target = Catalogue.here().target("redis")
    asked = trials([target], LocalRuntime())
    shipped = [trial for trial in asked if not trial.worth.setting]
    assert [trial.fault for trial in shipped] == list(ALL)
    assert {trial.fault for trial in asked if trial.worth.setting} == {POWER}
    asked[-1] = replace(asked[-1], why_not="this machine has no such fault")
    results = {"SIGKILL": ("pass", 0), "stop": ("inconclusive", 3)}

    def run(cell: object) -> object:
        fault = next(trial.fault for trial in asked if trial.cell is cell)
        verdict, lost = results.get(fault, ("pass", 5))
        reported = {"counts": Counts(acked=100, lost=lost), "volatile_ms": 42.4}
        return Ran(a_result(verdict).model_copy(update=reported))

    done = list(measure(asked, run))
    assert [trial for trial, result in done if result is None] == asked[-1:]
    worth = rows(asked)[0]
    assert str(worth.windows["SIGKILL"]) == "0"
    assert str(worth.windows["stop"]) == "not measured"
    assert worth.windows["stop"].note.startswith("inconclusive on")
    unmeasured = asked[-1].worth.windows[POWER]
    assert (unmeasured.lost, unmeasured.note) == (None, "this machine has no such fault")


def test_a_run_that_cannot_be_set_up_stops_no_other() -> None:
    asked = trials([Catalogue.here().target("redis")], LocalRuntime())
    asked = [replace(trial, why_not=None) for trial in asked]

    def run(cell: object) -> Ran:
        if cell is asked[0].cell:
            raise UsageError("the port is taken")
        return Ran(a_result("pass"))

    measuring = measure(asked, run)
    shown = [next(measuring)[1] is not None for _ in asked]
    assert shown == [False, *[True] * (len(asked) - 1)]
    with pytest.raises(UsageError, match="the port is taken"):
        next(measuring)
    assert asked[0].worth.windows[asked[0].fault].note == "the port is taken"


@pytest.mark.parametrize(
    ("target", "cell", "note"),
    [
        (
            "redis",
            "0 (it lived: its backlog is not in its own memory)",
            "it lived: its backlog is not in its own memory",
        ),
        (
            "channel",
            "not measured",
            "the kernel did not end it in time, though its backlog grew in it",
        ),
    ],
)
def test_a_limit_that_was_survived_says_so(target: str, cell: str, note: str) -> None:
    asked = trials([Catalogue.here().target(target)], LocalRuntime())
    (trial,) = [t for t in asked if t.fault == "OOM" and not t.worth.setting]
    trial = replace(trial, why_not=None)
    list(measure([trial], lambda _: Ran(a_result("pass"), survived=True)))
    window = trial.worth.windows["OOM"]
    assert (str(window), window.note) == (cell, note)
    list(measure([trial], lambda _: Ran(a_result("pass"))))
    assert str(trial.worth.windows["OOM"]) == "0", "one that it ended is told from one that lived"


def test_a_reason_tells_no_path_of_this_machine() -> None:
    (trial, *_) = trials([Catalogue.here().target("redis")], LocalRuntime())
    broken = a_result("error").model_copy(
        update={
            "run_id": "20261125T1-x-1",
            "reason": "judged: /home/me/20261125T1-x-1/a.bin is",
        }
    )
    list(measure([trial], lambda _: Ran(broken)))
    assert trial.worth.windows[trial.fault].note == ("error on t: judged: 20261125T1-x-1/a.bin is")


def test_the_page_shows_numbers_reasons_and_what_follows() -> None:
    worth = Worth("channel", "", "enqueued")
    worth.windows["SIGKILL"] = Window(505, 2031.6)
    worth.windows["stop"] = Window(0)
    worth.windows["power loss"] = Window(note="no such fault")
    worth.windows["OOM"] = Window(0, None, "it lived: its memory does not grow")
    page = durability_page([worth], ["SIGKILL", "stop", "power loss"], HOW)
    assert "- *enqueued*: the event is in the memory of the dispatcher" in page
    assert "*broker*" not in page
    assert "200 events of 64 KiB a second for 8 s, against 5 workers" in page
    row = "| channel | as shipped | enqueued | 505 events, 2,032 ms | 0 | not measured |"
    assert row in squeezed(page)
    assert "channel: an ack does not survive SIGKILL, and survives stop, and never met OOM" in page
    assert "not measured, power loss: no such fault" in page


def test_each_ack_level_of_a_target_has_its_row() -> None:
    kafka = Catalogue.here().target("kafka")
    asked = trials([kafka], LocalRuntime())
    assert {trial.worth.setting for trial in asked} >= {"", "acks = 1", "acks = 0"}
    (one,) = {t.cell.variant.settings["acks"] for t in asked if t.worth.setting == "acks = 0"}
    assert one == "0"
    conditions = {t.worth.setting: set() for t in asked}
    for trial in asked:
        conditions[trial.worth.setting].add(trial.cell.variant.faults[0].trigger.condition)
    assert conditions["acks = 0"] == {None}
    assert None not in conditions["acks = 1"]
    channel = trials([Catalogue.here().target("channel")], LocalRuntime())
    assert BROKER not in {trial.fault for trial in channel}
    assert "acks = 0" not in {trial.worth.setting for trial in channel}


def test_what_is_measured_later_is_added_to_what_was_measured(tmp_path: Path) -> None:
    file = tmp_path / "durability.json"
    first = Worth("redis", "", "broker", {"SIGKILL": Window(3, 1.5), "OOM": Window(0)}, "first")
    again = Worth("redis", "", "broker", {"SIGKILL": Window(4, 2.5)}, "again")
    other = Worth("channel", "", "enqueued", {"SIGKILL": Window(9, 3.5)}, "again")
    assert keep(file, [first]) == [first]
    both = {"SIGKILL": Window(4, 2.5), "OOM": Window(0)}
    assert keep(file, [again, other]) == [other, replace(again, windows=both)]
    silent = Worth("redis", "", "broker", {"SIGKILL": Window(note="inconclusive")}, "again")
    assert keep(file, [silent]) == [other, replace(again, windows=both)]


def test_a_file_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "durability.json"
    file.write_text('{"rows": 3}')
    with pytest.raises(UsageError, match="does not hold what `lossmeter durability --save` writes"):
        keep(file, [])
    assert file.read_text() == '{"rows": 3}'
