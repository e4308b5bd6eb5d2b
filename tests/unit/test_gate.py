"""The gate on runs written by hand: it fails on losses, and on what is not there."""

from __future__ import annotations

import json
import os
import shutil
import socket
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import xmlschema

from lossmeter.plan.budget import Budget
from lossmeter.record import files
from tests.support.recorded_runs import plain_budgets, record
from tests.support.resealed import resealed
from tests.support.typed import Typed, typed

SCHEMA = xmlschema.XMLSchema(str(Path(__file__).resolve().parents[1] / "junit.xsd"))
CONTROL = ("channel", "redis-list", "redis", "kafka")
MARKUP = "<b>\x1b[31m|`a`|</b>\n::error::x\x00"


@pytest.fixture(autouse=True)
def _budgets(project: Path) -> None:
    plain_budgets(project)


def gate(capsys: pytest.CaptureFixture[str], project: Path, *arguments: str) -> Typed:
    """Run the gate, and hold its JUnit file to the schema."""
    done = typed(capsys, "gate", *arguments)
    SCHEMA.validate(str(project / "results" / "junit.xml"))
    return done


def cases(project: Path) -> dict[str, ET.Element]:
    root = ET.parse(project / "results" / "junit.xml").getroot()
    return {f"{c.get('classname')} {c.get('name')}": c for c in root.iter("testcase")}


