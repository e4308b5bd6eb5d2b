"""Variables that steer Python, and proxies, are the caller's: no helper and no fault gets them."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.integration.test_surroundings import PROXIES
from tests.support.program import Running, loading, until

# None of these does the harness itself import.
HIDDEN = ("uvicorn", "celery", "locustio", "lossmeter_load")
# What finds the own interpreter, leaves nothing beside sources, and writes logs as they come.
ALLOWED = {"PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}


def _variables(process: psutil.Process) -> dict[str, str]:
    with suppress(psutil.Error):
        return {n: v for n, v in process.environ().items() if n.startswith("PYTHON")}
    return {}


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    folder = tmp_path / "modules"
    folder.mkdir()
    for name in HIDDEN:
        (folder / f"{name}.py").write_text("raise SystemExit('the wrong one')\n")
    return folder


def test_neither_pythons_variables_nor_proxies_change_a_run_with_a_panic(
    project: Path,
    modules: Path,
    monkeypatch: pytest.MonkeyPatch,
    background: Callable[..., Running],
) -> None:
    startup, started = project / "startup.py", project / "started"
    startup.write_text(f"open({str(started)!r}, 'w')\n")
    given = {
        "PYTHONPATH": os.pathsep.join([str(modules), os.environ.get("PYTHONPATH", "")]),
        "PYTHONSTARTUP": str(startup),
        "PYTHONWARNINGS": "error",
        "PYTHONOPTIMIZE": "2",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    for name, value in (given | PROXIES).items():
        monkeypatch.setenv(name, value)
    running = background("run", "panic", "--target", "channel", "--runtime", "local", "--json", "-")
    until(lambda: loading(project / "results" / "runs"))
    seen = {process.pid: _variables(process) for process in running.processes()}
    done = running.end(120)
    (result,) = done.results()
    assert done.code == 0, result["reason"]
    assert {each["fault"] for each in result["evidence"] if each["holds"]} == {"panic"}
    assert not started.exists()
    assert len(seen) > 3
    for variables in seen.values():
        assert variables.keys() <= ALLOWED | {"PYTHONPATH"}
        assert str(modules) not in variables.get("PYTHONPATH", "")
