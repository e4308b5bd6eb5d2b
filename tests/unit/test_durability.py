"""The table of what a yes is worth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.catalogue import Catalogue
from harness.durability import ALL, BROKER, HOW, POWER, keep, measure, rows, trials
from harness.errors import UsageError
from harness.model import Counts, Evidence
from harness.report.durability import Window, Worth, durability_page
from harness.runtimes.local import LocalRuntime
from tests.unit.test_judge import a_result


def test_each_target_meets_each_fault_and_what_cannot_be_measured_says_why() -> None:
    target = Catalogue.here().target("redis")
    asked = trials([target], LocalRuntime())
    shipped = [trial for trial in asked if not trial.worth.setting]
    assert [trial.fault for trial in shipped] == list(ALL)
    assert {trial.fault for trial in asked if trial.worth.setting} == {POWER}
    results = {"SIGKILL": ("pass", 0), "stop": ("inconclusive", 3)}

    def run(cell: object) -> object:
        fault = next(trial.fault for trial in asked if trial.cell is cell)
        verdict, lost = results.get(fault, ("pass", 5))
        told = {"counts": Counts(acked=100, lost=lost), "volatile_ms": 42.4}
        return a_result(verdict).model_copy(update=told)

    done = list(measure(asked, run))
    assert [result is None for _, result in done] == [bool(t.why_not) for t in asked]
    worth = rows(asked)[0]
    assert str(worth.windows["SIGKILL"]) == "0"
    assert str(worth.windows["stop"]) == "not measured"
    assert worth.windows["stop"].note.startswith("inconclusive on")
    for trial in asked:
        if trial.why_not:
            assert trial.worth.windows[trial.fault].note == trial.why_not


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("redis", "0 (it lived: its backlog is not in its own memory)"),
        ("channel", "not measured"),
    ],
)
def test_a_limit_that_was_survived_says_so(target: str, told: str) -> None:
    seen = Evidence("control-group", "the kernel held it, and it lived", "", True, 0)
    asked = trials([Catalogue.here().target(target)], LocalRuntime())
    (trial,) = [t for t in asked if t.fault == "OOM" and not t.worth.setting]
    trial = replace(trial, why_not=None)
    list(measure([trial], lambda _: a_result("pass").model_copy(update={"evidence": [seen]})))
    assert str(trial.worth.windows["OOM"]) == told


def test_a_reason_tells_no_path_of_this_machine() -> None:
    (trial, *_) = trials([Catalogue.here().target("redis")], LocalRuntime())
    broken = a_result("error").model_copy(
        update={
            "run_id": "20261125T1-x-1",
            "reason": "judged: /home/me/20261125T1-x-1/a.bin is",
        }
    )
    list(measure([trial], lambda _: broken))
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
    assert "| channel | as shipped | enqueued | 505 events, 2032 ms | 0 | not measured |" in page
    assert "channel: a yes does not survive SIGKILL, and survives stop, and never met OOM" in page
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
    with pytest.raises(UsageError, match="does not hold what `harness durability --save` writes"):
        keep(file, [])
    assert file.read_text() == '{"rows": 3}'
