"""The guides in docs/: every command is typed, and prints what the guide shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import guides
from tests.support.guides import DOCS, ROOT, Answer, Reader, Step

FIRST, OWN = "first-experiment.md", "your-own-dispatcher.md"
# In the order in which they are to be read; each with those whose runs it goes on from.
GUIDES = {
    FIRST: (),
    OWN: (),
    "stores.md": (),
    "reading-a-verdict.md": (FIRST,),
    "how-the-ledger-decides.md": (FIRST,),
    "budgets-in-ci.md": (FIRST,),
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return Reader(guides.clone(tmp_path_factory.mktemp("docs") / "clone"))


def read(reader: Reader, name: str) -> None:
    """Read a guide, and before it those that it goes on from, each once."""
    for before in (*GUIDES[name], name):
        if before not in reader.read:
            hold(list(reader.follow(DOCS / before)))


def hold(answers: list[tuple[Step, Answer]]) -> None:
    """Hold the answers to what the guide shows."""
    assert answers, "a guide without commands"
    follows = [step.command for step, _ in answers[1:]] + [""]
    for (step, answer), then in zip(answers, follows, strict=True):
        printed = f"{step.guide}: $ {step.command}\n{answer.out}\n{answer.err}"
        assert "Traceback" not in answer.err, printed
        if then != guides.ASKS_CODE:
            assert answer.code == 0, printed
        if step.command == guides.ASKS_CODE:
            # Numbers stand for any other in what is shown; not this one.
            assert (answer.out.strip(),) == step.shown, printed
        assert guides.unlike(step, answer) == [], printed


@pytest.mark.parametrize("name", GUIDES)
def test_every_command_does_what_the_guide_shows(reader: Reader, name: str) -> None:
    read(reader, name)


def test_the_first_page_shows_what_the_events_died_of(reader: Reader) -> None:
    read(reader, FIRST)
    pages = sorted((reader.folder / "results" / "runs").glob("*Z-crash-1/report.html"))
    page = pages[0].read_text(encoding="utf-8")
    assert "One dot for each lost event" in page
    assert "by stage" in page


def test_no_command_of_any_page_is_left_out() -> None:
    for path in DOCS.glob("*.md"):
        fenced = "".join(
            re.findall(r"^```.*?^```$", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)
        )
        typed = re.findall(r"^(?:\$ |make |lossmeter |\.venv/bin/).*", fenced, re.MULTILINE)
        known = guides.steps(path) if path.name in GUIDES else []
        assert len(typed) == len(known), f"{path.name}: {typed}"


@pytest.mark.parametrize("name", GUIDES)
def test_files_that_a_guide_shows_are_those_it_uses(name: str) -> None:
    files = {path.read_text(encoding="utf-8") for path in _examples()}
    for language in ("python", "toml"):
        for block in guides.blocks(DOCS / name, language):
            assert any(block.strip() in text for text in files), f"{name} shows:\n{block}"


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted(DOCS.glob("*.md"))], ids=str)
def test_every_link_leads_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8")):
        assert link.startswith("https://") or (path.parent / link).exists(), link


def _examples() -> list[Path]:
    return [path for path in sorted((DOCS / "examples").rglob("*.*")) if path.is_file()]


# What would make the test of the guides say nothing.


def test_a_word_that_is_not_printed_is_found(tmp_path: Path) -> None:
    guide = tmp_path / "guide.md"
    guide.write_text(
        "```console\n$ echo one 1; echo two 2 >&2; echo three\none 7\n…\ntwo 9\nfour\n```\n"
    )
    ((step, answer),) = Reader(tmp_path).follow(guide)
    assert guides.unlike(step, answer) == ["four"]


def test_a_command_that_fails_is_found(tmp_path: Path) -> None:
    guide = tmp_path / "guide.md"
    guide.write_text("```console\n$ (exit 3)\n```\n")
    with pytest.raises(AssertionError):
        hold(list(Reader(tmp_path).follow(guide)))
    guide.write_text("```console\n$ (exit 3)\n$ echo $?\n3\n```\n")
    hold(list(Reader(tmp_path).follow(guide)))
    guide.write_text("```console\n$ (exit 3)\n$ echo $?\n4\n```\n")
    with pytest.raises(AssertionError):
        hold(list(Reader(tmp_path).follow(guide)))
