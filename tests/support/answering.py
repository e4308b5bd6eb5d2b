"""A server that says yes to everything, after a while, and the plan of a load on one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from lossmeter.load.plan import LoadPlan

OK = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Answering:
    """What it saw.

    Attributes:
        port: where it listens.
        bodies: of each request, in order.
        times_ns: of each, when it was there and when its answer was about to be sent.
    """

    host: str
    delay_s: float
    port: int = 0
    bodies: list[bytes] = field(default_factory=list)
    times_ns: list[tuple[int, int]] = field(default_factory=list)
    _up: threading.Event = field(default_factory=threading.Event)
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self) -> None:
        server = await asyncio.start_server(self._serve, self.host, 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        self._up.set()
        await self._over.wait()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                received_ns = time.time_ns()
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                self.bodies.append(body)
                self.times_ns.append((received_ns, time.time_ns()))
                writer.write(OK)
        writer.close()


@contextmanager
def answering(delay_s: float = 0.0, host: str = "127.0.0.1") -> Iterator[Answering]:
    """Serve in a thread of its own."""
    server = Answering(host, delay_s)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(server.serve()))
    thread.start()
    try:
        assert server._up.wait(5)
        yield server
    finally:
        loop.call_soon_threadsafe(server._over.set)
        thread.join(5)
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.05))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def load_plan(folder: Path, port: int, rate_per_s: float, seconds: float, seed: int) -> LoadPlan:
    """Return the plan of a load on a server of the tests, journalled in ``folder``."""
    return LoadPlan(
        host="127.0.0.1",
        port=port,
        path="/events",
        body='{"producer": $producer, "sequence": $sequence, "payload": "$payload"}',
        accepted=[202],
        refused=[503],
        timeout_s=10.0,
        phases=[(rate_per_s, seconds)],
        producers=8,
        payload_bytes=64,
        max_in_flight=1000,
        seed=seed,
        folder=str(folder),
    )


RATE, SECONDS, SEED = 300.0, 3.0, 5


def steady_plan(folder: Path, port: int) -> LoadPlan:
    return load_plan(folder, port, RATE, SECONDS, SEED)
