"""Files and folders that are closed to who runs a command: one sentence, and never a verdict."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ordinary
from tests.support.attached import attached, run_attached, to_file
from tests.support.odd_project import run_short
from tests.support.program import Done
from tests.support.sealed_runs import sealed

NAME = "20260101T000000Z-crash-1"
STORE = '[persisted]\nkind = "jsonl"\nfile = "kept.jsonl"\npayload = "payload"\n'


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ordinary.check()
    return sealed(tmp_path_factory.mktemp("whole"), NAME)


@pytest.fixture
def home() -> Iterator[Path]:
    """A project of an ordinary user's."""
    ordinary.check()
    with ordinary.own_folder() as folder:
        yield folder


@pytest.fixture
def run(whole: Path, home: Path) -> Path:
    folder = home / "results" / "runs" / NAME
    shutil.copytree(whole, folder)
    ordinary.give(home)
    return folder


def told(done: Done) -> str:
    """Return what a command said, which is no traceback."""
    said = " ".join((done.out + done.err).split())
    assert "Traceback" not in said, said
    return said


def refused(done: Done, code: int = 4) -> str:
    """Return the sentence of a command that was refused before anything was started."""
    assert done.code == code, done.out + done.err
    _, error, sentence = told(done).partition("error: ")
    assert error
    return sentence


def test_an_ordinary_user_may_judge_the_run_of_these_tests(run: Path, home: Path) -> None:
    done = ordinary.lossmeter(home, "gate", str(run))
    # It is too small for the budget in force.
    assert (done.code, "only 40 events were sent" in told(done)) == (7, True)


@pytest.mark.parametrize("closed", ["facts.json", "journal-0.bin", "all", "."])
def test_a_closed_file_of_a_run_gives_no_verdict(run: Path, home: Path, closed: str) -> None:
    for path in run.iterdir() if closed == "all" else [run / closed]:
        path.chmod(0)
    for command in ("report", "gate", "explain", "compare"):
        done = ordinary.lossmeter(home, command, str(run))
        told(done)
        if command == "gate":
            assert done.code in {3, 4}, done.out + done.err
    told(ordinary.lossmeter(home, "history"))


@pytest.mark.parametrize("closed", ["results", "results/runs"])
def test_a_folder_in_which_no_run_can_be_made_is_named(home: Path, closed: str) -> None:
    with attached(to_file(home / "kept.jsonl")) as dispatcher:
        ask = run_attached(home, dispatcher.port, STORE)
        (home / closed).mkdir(parents=True)
        ordinary.give(home)
        (home / closed).chmod(0o555)
        done = ordinary.lossmeter(home, *ask)
    assert "Permission denied" in refused(done)


@pytest.mark.parametrize("mode", [0o000, 0o555])
def test_a_closed_cache_is_named(home: Path, mode: int) -> None:
    arguments = run_short(home)
    cache = home / "cache"
    cache.mkdir()
    ordinary.give(home)
    cache.chmod(mode)
    done = ordinary.lossmeter(home, *arguments, LOSSMETER_CACHE=str(cache))
    # An entry of the cache that cannot be made is an error of its own.
    assert str(cache) in refused(done, 3)


@pytest.mark.parametrize("name", ["aside", "put-aside"])
def test_a_closed_folder_beside_a_run_hides_it_from_no_command(
    run: Path, home: Path, name: str
) -> None:
    (closed := run.with_name(name)).mkdir()
    ordinary.give(home)
    closed.chmod(0)
    done = ordinary.lossmeter(home, "gate", "--junit", "junit.xml")
    assert f"damaged: {name}" in told(done)
    assert "only 40 events were sent" in told(done)
    assert name in (home / "junit.xml").read_text()


@pytest.mark.parametrize("closed", [".", "facts.json", "all"])
def test_beside_a_closed_run_the_others_are_judged_and_junit_is_written(
    run: Path, home: Path, closed: str
) -> None:
    other = run.with_name("20260102T000000Z-crash-1")
    shutil.copytree(run, other)
    ordinary.give(home)
    for path in run.iterdir() if closed == "all" else [run / closed]:
        path.chmod(0)
    done = ordinary.lossmeter(home, "gate", str(run), str(other), "--junit", "junit.xml")
    assert done.code in {3, 4, 7}, done.out + done.err
    assert "only 40 events were sent" in told(done)
    junit = (home / "junit.xml").read_text()
    assert run.name in junit
    assert "only 40 events were sent" in junit
    assert "inconclusive" in told(ordinary.lossmeter(home, "report", str(run), str(other)))


@pytest.mark.parametrize("closed", ["attached.toml", "short.py", "out", "sources"])
def test_a_file_or_folder_that_is_closed_is_named_before_anything_is_started(
    home: Path, closed: str
) -> None:
    sources, out = home / "sources", home / "out"
    sources.mkdir()
    out.mkdir()
    ask = run_attached(sources, 1, STORE)
    ordinary.give(home)
    path = home / closed if (home / closed).exists() else sources / closed
    path.chmod(0o555 if closed == "out" else 0)
    done = ordinary.lossmeter(home, *ask, "--json", str(out / "told.json"))
    assert "Permission denied" in (said := refused(done)), said
    assert closed in said
    assert not (home / "results").exists()
