"""Several cells at once: who makes which, what is made again, in which order it is shown."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from lossmeter.commands import _side_by_side, _turns
from lossmeter.commands._asked import Asked
from lossmeter.commands._repeating import Repeats
from lossmeter.commands._running import Placed
from lossmeter.commands._side_by_side import Jobs, spoilt
from lossmeter.commands._worker import RunRequest
from lossmeter.commands.run import _Ask, _code
from lossmeter.errors import ExitCode
from lossmeter.model import Verdict
from lossmeter.record.result import Result
from lossmeter.report.console import figures
from lossmeter.report.side_by_side import Going, Screen
from lossmeter.run.narrator import Progress
from tests.support.judged_runs import a_result
from tests.support.slots import (
    CATALOGUE,
    LOCAL,
    STARVED,
    Process,
    Processes,
    Together,
    all_of,
    beside_of,
    cells_of,
    jobs_for,
    result_of,
    wanted_of,
)


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_turns, "SPAN_S", 0.0)
    monkeypatch.setattr(_turns, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(_side_by_side, "LOOK_EVERY_S", 0.01)


def test_two_cells_go_on_at_once_and_each_is_made_once() -> None:
    jobs = jobs_for(*cells_of("crash", "channel", "redis"))
    together = Together(2)
    processes = Processes(together)
    results = all_of(beside_of(jobs, processes))
    assert together.most == 2
    asked = {(job.placed.cell.name, job.target) for job in jobs}
    assert len(results) == 4
    assert {(each.experiment, each.target) for each in results} == asked
    assert all(process.closed for process in processes.all)
    assert len(processes.all) == 2
    assert [process.interrupts for process in processes.all] == [0, 0]


def test_without_headroom_one_goes_on_after_the_other() -> None:
    jobs = jobs_for(*cells_of("crash", "channel", "redis"))
    together = Together(1)
    all_of(beside_of(jobs, Processes(together), idle=0.0))
    assert together.most == 1


def test_what_must_be_alone_comes_last_and_has_nobody_beside() -> None:
    jobs = jobs_for(*cells_of("oom", "channel"), *cells_of("control", "channel", "redis"))
    together = Together(2)
    processes = Processes(together)
    all_of(beside_of(jobs, processes))
    assert [(e.experiment, e.at_once) for e in processes.requests] == [
        ("control", 2),
        ("control", 2),
        ("oom", 1),
    ]


def test_a_slot_stays_with_the_targets_that_it_has_servers_for() -> None:
    jobs = Jobs(jobs_for(*cells_of("crash", "channel", "redis-list", "redis")))
    taken = [jobs.take(slot) for slot in (0, 1, 0, 1, 1, 0)]
    assert [job and (job.placed.cell.name, job.target) for job in taken] == [
        ("crash", "channel"),
        ("crash", "redis-list"),
        ("crash-full", "channel"),
        ("crash-full", "redis-list"),
        ("crash", "redis"),
        ("crash-full", "redis"),
    ]
    assert jobs.take(0) is None
    assert jobs.left() == []


def test_all_of_a_repeat_come_before_any_of_the_next_also_those_that_must_be_alone() -> None:
    once = jobs_for(*cells_of("control", "channel", "redis"), *cells_of("oom", "channel"))
    jobs = Jobs([replace(job, repeat=repeat) for repeat in (0, 1) for job in once])
    taken = [jobs.take(slot) for slot in (0, 0, 0, 0, 0, 0)]
    assert [job and (job.placed.cell.name, job.target, job.repeat) for job in taken] == [
        ("control", "channel", 0),
        ("control", "redis", 0),
        ("oom", "channel", 0),
        ("control", "channel", 1),
        ("control", "redis", 1),
        ("oom", "channel", 1),
    ]


def test_when_the_time_is_up_no_further_run_begins() -> None:
    jobs = jobs_for(*cells_of("control", "channel", "redis"))
    processes = Processes(lambda _, request: result_of(request))
    assert all_of(beside_of(jobs, processes, ends_at=0.0)) == []
    assert processes.requests == []


def test_what_lacked_cpu_beside_others_is_made_again_alone_once_and_says_so() -> None:
    jobs = jobs_for(*cells_of("control", "channel", "redis"))
    together = Together(2)

    def make(process: Process, request: RunRequest) -> Result:
        made = together(process, request)
        if request.target == "redis":
            return made.model_copy(update={**STARVED, "run_id": f"run-{request.at_once}"})
        return made

    processes = Processes(make)
    results = all_of(beside_of(jobs, processes))
    again = [request for request in processes.requests if request.again_for]
    assert [(e.target, e.at_once, e.again_for) for e in again] == [("redis", 1, "run-2")]
    assert processes.requests[-1] is again[0], "nothing began beside it"
    # What it comes to alone counts, whatever that is.
    assert [r.run_id for r in results if r.target == "redis"] == ["run-1"]
    assert len(results) == 2


def test_what_lacked_cpu_with_nobody_beside_is_not_made_again() -> None:
    jobs = jobs_for(*cells_of("control", "channel", "redis"))
    processes = Processes(lambda _, request: result_of(request, **STARVED))
    results = all_of(beside_of(jobs, processes, idle=0.0))
    assert [request.again_for for request in processes.requests] == ["", ""]
    assert all(spoilt(result) for result in results)


def test_repeats_of_a_cell_follow_each_other_in_one_slot() -> None:
    jobs = jobs_for(*cells_of("control", "channel", "redis"))
    processes = Processes(Together(2))
    results = all_of(beside_of(jobs, processes, Repeats(3)))
    assert len(results) == 6
    for target in ("channel", "redis"):
        assert [r.repeat for r in results if r.target == target] == [0, 1, 2]


def test_results_stand_in_the_order_that_was_asked_for() -> None:
    asked = cells_of("crash", "channel", "redis")
    ask = _Ask(
        *(Asked(experiments=["crash"]), wanted_of(asked), [LOCAL], 1, CATALOGUE),
        *(None, None, None, Repeats(2)),
    )
    made = [
        a_result("pass").model_copy(
            update={"experiment": cell.name, "target": cell.target.name, "repeat": repeat}
        )
        for cell in reversed(asked)
        for repeat in (1, 0)
    ]
    ordered = [(r.experiment, r.target, r.repeat) for r in sorted(made, key=ask.place)]
    assert ordered == [(c.name, c.target.name, n) for c in asked for n in (0, 1)]


def test_the_exit_code_is_that_of_the_same_results_in_sequence() -> None:
    asked = cells_of("control", "channel", "redis")
    ask = _Ask(
        *(Asked(experiments=["control"]), wanted_of(asked), [LOCAL], 1, CATALOGUE),
        *(None, None, None, None),
    )
    ready = [Placed(cell, LOCAL) for cell in asked]
    for verdicts, code in (
        (("pass", "pass"), ExitCode.WITHIN_BUDGET),
        (("pass", "fail"), ExitCode.OVER_BUDGET),
        (("inconclusive", "fail"), ExitCode.INCONCLUSIVE),
    ):
        outcome = dict(zip(("channel", "redis"), verdicts, strict=True))
        make = Processes(lambda _, e, o=outcome: result_of(e, verdict=Verdict(o[e.target])))
        replaced = replace(ask, wanted=replace(ask.wanted, named=[]))
        assert _code(replaced, ready, all_of(beside_of(jobs_for(*asked), make)), []) is code


def test_without_a_terminal_each_line_names_its_cell() -> None:
    out = io.StringIO()
    at = Progress("load", 0.5, acked=3)
    console = Console(file=out, force_terminal=False, width=140)
    with (
        Screen(console) as screen,
        screen.narrator("1/2 a × b") as one,
        screen.narrator("2/2 c × d") as two,
    ):
        one.progress(at)
        two.progress(at)
        two.say("pass: fine")
    lines = out.getvalue().splitlines()
    assert [line.split("s ", 1)[1] for line in lines] == [
        "1/2 a × b  load (50%): acked 3",
        "2/2 c × d  load (50%): acked 3",
        "2/2 c × d  pass: fine",
    ]
    assert "\x1b" not in out.getvalue()


COUNTS = ("sent 123,456 of 180,000", "acked 110,987", "refused 12,345", "queue 10,000")
FULL = Progress(
    phase="load",
    done=0.5,
    left_s=61.0,
    rate_asked_per_s=20_000,
    rate_kept_per_s=19_876.5,
    sent=123_456,
    planned=180_000,
    acked=110_987,
    refused=12_345,
    queue_length=10_000,
    faults=("latency holds for 3 s more", "partition waits for queue_length >= 1500"),
)


@pytest.mark.parametrize("width", [*range(60, 130), 160, 200, 400])
@pytest.mark.parametrize("title", ["1/2 a × b", "12/144 broker-partition-without-acks × your-own"])
def test_no_width_cuts_a_figure_of_a_run_that_goes_on(title: str, width: int) -> None:
    screen = Screen(Console(file=io.StringIO(), force_terminal=True))
    every = [f"{name} {value}" for name, value in figures(FULL)]
    for beside in ("1/2 c × d", title):
        screen.show(Going(beside, "load (50%)", figures(FULL)))
    plain = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=width)
    with plain.capture() as captured:
        plain.print(screen.lines())
    text = captured.get()
    assert all(cell_len(line) <= width for line in text.splitlines())
    assert "…" not in text
    shown = [part for line in text.splitlines() for part in re.split(", |: |  ", line) if part]
    for whole in (title, "load (50%)", *COUNTS):
        assert whole in shown, text
    assert set(shown) <= {"1/2 c × d", title, "load (50%)", *every}
    if width == 400:
        assert set(every) <= set(shown)
        assert len(text.splitlines()) == 2


def test_a_terminal_has_one_line_for_each_run_that_goes_on() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    plain = Console(file=io.StringIO(), width=80)

    def shown() -> list[str]:
        with plain.capture() as captured:
            plain.print(screen.lines())
        return captured.get().splitlines()

    with Screen(console) as screen:
        with screen.narrator("1/2 a × b") as one, screen.narrator("2/2 c × d") as two:
            one.progress(Progress("load", 0.5, acked=3, refused=4, sent=123_456, queue_length=7))
            assert shown()[1] == "2/2 c × d  waits for its turn"
            two.starts()
            first, second = shown()
            assert first == ("1/2 a × b  load (50%): sent 123,456, acked 3, refused 4, queue 7")
            assert second == "2/2 c × d  starting"
        assert shown() == []
