"""Runs the pages on a socket until the process is asked to end."""

from __future__ import annotations

import socket
from contextlib import suppress

import uvicorn
from starlette.applications import Starlette

LAST_ANSWERS_S = 5


def serve_until_interrupted(app: Starlette, listener: socket.socket) -> None:
    """Serve on a socket that already listens; Ctrl-C and SIGTERM are its normal end."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=LAST_ANSWERS_S,
    )
    # The server handles the signal and then hands it on, by which time all is over.
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])
