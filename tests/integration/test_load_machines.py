"""Load processes on several machines, for real: Locust's master here, workers elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import psycopg
import pytest

from lossmeter.load.acquainted import secret
from lossmeter.load.process import events_sent, load_command
from lossmeter.load.schedule import schedule
from lossmeter.model import Status
from lossmeter.record.journals import read_journals
from lossmeter.world.ports import free_port, is_free
from tests.support.answering import RATE, SECONDS, answering
from tests.support.answering import steady_plan as _plan
from tests.support.namespaces import HERE, Machine, machines, unavailable
from tests.support.program import kill_all, lossmeter, until
from tests.support.servers import Server
from tests.support.sites import CI

HARNESS = str(Path(sys.executable).with_name("lossmeter"))


@pytest.fixture(autouse=True)
def _namespaces() -> None:
    """In CI as root a machine without namespaces fails, for a skip would hide it."""
    why = unavailable()
    if why is not None and not (os.environ.get(CI) and os.geteuid() == 0):
        pytest.skip(why)
    assert why is None, why
    # Both sides find it in their environment.
    secret()


def _free_port() -> int:
    """Return a port that is free at HERE, which exists as long as the machines do."""
    return next(port for port in iter(free_port, None) if is_free(HERE, port))


@contextmanager
def _workers(
    where: Sequence[Machine], port: int, *more: str
) -> Iterator[list[subprocess.Popen[bytes]]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                _started(m.command(HARNESS, "load-worker", f"{HERE}:{port}", *more))
            )
            for m in where
        ]


@contextmanager
def _started(argv: Sequence[str], **more: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(argv, env=os.environ | more, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                kill_all(psutil.Process(process.pid).children(recursive=True))
                process.kill()


def test_workers_on_other_machines_send_one_schedule(tmp_path: Path) -> None:
    with machines(2) as there, answering(host="0.0.0.0") as server:
        port = _free_port()
        plan = replace(
            _plan(tmp_path, server.port), host=HERE, processes=3, listen=f"{HERE}:{port}"
        )
        master = load_command(plan, limit_s=60)
        with (
            _workers(there[:1], port, "--processes", "2") as two,
            _workers(there[1:], port) as one,
            _started(master.argv, **master.environment) as load,
        ):
            # Seen from here while it goes on, not only in the end.
            seen = 0
            deadline = time.monotonic() + 60
            while load.poll() is None:
                assert time.monotonic() < deadline
                sent = events_sent(tmp_path)
                seen = sent if 0 < sent < RATE * SECONDS else seen
                time.sleep(0.05)
            assert load.returncode == 0
            assert [worker.wait(20) for worker in (*two, *one)] == [0, 0]
    journals = read_journals(tmp_path)
    assert journals.complete, journals.why_incomplete
    assert seen > 0
    assert (journals.outcomes["status"] == Status.ACKED).all()
    whole = [due.due_ns for due in schedule(plan.phases, plan.producers)]
    assert np.array_equal(np.sort(journals.intents["scheduled_ns"]) - journals.start_ns, whole)
    received = sorted((b["producer"], b["sequence"]) for b in map(json.loads, server.bodies))
    ids = zip(
        journals.intents["producer"].tolist(), journals.intents["sequence"].tolist(), strict=True
    )
    assert received == sorted(ids)
    assert len(set(received)) == RATE * SECONDS
    assert {producer // plan.producers for producer, _ in received} == {0, 1, 2}


def test_a_machine_that_is_lost_leaves_an_incomplete_journal(tmp_path: Path) -> None:
    with machines(2) as there, answering(host="0.0.0.0") as server:
        port = _free_port()
        plan = replace(
            _plan(tmp_path, server.port), host=HERE, processes=2, listen=f"{HERE}:{port}"
        )
        plan = replace(plan, phases=[(RATE, 6.0)])
        master = load_command(plan, limit_s=60)
        with _workers(there, port) as workers, _started(master.argv, **master.environment) as load:
            deadline = time.monotonic() + 40
            while events_sent(tmp_path) < 600:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            for process in psutil.Process(workers[0].pid).children(recursive=True):
                process.kill()
            load.wait(40)
    journals = read_journals(tmp_path)
    assert not journals.complete
    assert "was not closed by its load process" in journals.why_incomplete
    assert 600 <= len(journals.intents) < RATE * 6


def test_workers_on_other_machines_stop_when_the_master_is_killed(tmp_path: Path) -> None:
    with machines(1) as there, answering(host="0.0.0.0") as server:
        port = _free_port()
        plan = replace(_plan(tmp_path, server.port), host=HERE, listen=f"{HERE}:{port}")
        master = load_command(replace(plan, phases=[(RATE, 60.0)]), limit_s=90)
        with _workers(there, port) as (worker,):
            with _started(master.argv, **master.environment):
                until(lambda: events_sent(tmp_path) > 200)
            # The run was broken off.
            assert worker.wait(15) == 3
            sent = len(server.bodies)
            time.sleep(0.5)
            assert len(server.bodies) == sent


ATTACHED = """
name = "attached"
summary = "the reference dispatcher, started by somebody else"
ack_level = "enqueued"
[attach]
url = "http://127.0.0.1:{port}"
[http]
state = "/state"
accepted = [202]
[persisted]
database = "{database}"
query = '''
select producer, sequence, id as position, persisted_at,
       ('x' || left(md5(payload), 16))::bit(64)::bigint as payload_hash
from notice
'''
"""


def test_a_run_whose_load_comes_from_two_machines(project: Path, postgres: Server) -> None:
    port = free_port()
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("drop table if exists notice; drop table if exists dead_letter")
    target = ATTACHED.format(port=port, database=postgres.url)
    (project / "attached.toml").write_text(target)
    with (project / "experiments" / "budgets.toml").open("a") as budgets:
        budgets.write("\n[control.attached]\nmax_lost = 0\nmax_duplicated = 0\n")
    settings = {
        "DISPATCHER_HOST": "0.0.0.0",
        "DISPATCHER_PORT": str(port),
        "DISPATCHER_DATABASE__URL": postgres.url,
        "DISPATCHER_HANDLER__TIME_S": "0.001",
    }
    with machines(2) as there, _started((sys.executable, "-m", "lossmeter_dispatcher"), **settings):
        until(lambda: not is_free("127.0.0.1", port))
        reports = _free_port()
        with _workers(there, reports) as workers:
            done = lossmeter(
                *("run", "control", "--variant", "default", "--target", "attached.toml"),
                *("--runtime", "local", "--seed", "3", "--json", "-"),
                *("--load-processes", "2", "--load-listen", f"{HERE}:{reports}"),
            )
            assert done.code == 0, done.err
            assert [worker.wait(20) for worker in workers] == [0, 0]
    (result,) = done.results()
    assert done.code == 0, result["reason"]
    assert result["counts"]["sent"] == result["counts"]["delivered"] > 0
    (folder,) = (project / "results" / "runs").iterdir()
    assert {path.name for path in folder.glob("*.bin")} == {"journal-0.bin", "journal-1.bin"}
