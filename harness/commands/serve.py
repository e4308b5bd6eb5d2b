"""``harness serve``."""

from __future__ import annotations

import socket
from typing import Annotated

import typer

from harness.commands._shared import ERR, OUT
from harness.errors import UsageError

HOST = "127.0.0.1"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")
    ] = 0,
) -> None:
    """Show the recorded runs in a browser, on this machine only, until Ctrl-C.

    Nothing can be changed there, and nobody else can connect.
    """
    from harness.catalogue import Catalogue
    from harness.history import History
    from harness.serve.app import application
    from harness.serve.server import serve_until_interrupted

    catalogue = Catalogue.here()
    history = History(catalogue.history_file, catalogue.runs)
    history.refresh()
    with _listener(port) as listener:
        url = f"http://{HOST}:{listener.getsockname()[1]}/"
        # The URL alone, so that a script can read it.
        OUT.print(url, highlight=False)
        OUT.file.flush()
        ERR.print("Ctrl-C ends it", highlight=False)
        serve_until_interrupted(application(history), listener)


def _listener(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise UsageError(
            f"--port {port} on {HOST} cannot be used: {error.strerror}; 0 takes a free one"
        ) from None
