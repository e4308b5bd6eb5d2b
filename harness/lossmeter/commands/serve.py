"""``lossmeter serve``."""

from __future__ import annotations

import socket
from typing import Annotated

import typer

from lossmeter.commands._shared import ERR, OUT
from lossmeter.errors import UsageError

HOST = "127.0.0.1"


def command(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")
    ] = 0,
) -> None:
    """Show the recorded runs in a browser, on this machine only, until Ctrl-C.

    Nothing can be changed there, and nobody else can connect.
    """
    from lossmeter.judge.again import judge_in_force
    from lossmeter.plan.catalogue import Catalogue
    from lossmeter.record.index import History
    from lossmeter.report.serve import application, serve_until_interrupted

    catalogue = Catalogue.here()
    judge = judge_in_force(catalogue)
    history = History(catalogue.history_file, catalogue.runs, judge, judge.budgets)
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
