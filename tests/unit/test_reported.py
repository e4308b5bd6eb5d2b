"""Known reports: each is data that can be run, and the page says what was seen and no more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lossmeter.commands import reported
from lossmeter.errors import ExitCode, UsageError
from lossmeter.model import Counts, Verdict
from lossmeter.plan.catalogue import Catalogue, cells
from lossmeter.plan.project import Project
from lossmeter.report.reported import reported_page
from lossmeter.run.admission import check
from lossmeter.studies.reported import Report, plan_of, read_reports, rows_of
from lossmeter.studies.standing import Entry, Made, State, pending
from lossmeter.world.runtimes.local import RUNTIME
from tests.support.boards import kept
from tests.support.ended import ended_with
from tests.support.pages import squeezed

ABOUT = {"runtime": "local", "machine": "cores 2", "commit": "abc"}


@pytest.fixture
def catalogue(project: Path) -> Catalogue:
    return Catalogue(Project.of(project))


def _made(entry: Entry, repeat: int = 0, **counts: int) -> Made:
    return kept(entry, Counts(sent=1200, acked=1200, **counts), repeat=repeat)


def _row(page: str, name: str) -> str:
    (row,) = [line for line in squeezed(page).splitlines() if line.startswith(f"| {name} ")]
    return row


def test_each_report_is_asked_by_an_experiment_or_says_why_not(catalogue: Catalogue) -> None:
    reports = read_reports(catalogue)
    named = {"celery-4354", "celery-5410", "celery-7924", "celery-3541", "kombu-1733", "rq-1716"}
    named |= {"rq-2236", "taskiq-redis-130", "taskiq-redis-127", "faststream-2999"}
    assert named | {"procrastinate-1518", "bullmq-4378"} <= set(reports)
    for name, report in reports.items():
        assert not report.url or report.url.rpartition("/")[2] in name.split("-")
    plan = plan_of(catalogue, [])
    assert len(plan.entries) == len({entry.digest for entry in plan.entries}) >= 6
    refused = [why for entry in plan.entries if (why := check(entry.cell, RUNTIME)) is not None]
    assert refused == []


def test_anyone_can_run_each_experiment_by_its_file(catalogue: Catalogue, project: Path) -> None:
    folder = project / "experiments" / "reported"
    asked = {(entry.column, entry.target) for entry in plan_of(catalogue, []).entries}
    files = {path.stem for path in folder.glob("*.toml")} - {"reports"}
    assert files == {column for column, _ in asked}
    for name in files:
        path = f"experiments/reported/{name}.toml"
        (cell,) = cells(catalogue, catalogue.experiment(path), [], [])
        assert (name, cell.target.name) in asked
        assert cell.experiment.by_name_only
        assert cell.budget is not None


def test_what_nobody_ran_is_not_measured(catalogue: Catalogue) -> None:
    state = State()
    page = reported_page(rows_of(catalogue, state), plan_of(catalogue, []), ABOUT)
    for name, report in read_reports(catalogue).items():
        row = _row(page, name)
        assert "| not measured |" in row
        assert "✓" not in row
        assert ("cannot be asked yet" in row) == bool(report.why_not)
    assert "seeds –" in page
    assert "(https://github.com/celery/celery/issues/4354)" in page


def test_a_report_is_seen_by_its_own_class_of_events(catalogue: Catalogue) -> None:
    plan, state = plan_of(catalogue, []), State()
    entries = {entry.column: entry for entry in plan.entries}
    for run in (
        _made(entries["celery-warm-stop"], 0),
        _made(entries["celery-warm-stop"], 1, lost=2, delivered=1198),
        _made(entries["celery-late-acks"], 0, late=9, delivered=1200),
        _made(entries["taskiq-pending"], 0, delivered=1200),
        _made(entries["taskiq-pending"], 1, delivered=1200),
        _made(entries["taskiq-pending"], 2, delivered=1200),
        _made(entries["rq-stop-in-dequeue"], 0, stranded=1, delivered=1199),
        _made(entries["bullmq-outage"], 0, lost=5, delivered=1195),
    ):
        state.add(run)
    page = reported_page(rows_of(catalogue, state), plan, ABOUT)
    # Two reports are asked by one experiment, and both show what it showed.
    for name in ("celery-4354", "kombu-1733"):
        assert "lost 2 of 1,200 acked (2 acked before the fault) | ✓ in 1 of 2 runs |" in _row(
            page, name
        )
    assert "| ✓ in 1 of 1 run |" in _row(page, "celery-7924")
    assert "| no, in 1 run of 3 |" in _row(page, "celery-3541")
    assert "| 0 | no, in 3 runs |" in _row(page, "taskiq-redis-130")
    assert "1 stranded without an owner) | ✓ in 1 of 1 run |" in _row(page, "rq-2236")
    # Lost is worse than held, and yet not what was reported.
    assert "| no, in 1 run of 3 |" in _row(page, "bullmq-4378")
    assert "bullmq 5.81.5" in _row(page, "bullmq-4378")
    assert re.search(r"Runtime local, seeds 7\. cores 2\. Written at commit abc\.", page)


def test_a_run_that_was_not_judged_shows_nothing_and_is_made_again(catalogue: Catalogue) -> None:
    plan, state = plan_of(catalogue, ["rq-2236"]), State()
    (entry,) = plan.entries
    run = _made(entry, lost=3)
    state.add(run.model_copy(update={"verdict": Verdict.INCONCLUSIVE}))
    page = reported_page(rows_of(catalogue, state), plan, ABOUT)
    assert "| not measured | not measured |" in _row(page, "rq-2236")
    assert len(pending(plan, state)) == plan.repeats


def test_wrong_reports_are_refused(catalogue: Catalogue, project: Path) -> None:
    with pytest.raises(UsageError, match="report 'celery' does not exist"):
        plan_of(catalogue, ["celery"])
    with pytest.raises(ValueError, match="either experiment and target, or why_not"):
        Report(of="1", says="so")
    with pytest.raises(ValueError, match="String should match pattern"):
        Report(of="1", says="so", why_not="none", url="https://x.example/)[y](z")
    file = project / "experiments" / "reported" / "reports.toml"
    file.write_text('[one]\nof = "1"\n', encoding="utf-8")
    with pytest.raises(UsageError, match=r"reports.toml: one: says: "):
        read_reports(catalogue)


def test_without_time_the_page_is_written_and_nothing_is_run(project: Path) -> None:
    given = {"report": ["rq-2236"], "within_min": 0.0}
    assert ended_with(reported.command, **given) == ExitCode.NOTHING_JUDGED
    page = (project / "results" / "reported.md").read_text(encoding="utf-8")
    assert "celery-4354" in page
    assert str(project) not in page
