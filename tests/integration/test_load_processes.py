"""Load processes: several share one schedule; what happens when they are stopped or killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from lossmeter.judge.ledger.stats import load_figures
from lossmeter.judge.ledger.times import Times
from lossmeter.load.acquainted import SECRET_VARIABLE
from lossmeter.load.plan import LoadPlan
from lossmeter.load.process import events_sent, load_command, worker_command
from lossmeter.load.schedule import payload, schedule
from lossmeter.model import Address, Status
from lossmeter.record.arrays import Operations
from lossmeter.record.journals import read_journals
from lossmeter.record.payloads import payload_hash
from lossmeter.world.ports import free_port
from tests.support.answering import RATE, SECONDS, SEED, answering, steady_plan
from tests.support.program import Running, kill_all, loading, lossmeter, until


@contextmanager
def _running(plan: LoadPlan) -> Iterator[subprocess.Popen[str]]:
    """Start a load; whatever is left of it afterwards is killed."""
    command = load_command(plan, limit_s=60)
    load = subprocess.Popen(
        command.argv,
        env={**os.environ, **command.environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    family = []
    try:
        yield load
        family = psutil.Process(load.pid).children() if load.poll() is None else []
    finally:
        load.kill()
        load.communicate(timeout=10)
        kill_all(family)


def _until(sent: int, folder: Path) -> None:
    deadline = time.monotonic() + 20
    while events_sent(folder) < sent:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_worker_without_the_secret_gets_no_share(tmp_path: Path) -> None:
    """It changes neither the schedule nor the journals, whenever it comes."""
    listen = Address("127.0.0.1", free_port())
    (tmp_path / "run").mkdir()
    folders = [tmp_path / name for name in ("stranger", "invited")]
    for folder in folders:
        folder.mkdir()
    with answering() as server:
        plan = replace(steady_plan(tmp_path / "run", server.port), listen=str(listen))
        command = worker_command(listen, 1, folders[0])
        wrong = {**command.environment, SECRET_VARIABLE: "guessed"}
        with (
            subprocess.Popen(command.argv, env=wrong, stderr=subprocess.DEVNULL) as stranger,
            _running(plan) as load,
        ):
            time.sleep(2)
            assert events_sent(tmp_path / "run") == 0
            invited = worker_command(listen, 1, folders[1])
            with subprocess.Popen(invited.argv, env=invited.environment) as worker:
                assert load.wait(60) == 0
                assert worker.wait(20) == 0
            stranger.kill()
    journals = read_journals(tmp_path / "run")
    assert journals.complete, journals.why_incomplete
    assert len(journals.intents) == len(server.bodies) == RATE * SECONDS
    assert not list(folders[0].glob("journal-*"))


@pytest.mark.parametrize("known", ["guessed", None], ids=["wrong-secret", "plain-locust"])
def test_processes_on_this_machine_take_in_nobody_uninvited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: str | None
) -> None:
    """Their master listens too, on the loopback, where every user of the machine reaches it."""
    port = free_port()
    monkeypatch.setattr("lossmeter.load.process.free_port", lambda: port)
    run, folder = tmp_path / "run", tmp_path / "stranger"
    run.mkdir()
    folder.mkdir()
    command = worker_command(Address("127.0.0.1", port), 1, folder)
    argv, environment = list(command.argv), {**command.environment, SECRET_VARIABLE: "guessed"}
    if known is None:
        (folder / "mine.py").write_text("from locust import User\nclass Mine(User): ...\n")
        argv[argv.index("-f") + 1] = str(folder / "mine.py")
    with (
        answering() as server,
        subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL) as stranger,
        _running(replace(steady_plan(run, server.port), processes=2)) as load,
    ):
        assert load.wait(60) == 0
        stranger.kill()
    journals = read_journals(run)
    assert journals.complete, journals.why_incomplete
    assert len(journals.intents) == len(server.bodies) == RATE * SECONDS
    assert {path.name for path in run.glob("journal-*")} == {"journal-0.bin", "journal-1.bin"}
    assert not list(folder.glob("journal-*"))


def test_several_processes_send_one_schedule_between_them(tmp_path: Path) -> None:
    with answering() as server:
        plan = replace(steady_plan(tmp_path, server.port), processes=3)
        with _running(plan) as load:
            assert load.wait(60) == 0
    assert sorted(path.name for path in tmp_path.glob("*.bin")) == [
        f"journal-{shard}.bin" for shard in range(3)
    ]
    journals = read_journals(tmp_path)
    assert journals.complete, journals.why_incomplete
    assert (journals.outcomes["status"] == Status.ACKED).all()
    sent = {
        (int(i["producer"]), int(i["sequence"])): (
            int(i["scheduled_ns"]) - journals.start_ns,
            int(i["payload_hash"]),
        )
        for i in journals.intents
    }
    planned = {
        due[:2]: (due.due_ns, payload_hash(payload(SEED, due.producer, due.sequence, 64)))
        for shard in range(3)
        for due in schedule(plan.phases, plan.producers, shard, 3)
    }
    assert sent == planned
    received = [json.loads(body) for body in server.bodies]
    assert sorted((r["producer"], r["sequence"]) for r in received) == sorted(planned)
    # As one process would: at the whole rate, evenly.
    whole = [due.due_ns for due in schedule(plan.phases, plan.producers)]
    assert np.array_equal(np.sort(journals.intents["scheduled_ns"]) - journals.start_ns, whole)
    figures = load_figures(Times.of(Operations(journals.intents, journals.outcomes)))
    assert figures is not None
    assert figures.rate_kept_per_s == pytest.approx(RATE, rel=0.02)


def test_no_event_is_dated_after_its_send_nor_before_its_answer(tmp_path: Path) -> None:
    with answering(delay_s=0.005) as server:
        plan = replace(steady_plan(tmp_path, server.port), phases=[(1000.0, 2.0)])
        with _running(plan) as load:
            assert load.wait(60) == 0
    journals = read_journals(tmp_path)
    bodies = [json.loads(body) for body in server.bodies]
    seen = {
        (body["producer"], body["sequence"]): times
        for body, times in zip(bodies, server.times_ns, strict=True)
    }
    assert len(seen) == len(journals.intents) == len(journals.outcomes) == 2000
    # Two processes read the same clock; it is steered meanwhile, by far less than this.
    slack_ns = 200_000
    for intent in journals.intents:
        received_ns, _ = seen[int(intent["producer"]), int(intent["sequence"])]
        assert intent["sent_ns"] <= received_ns + slack_ns
        assert intent["sent_ns"] >= intent["scheduled_ns"]
    for outcome in journals.outcomes:
        _, answered_ns = seen[int(outcome["producer"]), int(outcome["sequence"])]
        assert outcome["done_ns"] >= answered_ns - slack_ns


def test_a_killed_worker_makes_the_journals_incomplete(tmp_path: Path) -> None:
    with answering() as server:
        plan = replace(steady_plan(tmp_path, server.port), processes=2)
        with _running(plan) as load:
            _until(200, tmp_path)
            first, _ = psutil.Process(load.pid).children()
            first.kill()
            load.wait(60)
    journals = read_journals(tmp_path)
    assert not journals.complete
    assert "was not closed by its load process" in journals.why_incomplete
    assert RATE * SECONDS / 2 < len(journals.intents) < RATE * SECONDS
    # Whatever the server got was in a journal before it was sent.
    got = {(b["producer"], b["sequence"]) for b in map(json.loads, server.bodies)}
    assert got <= {(int(i["producer"]), int(i["sequence"])) for i in journals.intents}


def test_no_worker_outlives_its_killed_master(tmp_path: Path) -> None:
    with answering() as server:
        plan = replace(steady_plan(tmp_path, server.port), processes=2)
        with _running(plan) as load:
            _until(100, tmp_path)
            workers = psutil.Process(load.pid).children()
            assert len(workers) == 2
            load.kill()
            gone, alive = psutil.wait_procs(workers, timeout=5)
            assert not alive
            assert len(gone) == 2
    assert not read_journals(tmp_path).complete


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_load_ends_in_order(tmp_path: Path, how: signal.Signals, processes: int) -> None:
    """Nothing more is sent, what is in flight gets its outcome, and it does not look whole."""
    with answering(delay_s=0.3) as server:
        plan = replace(
            steady_plan(tmp_path, server.port), phases=[(RATE, 60.0)], processes=processes
        )
        with _running(plan) as load:
            _until(300, tmp_path)
            load.send_signal(how)
            asked = time.monotonic()
            load.wait(20)
            assert time.monotonic() - asked < 10
    journals = read_journals(tmp_path)
    assert not journals.complete
    assert "was not closed by its load process" in journals.why_incomplete
    assert len(journals.intents) == len(journals.outcomes) == len(server.bodies)
    assert (journals.outcomes["status"] == Status.ACKED).all()


def test_a_killed_load_loses_no_intent(tmp_path: Path) -> None:
    with answering(delay_s=0.2) as server:
        with _running(replace(steady_plan(tmp_path, server.port), phases=[(2000.0, 60.0)])) as load:
            _until(3000, tmp_path)
            load.send_signal(signal.SIGKILL)
            load.wait(5)
        time.sleep(0.3)
        got = {(b["producer"], b["sequence"]) for b in map(json.loads, server.bodies)}
    journals = read_journals(tmp_path)
    assert not journals.complete
    assert got <= {(int(i["producer"]), int(i["sequence"])) for i in journals.intents}
    assert 0 < len(journals.outcomes) < len(journals.intents)


def test_a_full_disk_ends_the_load_at_once(tmp_path: Path) -> None:
    with answering() as server:
        command = load_command(steady_plan(tmp_path, server.port), limit_s=60)
        limited = ("bash", "-c", 'ulimit -f 1024; exec "$@"', "bash", *command.argv)
        done = subprocess.run(
            limited,
            env={**os.environ, **command.environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 74, done.stderr
    assert server.bodies == []


def test_a_run_whose_load_comes_from_several_processes(project: Path) -> None:
    done = lossmeter(
        *("run", "control-lossy", "--target", "channel", "--runtime", "local"),
        *("--seed", "3", "--load-processes", "2", "--json", "-"),
    )
    (result,) = done.results()
    assert done.code == 0, result["reason"]
    # The prediction knows which ids two processes mint, and holds to the event.
    assert result["counts"]["lost"] == result["predicted"]["lost"] > 0
    (folder,) = (project / "results" / "runs").iterdir()
    assert {path.name for path in folder.glob("*.bin")} >= {"journal-0.bin", "journal-1.bin"}


def test_a_run_whose_load_lost_a_process_is_inconclusive(
    project: Path, background: Callable[..., Running]
) -> None:
    running = background(
        *("run", "control", "--target", "channel", "--runtime", "local", "--variant", "default"),
        *("--seed", "3", "--load-processes", "2", "--json", "-"),
    )
    until(lambda: loading(project / "results" / "runs"))
    workers = [
        process
        for process in running.named("locust")
        if process.parent() in running.named("locust")
    ]
    assert len(workers) == 2
    workers[0].kill()
    done = running.end(120)
    (result,) = done.results()
    assert (done.code, result["verdict"]) == (7, "inconclusive")
    assert "was not closed by its load process" in result["reason"]


def test_a_worker_too_many_is_sent_home(tmp_path: Path) -> None:
    """The others send the whole schedule, and nobody waits for the one without a share."""
    listen = Address("127.0.0.1", free_port())
    folders = [tmp_path / name for name in ("run", "first", "second", "third")]
    for folder in folders:
        folder.mkdir()
    with answering() as server, ExitStack() as stack:
        plan = replace(steady_plan(folders[0], server.port), listen=str(listen), processes=2)
        load = stack.enter_context(_running(plan))
        workers = []
        for folder in folders[1:]:
            command = worker_command(listen, 1, folder)
            workers.append(
                stack.enter_context(subprocess.Popen(command.argv, env=command.environment))
            )
            stack.callback(workers[-1].kill)
        assert load.wait(60) == 0
        assert [worker.wait(20) for worker in workers] == [0, 0, 0]
    journals = read_journals(folders[0])
    assert journals.complete, journals.why_incomplete
    assert len(journals.intents) == len(server.bodies) == RATE * SECONDS
    assert sum(bool([*folder.glob("journal-*")]) for folder in folders[1:]) == 2
