"""What doctor says and exits with, whole on a terminal of any width."""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

import lossmeter
from lossmeter.commands import doctor
from lossmeter.commands.doctor import Finding, found_table
from lossmeter.plugins import load, names_in
from lossmeter.world import runtimes
from tests.support.typed import typed

CACHE = "/home/somebody-with-a-name/" + "a-folder-in-which-caches-lie/" * 3 + "lossmeter"
FINDINGS = [
    Finding("memory", False, "1.4 GiB available; Kafka and the others need 2 GiB"),
    Finding("disk", True, f"23.7 GiB free for {CACHE}; LOSSMETER_CACHE names another place"),
    Finding("runtime kubernetes", False, "no cluster is named; see [kubernetes] in lossmeter.toml"),
    Finding("kafka", False, "not here; 4.1.0 is downloaded: 140 MiB", comes=True),
]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_width_cuts_what_was_found(width: int) -> None:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=True, color_system=None).print(
        found_table(FINDINGS)
    )
    text = out.getvalue()
    assert "…" not in text
    assert all(cell_len(line) <= width for line in text.splitlines())
    for figure in ("1.4 GiB", "2 GiB", "23.7 GiB", "4.1.0", "140 MiB"):
        assert re.search(rf"(?<![\w.]){re.escape(figure)}", " ".join(text.split())), figure
    unbroken = re.sub(r"\s+", "", text)
    for finding in FINDINGS:
        assert finding.what.replace(" ", "") in unbroken
        assert finding.mark.replace(" ", "") in unbroken
    assert CACHE in unbroken


def test_what_it_says_is_no_markup() -> None:
    out = io.StringIO()
    Console(file=out, width=120).print(found_table(FINDINGS))
    assert "[kubernetes] in lossmeter.toml" in " ".join(out.getvalue().split())


OK, COMES = Finding("postgres", True, "18"), Finding("redis", False, "not here", comes=True)
LACKING = Finding("postgres", False, "uid 7 has none in /etc/passwd")
NO_MEMORY = Finding("memory", False, "0.1 GiB available")


@pytest.mark.parametrize(
    ("machine", "able", "servers", "code"),
    [
        ([OK], {"local", "docker", "kubernetes"}, [OK], 0),
        ([OK], {"local"}, [OK, COMES], 0),
        ([OK], {"local"}, [COMES, COMES], 0),
        ([OK], {"docker"}, [COMES], 0),
        # In containers all servers run.
        ([OK], {"local", "docker"}, [LACKING], 0),
        ([OK], {"local"}, [LACKING, COMES], 3),
        ([OK], set(), [OK], 3),
        ([NO_MEMORY], {"local", "docker"}, [OK], 3),
    ],
)
def test_what_comes_by_itself_is_no_failure(  # noqa: PLR0913, PLR0917 - a machine and its code
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    machine: list[Finding],
    able: set[str],
    servers: list[Finding],
    code: int,
) -> None:
    monkeypatch.setattr(doctor, "machine_findings", lambda _: machine)
    monkeypatch.setattr(doctor, "service_findings", lambda _: servers)
    for name in names_in(runtimes):
        kind = type(load(runtimes, name, "runtime").RUNTIME)
        why = None if name in able else f"no {name}"
        monkeypatch.setattr(kind, "unavailable", lambda _, why=why: why)
    done = typed(capsys, "doctor")
    assert done.code == code, done.out
    brings = "are downloaded by the first run that needs them"
    assert (brings in " ".join(done.out.split())) is (COMES in servers)


ROOT = Path(__file__).resolve().parents[2]


def _sentences(source: str) -> Iterator[str]:
    """Yield the texts of a module that are no docstrings."""
    tree = ast.parse(source)
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    told = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, holders) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.value


def test_nobody_is_told_to_use_make() -> None:
    """Who installed the wheel has no Makefile of ours."""
    rules = re.findall(r"^([a-z-]+)%?:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert {"kubernetes", "docker-engine", "test"} <= set(rules)
    told = re.compile(rf"`make\b|\bmake (?:{'|'.join(rules)})\b")
    for path in Path(lossmeter.__file__).parent.rglob("*.py"):
        for text in _sentences(path.read_text("utf-8")):
            assert not told.search(text), f"{path.name}: {text}"
