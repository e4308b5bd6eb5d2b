"""Pages of results are not older than the experiments and targets of their numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lossmeter.commands import results
from lossmeter.errors import ExitCode, UsageError
from lossmeter.plan.catalogue import Catalogue
from lossmeter.plan.project import Project
from lossmeter.studies.board import PAGE, STATE, plan_of
from lossmeter.studies.pages import FILE, age, basis, basis_of, made_now, note
from lossmeter.studies.standing import State

ROOT = Path(__file__).resolve().parents[2]
# Pages that were made before digests were kept. It may only become less: lower it when it does.
WITHOUT_DIGEST = 18


def test_no_page_is_older_than_what_its_numbers_rest_on() -> None:
    found = age(Catalogue(Project.of(ROOT)), ROOT / "results")
    named = [str(page.relative_to(ROOT)) for page in found.stale]
    assert not named, "make these anew: their experiments or targets have changed"


def test_pages_without_a_digest_become_fewer() -> None:
    found = age(Catalogue(Project.of(ROOT)), ROOT / "results")
    named = "\n".join(str(page.relative_to(ROOT)) for page in found.unknown)
    assert len(found.unknown) <= WITHOUT_DIGEST, f"a page lost its digest, one of:\n{named}"
    assert len(found.unknown) == WITHOUT_DIGEST, (
        f"lower WITHOUT_DIGEST to {len(found.unknown)}; still without one:\n{named}"
    )


# What makes a page stale.


@pytest.fixture
def catalogue(project: Path) -> Catalogue:
    return Catalogue(Project.of(project))


def page_in(project: Path, name: str = "README.md") -> Path:
    page = project / "results" / name
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("# Page\n", encoding="utf-8")
    return page


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def kind_of(catalogue: Catalogue, page: Path) -> str:
    found = age(catalogue, catalogue.results)
    kinds = {"current": found.current, "stale": found.stale, "unknown": found.unknown}
    (kind,) = [kind for kind, pages in kinds.items() if page in pages]
    return kind


def test_a_page_is_stale_when_what_it_speaks_of_changes(
    catalogue: Catalogue, project: Path
) -> None:
    page = page_in(project)
    assert kind_of(catalogue, page) == "unknown"
    note(page.parent, [page.name], basis(catalogue, ["crash-full"], ["channel-drain"]))
    assert kind_of(catalogue, page) == "current"
    crash = project / "experiments" / "crash.py"
    change(crash, '"""What is lost', '"""What exactly is lost')
    change(project / "experiments" / "drain.py", "RATE_PER_S = 200", "RATE_PER_S = 201")
    assert kind_of(catalogue, page) == "current", "words, and an experiment that it has not"
    change(crash, "RATE_PER_S = 200", "RATE_PER_S = 201")
    assert kind_of(catalogue, page) == "stale"
    change(crash, "RATE_PER_S = 201", "RATE_PER_S = 200")
    assert kind_of(catalogue, page) == "current"
    # It extends this one.
    change(project / "targets" / "channel.toml", "capacity = 1000", "capacity = 999")
    assert kind_of(catalogue, page) == "stale"


@pytest.mark.parametrize(
    "name", ["dispatcher/lossmeter_dispatcher/core.py", "dispatcher/requirements.lock"]
)
def test_the_dispatcher_counts_for_every_page(
    catalogue: Catalogue, project: Path, name: str
) -> None:
    page = page_in(project)
    note(page.parent, [page.name], basis(catalogue, [], []))
    file = project / "targets" / name
    file.write_text(file.read_text(encoding="utf-8") + "\nMORE = 1\n", encoding="utf-8")
    assert kind_of(catalogue, page) == "stale"


def test_the_code_that_runs_and_judges_makes_no_page_stale(
    catalogue: Catalogue, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page names its commit, and most commits change that code."""
    page = page_in(project)
    note(page.parent, [page.name], basis(catalogue, [], []))
    monkeypatch.setattr("lossmeter.studies.digest._code", lambda: "another")
    assert kind_of(catalogue, page) == "current"


