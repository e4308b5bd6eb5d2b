"""Starts the dispatcher: ``python -m lossmeter_dispatcher``."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import traceback
from typing import NoReturn

import uvicorn
import uvloop

from lossmeter_dispatcher.app import Api
from lossmeter_dispatcher.config import ConfigurationError, Settings, from_environment
from lossmeter_dispatcher.core import Dispatcher

EXIT_CONFIGURATION = 4
# Go's exit code after a panic.
EXIT_PANIC = 2

# Connections left open when the end has come; the events are decided by then.
_CLOSE_S = 1


class _Server(uvicorn.Server):
    """Uvicorn without its own signal handling, whose time-out would decide what is lost."""

    def capture_signals(self) -> _NoSignals:  # type: ignore[override]
        return _NoSignals()


class _NoSignals:
    def __enter__(self) -> None:
        """Leave the signals to the dispatcher."""

    def __exit__(self, *_: object) -> None:
        """Leave the signals to the dispatcher."""


async def _until(event: asyncio.Event) -> None:
    await event.wait()


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then shut down as configured."""
    dispatcher = Dispatcher(settings)
    server = _Server(
        uvicorn.Config(
            Api(dispatcher).application(),
            host=settings.host,
            port=settings.port,
            log_level="warning",
            access_log=False,
            lifespan="off",
            # Each would be a layer around every request.
            proxy_headers=False,
            ws="none",
            http="httptools",
            date_header=False,
            server_header=False,
            backlog=4096,
            timeout_graceful_shutdown=_CLOSE_S,
        )
    )
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await dispatcher.start()
    serving = asyncio.create_task(server.serve())
    waiting = asyncio.create_task(_until(stopping))
    ends: set[asyncio.Future[None]] = {serving, waiting, dispatcher.failed}
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if dispatcher.failed.done():
        _abort(dispatcher.failed.exception())
    if serving.done():
        # The port is taken, or the like: uvicorn has said so.
        sys.exit(1)
    await dispatcher.stop()
    server.should_exit = True
    await serving
    dispatcher.stages.close()


def _abort(error: BaseException | None) -> NoReturn:
    """End at once, as a runtime does that meets an error which nobody handles."""
    traceback.print_exception(error)
    sys.stderr.flush()
    os._exit(EXIT_PANIC)


def main() -> None:
    """Read the settings and serve."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    try:
        settings = from_environment()
        uvloop.run(serve(settings))
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(EXIT_CONFIGURATION)
    # Whatever still waits is abandoned; threads of clients must not hold the process up.
    os._exit(0)


if __name__ == "__main__":
    main()
