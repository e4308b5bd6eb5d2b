"""The table of what a yes is worth."""

from __future__ import annotations

from harness.catalogue import Catalogue
from harness.durability import FAULTS, POWER, measure, rows, trials
from harness.model import Counts, Evidence
from harness.report.durability import Window, Worth, durability_page
from harness.runtimes.local import LocalRuntime
from tests.unit.test_judge import a_result


def test_each_target_meets_each_fault_and_what_cannot_be_measured_says_why() -> None:
    target = Catalogue.here().target("redis")
    asked = trials([target], LocalRuntime())
    shipped = [trial for trial in asked if not trial.worth.setting]
    assert [trial.fault for trial in shipped] == list(FAULTS)
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


def test_a_limit_that_was_survived_says_so() -> None:
    seen = Evidence("control-group", "the kernel held it, and it lived", "", True, 0)
    target = Catalogue.here().target("redis")
    (trial,) = [t for t in trials([target], LocalRuntime()) if t.fault == "OOM"]
    list(measure([trial], lambda _: a_result("pass").model_copy(update={"evidence": [seen]})))
    if trial.why_not is None:
        assert str(trial.worth.windows["OOM"]) == "0 (it lived: its memory does not grow)"


def test_the_page_shows_numbers_reasons_and_what_follows() -> None:
    worth = Worth("channel", "", "enqueued")
    worth.windows["SIGKILL"] = Window(505, 2031.6)
    worth.windows["stop"] = Window(0)
    worth.windows["power loss"] = Window(note="no such fault")
    page = durability_page([worth], ["SIGKILL", "stop", "power loss"], "a machine")
    assert "| channel | as shipped | enqueued | 505 events, 2032 ms | 0 | not measured |" in page
    assert "channel: a yes does not survive SIGKILL, and survives stop" in page
    assert "not measured, power loss: no such fault" in page
