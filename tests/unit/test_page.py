"""The page of a run: what it says, what it does when parts are missing, how large it gets."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from lossmeter.errors import UsageError
from lossmeter.judge.verdict import judge_run
from lossmeter.model import Counts
from lossmeter.record.facts import Facts
from lossmeter.record.marks import save_marks
from lossmeter.report import words
from lossmeter.report.page import run_page
from lossmeter_dispatcher.events import Event
from lossmeter_dispatcher.stages import FileMarks, Stage
from tests.support.pages import MARKUP, Seen
from tests.support.resealed import resealed
from tests.support.run_folders import SECOND, START, Written, page_of, save_page_of


@pytest.fixture
def lossy(tmp_path: Path) -> Path:
    return Written(tmp_path / "20261125T000000Z-crash-1", lost=40, refused=20).save()


def test_the_verdict_comes_first(lossy: Path) -> None:
    text = Seen(page_of(lossy)).text
    assert "crash on channel: 40 of 980 acked events lost (4.1 %)" in text
    assert text.index("pass") < text.index("Budget") < text.index("Timeline")
    for part in ("Latency of acked events", "Lost events", "Predicted beside measured"):
        assert part in text
    for part in ("Ledger", "Evidence", "waitpid", "Environment", "PostgreSQL 18", "Budget"):
        assert part in text
    assert "One dot for each lost event" in text
    assert re.search(r"43 ± 5\s*40\s*−3", text), "the prediction stands beside the measurement"


def test_it_needs_nothing_from_outside_and_runs_nothing(lossy: Path) -> None:
    seen = Seen(page_of(lossy))
    assert "script" not in seen.tags
    assert "link" not in seen.tags
    outside = [
        value
        for name in ("src", "href", "xlink:href", "action")
        for value in seen.values(name)
        if not value.startswith("#")
    ]
    assert not outside
    assert not [name for name, _ in seen.attributes if name.startswith("on")]


def test_it_can_be_read_aloud(lossy: Path) -> None:
    page = page_of(lossy)
    seen = Seen(page)
    assert seen.tags.count("h1") == 1
    assert seen.tags.count("table") == seen.tags.count("caption")
    assert page.count("<th ") == page.count("<th scope=")
    assert seen.tags.count("svg") == seen.tags.count("desc") == 6
    assert len([label for label in seen.values("aria-label") if len(label) > 40]) == 6
    identities = seen.values("id")
    assert len(identities) == len(set(identities)), "an id stands for one thing"
    assert 'lang="en"' in page


def test_colours_follow_the_reader(lossy: Path) -> None:
    page = page_of(lossy)
    assert "prefers-color-scheme: dark" in page
    pictures = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert not re.findall(r"#[0-9a-f]{6}", pictures)
    assert "var(--accent)" in pictures


def test_markup_in_data_stays_text(tmp_path: Path) -> None:
    folder = Written(
        tmp_path / "run", experiment=MARKUP, target=f"$x^2$ {MARKUP}", lost=5, text=MARKUP
    ).save()
    alert = {"name": MARKUP, "severity": MARKUP, "fired_ns": START + SECOND}
    (folder / "alerts.json").write_text(json.dumps([alert]))
    seen = Seen(page_of(folder))
    assert "script" not in seen.tags
    assert "img" not in seen.tags
    assert MARKUP in seen.text
    assert "$x^2$" in seen.text


def test_markup_in_an_error_stays_text(tmp_path: Path) -> None:
    folder = Written(tmp_path / "run").save()
    facts = Facts.load(folder)
    facts.problem = f"invalid input syntax for type bigint: {MARKUP}"
    facts.save(folder)
    judge_run(resealed(folder)).save(folder)
    seen = Seen(page_of(folder))
    assert f"bigint: {MARKUP}" in seen.text
    assert not {"script", "img"} & set(seen.tags)


def test_alerts_are_marked(lossy: Path) -> None:
    fired = {"name": "QueueFull", "severity": "critical", "fired_ns": START + 3 * SECOND}
    (lossy / "alerts.json").write_text(json.dumps([{**fired, "ended_ns": START + 4 * SECOND}]))
    seen = Seen(page_of(resealed(lossy)))
    assert "▲ QueueFull" in seen.text
    assert "Alert QueueFull at 3.0 s" in " ".join(seen.values("aria-label"))
    assert re.search(r"QueueFull\s*critical\s*3\.00 s\s*4\.00 s", seen.text)


def _fault(folder: Path, **changes: object) -> str:
    """Change the fault of a run, judge it again, and return what its timeline says of it."""
    facts = Facts.load(folder)
    facts.faults = [record.model_copy(update=changes) for record in facts.faults]
    facts.save(folder)
    judge_run(resealed(folder)).save(folder)
    reported = re.search(r"Fault sigkill from [\d.]+ s to [\d.]+ s", page_of(folder))
    assert reported is not None
    return reported[0]


def test_a_fault_is_shaded_no_longer_than_the_recovery_that_is_shown(lossy: Path) -> None:
    assert _fault(lossy, healed_ns=START + 9 * SECOND) == "Fault sigkill from 5.00 s to 9.00 s"
    result = judge_run(lossy).model_copy(update={"recovery_s": 1.5})
    assert "Fault sigkill from 5.00 s to 6.50 s" in run_page(lossy, result)


def test_what_is_only_taken_back_after_the_load_is_a_moment(lossy: Path) -> None:
    """A full queue is watched until all has settled; it is not a fault of that length."""
    reported = _fault(
        lossy, condition=None, struck_ns=START + 6 * SECOND, healed_ns=START + 60 * SECOND
    )
    assert reported == "Fault sigkill from 6.00 s to 6.00 s"


def test_every_class_is_explained_in_a_line(lossy: Path) -> None:
    text = Seen(page_of(lossy)).text
    for name, meaning in words.MEANINGS.items():
        if name in Counts().as_dict():
            assert re.search(
                rf"{words.measure_name(name)}\s*(?:[\d,]+|not measured)\s*{re.escape(meaning)}",
                text,
            )


def _marked(folder: Path, queued: int, taken: int) -> None:
    """Have a dispatcher mark the lost events of a run, as it leaves them, and judge again."""
    marks = FileMarks(folder / "target", "b" * 32, survives=False, capacity=1000)
    for place in range(500 - queued - taken, 500):
        event = Event(producer=place % 8, sequence=place // 8)
        marks.mark(event, Stage.QUEUED)
        if place >= 500 - taken:
            marks.mark(event, Stage.TAKEN)
    save_marks(folder)
    facts = Facts.load(folder)
    facts.stages_marked = True
    facts.save(folder)
    judge_run(resealed(folder)).save(folder)


def test_lost_events_lie_by_stage_where_stages_are_marked(lossy: Path) -> None:
    _marked(lossy, queued=30, taken=10)
    seen = Seen(page_of(lossy))
    assert "by stage" in seen.text
    assert re.search(r"when they were lost\s*queued\s*30\s*in hand\s*10\s*together\s*40", seen.text)
    pictures = re.findall(r"<svg.*?</svg>", page_of(lossy), re.DOTALL)
    assert sum(">queued<" in picture and ">in hand<" in picture for picture in pictures) == 2


def test_lost_events_are_placed_by_time_and_among_their_producers(lossy: Path) -> None:
    text = Seen(page_of(lossy)).text
    assert "died of" not in text
    assert re.search(r"under way\s*acked before the fault\s*40\s*together\s*40", text)
    place = r"first delivered one\s*0\s*between delivered ones\s*40\s*after .* one\s*0\s*"
    assert re.search(place + r"together\s*40", text)


def test_what_the_proof_of_the_ledger_cost_is_shown(lossy: Path) -> None:
    result = judge_run(lossy)
    assert "It took" not in Seen(run_page(lossy, result)).text
    timed = result.model_copy(update={"timings_s": {"total": 12.5, "self_proof": 0.025}})
    assert "It took 25.0 ms, 0.2 % of the run's time." in Seen(run_page(lossy, timed)).text


def test_a_run_without_loss_says_so(tmp_path: Path) -> None:
    text = Seen(page_of(Written(tmp_path / "run").save())).text
    assert "none of 1,000 acked events was lost" in text
    assert "each of 1,000 acked events was persisted" in text


def test_damaged_journals_leave_a_page_that_says_so(lossy: Path) -> None:
    (lossy / "journal-0.bin").write_bytes(b"nonsense")
    text = Seen(page_of(resealed(lossy))).text
    assert "What cannot be shown" in text
    assert "is not a journal" in text
    assert "Timeline" not in text


def test_missing_rows_are_no_loss(lossy: Path) -> None:
    (lossy / "rows.npy").unlink()
    text = Seen(page_of(resealed(lossy))).text
    assert "What was persisted cannot be read" in text
    assert "Timeline" in text
    assert "One dot" not in text


def test_data_that_contradict_the_verdict_are_told(lossy: Path) -> None:
    result = judge_run(lossy)
    edited = result.model_copy(update={"counts": replace(result.counts, lost=0)})
    assert "show 40 lost events and the saved verdict 0" in Seen(run_page(lossy, edited)).text


def test_torn_probe_lines_are_counted(lossy: Path) -> None:
    with (lossy / "probe.jsonl").open("a") as sink:
        sink.write('{"answered_ns": 1')
    assert "Of the health probe 1 sample cannot be read" in Seen(page_of(lossy)).text


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"not the folder of a run"):
        page_of(tmp_path)


def test_a_result_that_was_edited_is_not_shown(lossy: Path) -> None:
    (lossy / "result.json").write_text("{}")
    assert "40 of" in Seen(page_of(lossy)).text


def test_a_run_that_sent_nothing_has_a_page(tmp_path: Path) -> None:
    text = Seen(page_of(Written(tmp_path / "run", events=0, fault=False).save())).text
    assert "inconclusive" in text
    assert "the loss was not measured" in text


def test_a_million_events_make_a_small_page(tmp_path: Path) -> None:
    """How long it takes is measured by ``make bench-page``."""
    folder = Written(
        tmp_path / "run", events=1_000_000, rate_per_s=2000, lost=200_000, marked=True
    ).save()
    path = save_page_of(folder)
    assert path.stat().st_size < 3 * 2**20
    text = path.read_text()
    assert "for 200,000 lost events" in text
    assert "by stage" in text
    seen = Seen(text)
    assert re.search(r"queued\s*199,995\s*in hand\s*5", seen.text)
