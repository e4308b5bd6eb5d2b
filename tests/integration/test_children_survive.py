"""A target whose children outlive its main process: a finding of that run, and of no other."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from lossmeter.judge.verdict import judge_run
from lossmeter.load.process import events_sent
from lossmeter.record.facts import Facts
from lossmeter.world.ports import LOOPBACK, free_port
from tests.support.program import left_behind, lossmeter, until

EXPERIMENT = """
from lossmeter.experiment import Experiment, PlannedFault, Trigger, Variant, steady
from lossmeter.model import Predicted

EXPERIMENT = Experiment(
    name="killed",
    hypothesis="A crash ends all of a dispatcher.",
    variants=(
        Variant("", steady(50, 3), (PlannedFault("sigkill", Trigger(at_s=1)),),
                {"handler_time_s": 0.01}),
    ),
    targets=("channel",),
    predict=lambda seen: Predicted(),
    bounds={"max_lost": 200},
)
"""
# A shell that waits for what it started, as many entry points do.
WITHOUT_EXEC = """
extends = "channel"
name = "shell"
summary = "a shell that does not exec"
[start]
command = ["sh", "-c", "{python} -P -m lossmeter_dispatcher; echo ended"]
"""
# It starts what was killed again, and is of no session that the harness knows.
WATCHED = '''
extends = "channel"
name = "watched"
summary = "a watchdog starts it again"
[start]
command = ["sh", "-c", """
setsid sh -c 'while :; do {python} -P -m lossmeter_dispatcher; sleep 0.05; done' &
exec {python} -P -m lossmeter_dispatcher"""]
'''
# On a port of the team's own choice, which others know.
FIXED = """
extends = "channel"
name = "fixed"
summary = "a dispatcher on a known port"
[start]
port = {port}
"""
# A daemon of its own session, which takes the port from the next one.
DETACHED = WITHOUT_EXEC.replace("{python} -P", "setsid {python} -P").replace('"shell"', '"daemon"')


@pytest.mark.parametrize("text", [WITHOUT_EXEC, DETACHED], ids=["shell", "daemon"])
def test_it_is_a_finding_of_that_run_and_the_others_are_made(project: Path, text: str) -> None:
    (project / "killed.py").write_text(EXPERIMENT)
    (project / "mine.toml").write_text(text)
    targets = ("--target", "mine.toml", "--target", "channel")
    done = lossmeter("run", "killed.py", "--runtime", "local", *targets)
    assert done.code == 7, done.err
    assert "Traceback" not in done.err

    mine, other = sorted((project / "results" / "runs").iterdir())
    result = judge_run(mine)
    assert result.verdict == "inconclusive"
    assert "nothing of the target outlived its main process" in result.reason
    (record,) = Facts.load(mine).faults
    outlived, older = [each for each in record.evidence if each.source == "process-tree"]
    assert not outlived.holds
    assert "they still answer" in outlived.value
    # What kept the port was removed, so that the rest of the run is one.
    pid = outlived.value.split()[1]
    assert f"process {pid} (" in older.value
    assert "held the port, and was removed for the restart" in older.value
    assert record.healed_ns is not None

    assert judge_run(other).verdict == "pass"
    assert left_behind(done.pid) == []


def test_whoever_takes_the_port_of_a_killed_target_is_a_finding_of_that_run(project: Path) -> None:
    port, over = free_port(), threading.Event()
    (project / "killed.py").write_text(EXPERIMENT)
    (project / "fixed.toml").write_text(FIXED.format(port=port))
    (project / "watched.toml").write_text(WATCHED)

    def take() -> None:
        until(lambda: any(map(events_sent, (project / "results" / "runs").glob("*"))))
        while not over.is_set():
            with suppress(OSError), socket.socket() as stranger:
                stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                stranger.bind((LOOPBACK, port))
                stranger.listen()
                over.wait(60)

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    try:
        names = ("fixed.toml", "watched.toml", "channel")
        targets = [word for name in names for word in ("--target", name)]
        done = lossmeter("run", "killed.py", "--runtime", "local", *targets)
    finally:
        over.set()
        thread.join(30)
    assert done.code == 3, done.err
    assert "Traceback" not in done.err
    fixed, watched, other = map(judge_run, sorted((project / "results" / "runs").iterdir()))
    assert fixed.verdict == "error"
    assert f"port {port} on 127.0.0.1 is in use" in fixed.reason
    # Either of the two that start it may be the first.
    assert watched.verdict in {"inconclusive", "error"}
    assert "outlived its main process" in watched.reason or "is in use" in watched.reason
    assert other.verdict == "pass"
    assert left_behind(done.pid) == []


def test_a_target_that_cannot_be_started_ends_no_sweep(project: Path) -> None:
    (project / "killed.py").write_text(EXPERIMENT)
    (project / "mine.toml").write_text(WITHOUT_EXEC.replace('"sh", "-c"', '"no-such-shell", "-c"'))
    targets = ("--target", "mine.toml", "--target", "channel")
    done = lossmeter("run", "killed.py", "--runtime", "local", *targets)
    assert done.code == 4, done.err
    assert "command 'no-such-shell' cannot be started" in done.err
    *_, other = sorted((project / "results" / "runs").iterdir())
    assert judge_run(other).verdict == "pass"
