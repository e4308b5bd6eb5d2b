"""``harness load-worker``."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from harness.commands._shared import say
from harness.errors import LoadError, UsageError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("load-worker")(load_worker)


def load_worker(
    master: Annotated[
        str,
        typer.Argument(metavar="HOST:PORT", help="What `harness run --load-listen` was given."),
    ],
    processes: Annotated[
        int, typer.Option(metavar="N", min=1, max=256, help="Load processes on this machine.")
    ] = 1,
    runs: Annotated[int, typer.Option(metavar="N", min=1, help="Send for so many runs.")] = 1,
) -> None:
    """Send a share of the load of a run that is made on another machine.

    Waits for that machine's `harness run ... --load-listen HOST:PORT`, is told there what to
    send, and passes its journals on. Trusts whoever answers at that address: use it in a
    network of your own.
    """
    from harness import open_files
    from harness.load.process import worker_command
    from harness.model import Address

    open_files.allow()
    address = Address.parse(master)
    for run in range(runs):
        with tempfile.TemporaryDirectory(prefix="lossmeter-load-") as folder:
            command = worker_command(address, processes, Path(folder))
            say(f"load processes for {address}: {processes}, run {run + 1} of {runs}")
            done = subprocess.run(command.argv, env=os.environ | command.environment, check=False)
        if done.returncode == 1:
            raise UsageError(f"no run is made at {address}; start it with --load-listen {address}")
        if done.returncode:
            raise LoadError(f"the load processes ended with exit code {done.returncode}")