def test_what_is_gone_makes_a_page_stale(catalogue: Catalogue, project: Path) -> None:
    page, bench = page_in(project), project / "bench.py"
    bench.write_text("A = 1\n")
    note(page.parent, [page.name], basis_of(project, [bench]))
    assert kind_of(catalogue, page) == "current"
    bench.unlink()
    assert kind_of(catalogue, page) == "stale"


def test_unknown_names_are_left_out_and_files_named_from_the_project(catalogue: Catalogue) -> None:
    on = basis(catalogue, ["crash with rate=9", "crash"], ["gone", "redis-batch"])
    assert on.files == (
        "experiments/crash.py",
        "targets/channel.toml",
        "targets/dispatcher",
        "targets/redis-batch.toml",
        "targets/redis.toml",
    )


def test_pages_keep_their_digests_beside_each_other(catalogue: Catalogue, project: Path) -> None:
    first, second = page_in(project, "a.md"), page_in(project, "b.md")
    on = basis(catalogue, ["crash"], ["channel"])
    note(first.parent, [first.name], on)
    note(first.parent, [second.name], on)
    assert list(json.loads((first.parent / FILE).read_text())) == ["a.md", "b.md"]
    note(first.parent, [first.name], None)
    assert list(json.loads((first.parent / FILE).read_text())) == ["b.md"]


@pytest.mark.parametrize(
    ("now", "said", "same"),
    [
        ("1a2b3c4d5e6f", ["lossmeter 0.1.0, commit 1a2b3c4d5e6f; cores 2"], True),
        ("1a2b3c4d5e6f", ["1a2b3c4d5e6f", ""], False),
        ("1a2b3c4d5e6f", ["commit 1a2b3c4d5e6f with changes"], False),
        ("1a2b3c4d5e6f with changes", ["1a2b3c4d5e6f with changes"], False),
        (None, ["1a2b3c4d5e6f"], False),
    ],
)
def test_what_was_gathered_over_time_is_of_now_only_at_one_commit_without_changes(
    monkeypatch: pytest.MonkeyPatch, now: str | None, said: list[str], same: bool
) -> None:
    monkeypatch.setattr("lossmeter.studies.pages.commit", lambda: now)
    assert made_now(said) is same


def test_pages_of_runs_and_attacks_are_no_results_and_a_damaged_file_is_named(
    catalogue: Catalogue, project: Path
) -> None:
    page_in(project, "runs/one/table.md")
    page_in(project, "attack/fuzz.md")
    assert not age(catalogue, catalogue.results).unknown
    page = page_in(project)
    (page.parent / FILE).write_text("{", encoding="utf-8")
    with pytest.raises(UsageError, match=r"made\.json is not what lossmeter wrote; remove it"):
        age(catalogue, catalogue.results)


def test_a_board_is_as_old_as_its_oldest_run(catalogue: Catalogue, project: Path) -> None:
    page = page_in(project, f"frameworks/{PAGE}")
    files = plan_of(catalogue).entries[0].files
    run = {"target": "t", "experiment": "e", "repeat": 0, "seed": 1, "run_id": "r", "reason": ""}
    run |= {"verdict": "pass", "counts": {}}
    for kept, kind in ((files, "current"), ("0" * 16, "stale")):
        state = State.model_validate({"made": [run | {"digest": "0" * 16, "files": kept}]})
        (page.parent / STATE).write_text(state.model_dump_json(), encoding="utf-8")
        assert kind_of(catalogue, page) == kind


def test_stale_pages_are_listed_with_an_exit_code(
    catalogue: Catalogue, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = page_in(project)
    assert results._show_age(catalogue, catalogue.results) is ExitCode.WITHIN_BUDGET
    assert "no digest  " in capsys.readouterr().out
    note(page.parent, [page.name], basis(catalogue, ["crash"], ["channel"]))
    change(project / "experiments" / "crash.py", "RATE_PER_S = 200", "RATE_PER_S = 201")
    assert results._show_age(catalogue, catalogue.results) is ExitCode.OVER_BUDGET
    assert capsys.readouterr().out.split() == ["stale", "results/README.md"]
