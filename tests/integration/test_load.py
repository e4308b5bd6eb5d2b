"""The load process itself: it keeps its schedule while a target stalls, and says so if not."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from lossmeter.judge.ledger.stats import load_figures
from lossmeter.judge.ledger.times import Times
from lossmeter.load.plan import LoadPlan
from lossmeter.load.process import load_command
from lossmeter.load.schedule import payload, schedule
from lossmeter.model import Status
from lossmeter.record.arrays import Operations
from lossmeter.record.journals import Journals, read_journals
from lossmeter.record.payloads import payload_hash
from tests.support.answering import load_plan

RATE, SECONDS, SEED = 200.0, 4.0, 11
STALL_FROM_S, STALL_S = 1.0, 2.0
OK = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Stalling:
    """A server that answers at once, but for one stall in which it answers nothing."""

    port: int = 0
    first: float | None = None
    bodies: int = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                await self._stall()
                self.bodies += 1
                writer.write(OK)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            writer.close()

    async def _stall(self) -> None:
        now = time.monotonic()
        self.first = self.first or now
        begin = self.first + STALL_FROM_S
        if begin <= now < begin + STALL_S:
            await asyncio.sleep(begin + STALL_S - now)

    async def run(self, up: threading.Event, over: asyncio.Event) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        up.set()
        await over.wait()
        server.close()


@pytest.fixture
def stalling() -> Iterator[Stalling]:
    server, up = Stalling(), threading.Event()
    loop, over = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(server.run(up, over)))
    thread.start()
    up.wait(5)
    yield server
    loop.call_soon_threadsafe(over.set)
    thread.join(5)
    loop.run_until_complete(loop.shutdown_asyncgens())
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0.05))
    loop.close()


def _plan(folder: Path, port: int) -> LoadPlan:
    return load_plan(folder, port, RATE, SECONDS, SEED)


def _carried_out(plan: LoadPlan) -> Journals:
    command = load_command(plan, limit_s=60)
    done = subprocess.run(
        command.argv,
        env={**os.environ, **command.environment},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return read_journals(command.folder)


def test_the_asked_rate_is_kept_while_the_target_stalls(stalling: Stalling, tmp_path: Path) -> None:
    journals = _carried_out(_plan(tmp_path, stalling.port))
    assert journals.complete
    assert len(journals.intents) == RATE * SECONDS == stalling.bodies
    figures = load_figures(Times.of(Operations(journals.intents, journals.outcomes)))
    assert figures is not None
    assert figures.rate_kept_per_s == pytest.approx(RATE, rel=0.02)
    assert figures.lag_p99_ms < 250, "a closed loop would lag by the whole stall"
    # Latency counts from the scheduled time, so half of the events show the stall.
    assert figures.latency_p99_ms is not None
    assert figures.latency_p99_ms > STALL_S * 1000 * 0.9
    assert (journals.outcomes["status"] == Status.ACKED).all()


def test_a_schedule_that_cannot_be_kept_shows_its_lag(stalling: Stalling, tmp_path: Path) -> None:
    journals = _carried_out(replace(_plan(tmp_path, stalling.port), max_in_flight=4))
    assert len(journals.intents) == RATE * SECONDS
    figures = load_figures(Times.of(Operations(journals.intents, journals.outcomes)))
    assert figures is not None
    assert figures.lag_max_ms > STALL_S * 1000 * 0.8


def test_the_same_seed_sends_the_same_events(stalling: Stalling, tmp_path: Path) -> None:
    journals = _carried_out(_plan(tmp_path, stalling.port))
    sent = {
        (int(i["producer"]), int(i["sequence"])): int(i["payload_hash"]) for i in journals.intents
    }
    planned = {
        (due.producer, due.sequence): payload_hash(payload(SEED, due.producer, due.sequence, 64))
        for due in schedule([(RATE, SECONDS)], 8)
    }
    assert sent == planned
    due_ns = sorted(due.due_ns for due in schedule([(RATE, SECONDS)], 8))
    assert np.array_equal(np.sort(journals.intents["scheduled_ns"]) - journals.start_ns, due_ns)


def test_nobody_listening_is_refused_for_every_event(tmp_path: Path) -> None:
    plan = replace(_plan(tmp_path, 1), phases=[(100.0, 0.5)])
    journals = _carried_out(plan)
    assert len(journals.outcomes) == 50
    assert (journals.outcomes["status"] == Status.REFUSED).all()
