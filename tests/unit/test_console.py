"""How a run's progress is told, and how answers are counted while the journals grow."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from lossmeter.experiment import Load, Phase
from lossmeter.load.journal import JournalWriter
from lossmeter.model import Status
from lossmeter.record.journal_format import HEADER, RECORD
from lossmeter.record.tally import Tally
from lossmeter.report.console import ConsoleNarrator, LiveLines, figures, plain_line
from lossmeter.run.narrator import Progress

LOADING = Progress(
    phase="load",
    done=0.25,
    left_s=6.4,
    rate_asked_per_s=200,
    rate_kept_per_s=199.6,
    sent=450,
    planned=1800,
    acked=440,
    refused=7,
    queue_length=230,
)


def test_a_plain_line_tells_all_that_is_known() -> None:
    assert plain_line(LOADING) == (
        "load (25%): rate 200/s of 200/s, sent 450 of 1,800, acked 440, refused 7, queue 230, "
        "left 6 s"
    )


def test_what_is_not_known_is_not_told() -> None:
    assert plain_line(Progress("settle", left_s=90.0)) == "settle: left at most 90 s"


def test_a_target_that_does_not_answer_is_told() -> None:
    assert "queue no answer" in plain_line(Progress("load", 0.5, queue_length=3, answers=False))


def test_without_a_terminal_there_are_plain_lines_and_no_controls() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=False, width=140)
    with ConsoleNarrator(console, "crash × [bold]x[/bold]") as narrator:
        narrator.progress(LOADING)
        narrator.progress(LOADING)
        narrator.progress(Progress("settle"))
    text = out.getvalue()
    assert "\x1b" not in text
    assert text.count("load (25%)") == 1, "one line a phase, and then one from time to time"
    assert "settle" in text
    assert "[bold]x[/bold]" in text


def test_on_a_terminal_the_figures_are_live() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=140)
    with ConsoleNarrator(console, "crash × channel") as narrator:
        narrator.progress(LOADING)
        narrator.say("fault sigkill injected")
    text = out.getvalue()
    assert "\x1b[" in text
    assert "fault sigkill injected" in text


@pytest.mark.parametrize("width", [40, 60, 80, 120, 140, 200])
@pytest.mark.parametrize("name", ["[red]channel", "your-own-dispatcher-retry-dlq (rate 12,345)"])
def test_live_lines_fit_any_terminal(width: int, name: str) -> None:
    out = io.StringIO()
    Console(file=out, width=width).print(LiveLines(f"broker-partition × {name}", LOADING))
    lines = out.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    assert "…" not in out.getvalue()
    text = " ".join(out.getvalue().split())
    for whole in ("25%", name.split(maxsplit=1)[0], *(f"{n} {v}" for n, v in figures(LOADING))):
        assert whole in text, text


def test_the_tally_counts_what_was_added(tmp_path: Path) -> None:
    tally = Tally(tmp_path)
    tally.look()
    assert (tally.sent, tally.acked, tally.refused, tally.rate_per_s) == (0, 0, 0, None)
    with JournalWriter(tmp_path / "journal-0.bin", 0, 1, 1, 0) as journal:
        tally.look()
        for n, status in enumerate([Status.ACKED, Status.REFUSED, Status.UNKNOWN, Status.ACKED]):
            journal.intent(0, n, 0, 0, 0)
            journal.outcome(0, n, 0, status, 202)
            tally.look()
        journal.end(0)
    tally.look()
    tally.look()
    assert (tally.sent, tally.acked, tally.refused) == (4, 2, 1)
    assert (tally.rate_per_s or 0) > 0


def test_a_record_that_is_half_there_is_read_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "journal-0.bin"
    with JournalWriter(path, 0, 1, 1, 0) as journal:
        journal.intent(0, 0, 0, 0, 0)
    whole = path.read_bytes()
    path.write_bytes(whole[: HEADER.size + RECORD.size // 2])
    tally = Tally(tmp_path)
    tally.look()
    assert tally.sent == 0
    path.write_bytes(whole)
    tally.look()
    assert tally.sent == 1


def test_several_journals_are_added_up(tmp_path: Path) -> None:
    for shard in range(3):
        with JournalWriter(tmp_path / f"journal-{shard}.bin", shard, 1, 1, 0) as journal:
            journal.intent(shard, 0, 0, 0, 0)
    tally = Tally(tmp_path)
    tally.look()
    assert tally.sent == 3


def test_the_rate_asked_is_that_of_the_phase() -> None:
    load = Load((Phase(100, 2), Phase(500, 1)))
    assert [load.rate_at(at_s) for at_s in (0, 1.9, 2.0, 2.9, 3.0)] == [100, 100, 500, 500, 0]
