"""What several experiments, repeats and runtimes come to in one command."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lossmeter.commands._asked import Asked, Wanted
from lossmeter.commands._repeating import Repeats
from lossmeter.commands._running import Placed, runnable
from lossmeter.commands._shared import runtime_for
from lossmeter.commands.doctor import Finding, service_findings
from lossmeter.commands.run import _Ask, _code
from lossmeter.errors import ExitCode, UnavailableError
from lossmeter.plan.catalogue import Catalogue, Cell, cells
from lossmeter.plugins import load
from lossmeter.world import runtimes, services
from lossmeter.world.install import cache
from lossmeter.world.runtime import Runtime
from tests.support.judged_runs import a_result

ROOT = Path(__file__).resolve().parents[2]


def _runtime(name: str) -> Runtime:
    found: Runtime = load(runtimes, name, "runtime").RUNTIME
    return found


def _cell(experiment: str, target: str) -> Cell:
    catalogue = Catalogue.here()
    return cells(catalogue, catalogue.experiment(experiment), [target], ["default"])[0]


def _ask(named: list[str], broken: list[tuple[str, str]], repeats: Repeats | None) -> _Ask:
    wanted, where = Wanted(named, [], broken), [_runtime("local")]
    asked = Asked(experiments=named)
    return _Ask(asked, wanted, where, 1, Catalogue.here(), None, None, None, repeats)


@pytest.mark.parametrize("repeats", [None, Repeats(2)])
def test_an_experiment_of_which_nothing_ran_is_no_pass(repeats: Repeats | None) -> None:
    local = _runtime("local")
    ready = [Placed(_cell("control", "channel"), local)]
    passed = [a_result("pass")] * 2
    assert _code(_ask(["control"], [], repeats), ready, passed, []) is ExitCode.WITHIN_BUDGET
    ask = _ask(["control", "rollout"], [], repeats)
    assert _code(ask, ready, passed, []) is ExitCode.NOTHING_JUDGED
    assert _code(ask, ready, [a_result("error")], []) is ExitCode.HARNESS_ERROR


def test_what_cannot_be_run_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    asked = [_cell("control", "channel"), _cell("broker-down", "channel")]
    ready, skipped = runnable(asked, [_runtime("local")])
    assert [each.cell.name for each in ready] == ["control"]
    assert [(each.experiment, each.verdict) for each in skipped] == [("broker-down", "skipped")]
    assert "skipped broker-down on channel" in capsys.readouterr().err


def test_each_target_gets_a_runtime_that_takes_it() -> None:
    docker, local = _runtime("docker"), _runtime("local")
    channel = Catalogue.here().target("channel")
    own = channel.model_copy(update={"container": None, "name": "mine"})
    assert runtime_for(channel, [docker, local]) is docker
    assert runtime_for(own, [docker, local]) is local
    assert runtime_for(own, [docker]) is docker, "it refuses with its own reason"


def test_a_server_that_comes_by_itself_is_no_lack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOSSMETER_CACHE", str(tmp_path))
    monkeypatch.setattr(cache, "closed_to_others", lambda _: None)
    found = service_findings(services.discover())
    assert {each.mark for each in found} <= {"ok", "comes by itself"}
    assert "comes by itself" in {each.mark for each in found}
    assert Finding("disk", False, "").mark == "missing"


def test_what_this_user_cannot_run_does_not_come_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 2**31 - 7)
    found = {each.what: each for each in service_findings(services.discover())}
    assert found["postgres"].mark == "missing"
    assert "has none in /etc/passwd" in found["postgres"].reported
    # It is told before anything is downloaded or built for a run.
    with pytest.raises(UnavailableError, match="has none in /etc/passwd"):
        _runtime("local").prepare([*services.discover().values()], [], pytest.fail)


def test_make_says_the_exit_code_that_it_hides() -> None:
    done = subprocess.run(
        ["make", "-s", "experiment-crahs"],
        cwd=ROOT,
        env={**os.environ, "RUNTIME": "local"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "exit code 4 (make itself exits with 2 on every failure)" in done.stderr