def test_runs_within_their_budget_pass(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(project, "20260101T000000Z-crash-1")
    done = gate(capsys, project)
    assert done.code == 0, done.err
    assert "gate passed: 1 pass (exit code 0)" in done.err
    (case,) = cases(project).values()
    assert [child.tag for child in case] == ["system-out"]


def test_a_planted_loss_fails_with_reason_and_loss(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(project, "20260101T000000Z-crash-1", lost=3)
    done = gate(capsys, project)
    assert done.code == 1
    failure = cases(project)["lossmeter.crash channel [local]"].find("failure")
    assert failure is not None
    assert failure.get("message") == "lost 3 is above the budget of 0"
    assert failure.get("type") == "fail"
    assert "lost 3, duplicated 0" in str(failure.text)
    assert "budget max_lost = 0" in str(failure.text)


def test_what_was_asked_for_and_has_no_run_fails(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(project, "20260101T000000Z-control-1", experiment="control", faults=[])
    done = gate(capsys, project, "--experiment", "control")
    assert done.code == 5
    found = cases(project)
    assert len(found) == len(CONTROL)
    assert found["lossmeter.control channel [local]"].find("error") is None
    error = found["lossmeter.control kafka [any]"].find("error")
    assert error is not None
    assert error.get("type") == "missing"
    assert gate(capsys, project, "-e", "control", "-t", "channel").code == 0
    assert gate(capsys, project, "-e", "control", "-t", "channel", "--runtime", "docker").code == 5


def test_each_variant_must_have_a_run(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(project, "20260101T000000Z-crash-1")
    asked = ("-e", "crash", "-t", "channel")
    assert "crash-full" in gate(capsys, project, *asked).out
    assert gate(capsys, project, *asked).code == 5
    assert gate(capsys, project, *asked, "--variant", "default").code == 0


def test_no_runs_at_all_is_nothing_judged(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = gate(capsys, project)
    assert done.code == 5
    assert "gate failed: nothing judged" in done.err


def test_old_runs_do_not_count(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begun = datetime.now(UTC) - timedelta(hours=3)
    record(project, f"{begun:%Y%m%dT%H%M%SZ}-crash-1")
    record(project, "unnamed-run")
    asked = ("-e", "crash", "-t", "channel", "--variant", "default", "--max-age-h")
    assert gate(capsys, project, *asked, "4").code == 0
    done = gate(capsys, project, *asked, "2")
    assert done.code == 5
    assert "no run of it is recorded since" in done.out


def test_the_newest_run_of_each_decides(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = record(project, "20260101T000000Z-crash-1", lost=3)
    record(project, "20260102T000000Z-crash-1")
    assert gate(capsys, project).code == 0
    assert gate(capsys, project, old.name).code == 1
    both = gate(capsys, project, old.name, "20260102T000000Z-crash-1")
    assert both.code == 1
    assert set(cases(project)) == {
        "lossmeter.crash channel [local]",
        "lossmeter.crash channel [local] #2",
    }


def test_a_copy_hides_no_other_copy_of_a_run(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = record(project, "20260101T000000Z-crash-1")
    altered = good.with_name("20260102T000000Z-crash-1")
    shutil.copytree(good, altered)
    shutil.copytree(good, good.with_name("baseline-crash-1"))
    assert gate(capsys, project).code == 0
    rows = np.load(altered / "rows.npy")
    np.save(altered / "rows.npy", rows[:-10])
    assert gate(capsys, project).code != 0


def test_doubt_and_failure_of_the_instrument_outweigh_a_loss(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(project, "20260101T000000Z-crash-1", lost=3)
    record(project, "20260101T000001Z-crash-1", target="redis", settled=False)
    assert gate(capsys, project).code == 7
    record(project, "20260101T000002Z-crash-1", target="kafka", problem="the disk burned")
    done = gate(capsys, project)
    assert done.code == 3
    found = cases(project)
    assert found["lossmeter.crash redis [local]"].find("error") is not None
    assert found["lossmeter.crash kafka [local]"].find("error") is not None


def test_a_run_that_was_cut_short_is_told_of_until_a_later_one_is_whole(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = record(project, "20260102T000000Z-crash-1")
    (folder / "facts.json").unlink()
    record(project, "20260101T000000Z-crash-1")
    done = gate(capsys, project)
    assert done.code == 3
    assert "damaged: 20260102T000000Z-crash-1: " in done.out
    record(project, "20260103T000000Z-crash-1")
    assert gate(capsys, project).code == 0


def test_a_damaged_run_counts_until_all_that_it_may_have_been_is_run_again(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(project, "20260101T000000Z-crash-1", target="redis")
    failed = record(project, "20260102T000000Z-crash-1", target="redis", lost=5)
    (failed / "facts.json").write_text("{}")
    record(project, "20260103T000000Z-crash-1", target="channel")
    done = gate(capsys, project)
    assert done.code == 3
    assert "damaged: 20260102T000000Z-crash-1: " in done.out
    assert gate(capsys, project, "--target", "channel").code == 0
    record(project, "20260104T000000Z-crash-1", target="redis")
    assert gate(capsys, project).code == 0


@pytest.mark.parametrize("place", ["20260102T000000Z-crash-1", "aside"])
def test_a_run_under_another_name_still_counts(
    project: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    record(project, "20260101T000000Z-crash-1")
    failed = record(project, "20260102T000000Z-crash-1", lost=5)
    failed.rename(failed.with_name(place))
    assert gate(capsys, project).code == 1


@pytest.mark.parametrize("leads_to", ["outside", "nowhere", "20260102T000000Z-crash-1"])
def test_a_link_in_the_place_of_a_run_hides_none(
    project: Path, capsys: pytest.CaptureFixture[str], leads_to: str
) -> None:
    record(project, "20260101T000000Z-crash-1")
    failed = record(project, "20260102T000000Z-crash-1", lost=5)
    failed.rename(project / "outside")
    failed.symlink_to(project / leads_to)
    done = gate(capsys, project)
    assert done.code == 3
    assert "20260102T000000Z-crash-1: it is a link, and no folder of a run" in done.out


def test_a_link_to_a_run_beside_it_is_that_run(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = record(project, "20260101T000000Z-crash-1")
    (run.parent / "latest-run").symlink_to(run.name)
    assert gate(capsys, project).code == 0


def test_rows_that_are_gone_are_no_pass_and_no_zero(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = record(project, "20260101T000000Z-crash-1")
    (folder / "rows.npy").unlink()
    resealed(folder)
    summary = project / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    done = gate(capsys, project)
    assert done.code == 3
    assert "rows.npy: No such file or directory" in " ".join(done.out.split())
    row = next(line for line in done.out.splitlines() if line.startswith("crash "))
    assert row.split()[2:7] == ["–"] * 5
    assert row.split()[-1] == "error"
    assert "| crash | channel | local | – | – | – | – | 💥 error |" in summary.read_text()
    (case,) = cases(project).values()
    error = case.find("error")
    assert error is not None
    assert "sent not measured, acked not measured" in str(error.text)


def test_other_budgets_judge_without_changing_what_is_recorded(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = record(project, "20260101T000000Z-crash-1", lost=3, budget=Budget(max_lost=5))
    before = (folder / "result.json").read_bytes()
    strict = project / "strict.toml"
    strict.write_text("[crash.channel]\nmax_lost = 2\n")
    done = gate(capsys, project)
    assert done.code == 1, "a bound that a run recorded raises none that is in force"
    assert "judged by max_lost = 0, as in force; recorded: max_lost = 5" in done.err
    loose = project / "loose.toml"
    loose.write_text("[crash.channel]\nmax_lost = 5\n")
    assert gate(capsys, project, "--budgets", str(loose)).code == 0
    assert gate(capsys, project, "--budgets", str(strict)).code == 1
    strict.write_text("")
    assert gate(capsys, project, "--budgets", str(strict)).code == 7
    assert (folder / "result.json").read_bytes() == before


def test_markup_in_names_and_reasons_stays_text(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = project / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    record(project, "20260101T000000Z-crash-1", target=MARKUP, problem=MARKUP)
    done = gate(capsys, project)
    assert done.code == 3
    (command,) = [line for line in done.out.splitlines() if line.startswith("::error ")]
    assert "\x1b[31m|`a`|</b>%0A%3A%3Aerror%3A%3Ax" in command
    assert not [line for line in done.out.splitlines() if line.startswith("::error::")]
    text = summary.read_text()
    assert "<b>" not in text
    row = next(line for line in text.splitlines() if line.startswith("| crash"))
    assert row.replace("\\|", "").count("|") == 9
    (case,) = cases(project).values()
    assert "\ufffd[31m" in str(case.get("name"))


def test_github_is_told_beside_clean_json(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = project / "summary.md"
    summary.write_text("what another step said\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    record(project, "20260101T000000Z-crash-1", lost=3)
    done = gate(capsys, project, "-e", "control", "-t", "channel", "--json", "-")
    assert [each["verdict"] for each in json.loads(done.out)] == ["missing"]
    done = gate(capsys, project, "--json", "-")
    (result,) = json.loads(done.out)
    assert result["counts"]["lost"] == 3
    assert (
        "::error title=crash on channel (local)%3A fail::lost 3 is above the budget of 0"
        in done.err
    )
    text = summary.read_text()
    assert text.startswith("what another step said\n### Events lost: 1 missing")
    assert "| crash | channel | local | 40 | 3 | 0 | 0.0 s | ❌ fail |" in text


def test_a_summary_that_cannot_be_written_changes_no_verdict(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project / "nowhere" / "summary.md"))
    record(project, "20260101T000000Z-crash-1")
    done = gate(capsys, project)
    assert done.code == 0
    assert "cannot be written" in done.err


@pytest.mark.parametrize("kind", ["a FIFO", "a socket", "a loop", "a link to no folder"])
def test_a_summary_that_is_no_file_hangs_nothing(
    project: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    summary = project / "summary"
    if kind == "a FIFO":
        os.mkfifo(summary)
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("summary")
    else:
        summary.symlink_to("summary" if kind == "a loop" else "no/where")
    monkeypatch.setattr(files, "READER_WITHIN_S", 0.1)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    record(project, "20260101T000000Z-crash-1")
    done = gate(capsys, project)
    assert done.code == 0
    assert "cannot be written: " in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere",), "run 'nowhere' does not exist"),
        (("-e", "crahs"), "did you mean 'crash'?"),
        (("-e", "crash", "-e", "crash"), "named 2 times"),
        (("-t", "chanel"), "did you mean 'channel'?"),
        (("--variant", "full"), "says nothing without --experiment"),
        (("--budgets", "none.toml"), "none.toml does not exist"),
        (("--json", "none/x.json"), "folder none does not exist"),
    ],
)
def test_a_wrong_command_line_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    record(project, "20260101T000000Z-crash-1")
    done = typed(capsys, "gate", *arguments)
    assert done.code == 4
    assert said in done.err
    assert "Traceback" not in done.err


def test_an_old_junit_file_never_passes_for_new(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = record(project, "20260101T000000Z-crash-1")
    assert gate(capsys, project, folder.name).code == 0
    shutil.rmtree(folder)
    assert typed(capsys, "gate", folder.name).code == 4
    (case,) = cases(project).values()
    error = case.find("error")
    assert error is not None
    assert "did not come to its end" in str(error.get("message"))


def test_two_outputs_are_two_files(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "link").symlink_to(project)
    outputs = ("--junit", str(project / "out"), "--json", str(project / "link" / "out"))
    done = typed(capsys, "gate", *outputs)
    assert done.code == 4
    assert "--junit and --json both name" in done.err
    assert not (project / "out").exists()
