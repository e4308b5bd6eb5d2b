"""A dispatcher of somebody else's is measured by one TOML file, without touching Python."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.support import guides
from tests.support.foreign_target import SOURCE, TARGET
from tests.support.odd_project import run_short
from tests.support.program import lossmeter

TOKEN = "s3cr3t-of-nobody"
BUDGET = """
[crash.theirs]
max_lost = 540
max_duplicated = 0
min_sent = 1800
"""


def _crash(project: Path, target: str) -> tuple[int, dict[str, Any]]:
    (project / "theirs.toml").write_text(target)
    with (project / "experiments" / "budgets.toml").open("a") as budgets:
        budgets.write(BUDGET)
    done = lossmeter(
        *("run", "crash", "--variant", "default", "--target", "theirs.toml"),
        *("--runtime", "local", "--seed", "7", "--json", "-"),
    )
    (result,) = done.results()
    return done.code, result


def _guarded(folder: Path) -> str:
    """Return the target as one that speaks TLS and wants a token, whatever is asked."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        folder / "server.pem"
    )
    started = f'CERTIFICATE = "{folder / "server.pem"}"\nTOKEN = "{TOKEN}"'
    http = """
method = "PUT"
base = "/api/v1"
[http.headers]
Authorization = {env = "THEIR_TOKEN", prefix = "Bearer "}
[http.query]
from = "lossmeter & co"
[http.tls]
ca = "ca.pem"
"""
    target = TARGET.replace('workers = "THREADS"', "")
    target = target.replace('THREADS = "2"', f'THREADS = "2"\n{started}')
    return target.replace("[persisted]", http + "[persisted]")


def test_a_foreign_dispatcher_is_crashed_and_audited(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THEIR_TOKEN", TOKEN)
    # 2 threads of 20 ms handle 100 events/s, as the reference dispatcher does.
    code, result = _crash(project, _guarded(project))
    assert code == 0, result["reason"]
    assert 500 <= result["counts"]["lost"] <= 540
    assert result["prediction_holds"] is True
    # It leaves no marks, so its losses are placed by time and by place.
    assert result["stages"] is None
    assert sum(result["lost_when"].values()) == result["counts"]["lost"]
    assert sum(result["lost_where"].values()) == result["counts"]["lost"]
    assert result["counts"]["unexpected"] == result["counts"]["corrupted"] == 0
    assert len({seen["source"] for seen in result["evidence"] if seen["holds"]}) == 4
    # The secret is in nothing that the run leaves.
    (run,) = (project / "results" / "runs").glob("*crash*")
    files = [file for file in run.rglob("*") if file.is_file()]
    assert len(files) > 10
    assert [file for file in files if TOKEN.encode() in file.read_bytes()] == []


def test_a_secret_that_is_not_there_is_named_and_nothing_is_started(project: Path) -> None:
    (project / "theirs.toml").write_text(_guarded(project))
    done = lossmeter("run", "control", "--target", "theirs.toml", "--runtime", "local")
    assert done.code == 4
    assert done.err.strip().endswith(
        "target theirs: http.headers.Authorization: the variable THEIR_TOKEN is not set, or empty"
    )
    assert not list((project / "results").glob("runs/*"))


def test_a_queue_that_never_fills_is_no_pass(project: Path) -> None:
    # The experiment asks for 5 workers, and with 5 threads this one keeps up.
    code, result = _crash(project, TARGET)
    assert code == 7, result["reason"]
    assert "queue_length >= 500 was not met" in result["reason"]
    assert result["counts"]["sent"] == result["counts"]["delivered"] == 1800


DEPLOYED = """#!{python}
import os, sys
host, _, port = sys.argv[sys.argv.index("--listen") + 1].partition(":")
given = {{"PORT": port, "DSN": os.environ["DATABASE_URL"], "THREADS": "5"}}
os.execve(sys.executable, [sys.executable, "{source}"], os.environ | given)
"""


def test_the_target_that_the_readme_shows_runs_as_it_stands(project: Path) -> None:
    """Whatever runtime is there: it names no container, so it is a process."""
    blocks = guides.blocks(guides.ROOT / "README.md", "toml")
    (shown,) = (text for text in blocks if 'name = "mine"' in text)
    command = "/opt/mine/bin/dispatcher"
    deployed = project / "dispatcher"
    deployed.write_text(DEPLOYED.format(python=sys.executable, source=SOURCE))
    deployed.chmod(0o755)
    assert command in shown
    (project / "mine.toml").write_text(shown.replace(command, str(deployed)))
    experiment, *_ = run_short(project)[1:]
    done = lossmeter("run", experiment, "--target", "mine.toml", "--seed", "1", "--json", "-")
    (result,) = done.results()
    assert (done.code, result["runtime"]) == (0, "local"), done.err
    assert result["counts"]["delivered"] == result["counts"]["sent"] == 50
