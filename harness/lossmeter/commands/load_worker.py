"""``lossmeter load-worker``."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from lossmeter.commands._shared import say
from lossmeter.errors import LoadError, UsageError


def command(
    master: Annotated[
        str,
        typer.Argument(metavar="HOST:PORT", help="What `lossmeter run --load-listen` was given."),
    ],
    processes: Annotated[
        int, typer.Option(metavar="N", min=1, max=256, help="Load processes on this machine.")
    ] = 1,
    runs: Annotated[int, typer.Option(metavar="N", min=1, help="Send for so many runs.")] = 1,
) -> None:
    """Send a share of the load of a run that is made on another machine.

    Waits for that machine's `lossmeter run ... --load-listen HOST:PORT`, gets from it what to
    send, and passes its journals on. Both know each other by the secret that the run prints,
    or that LOSSMETER_LOAD_SECRET names on both machines.
    """
    from lossmeter.load.acquainted import SECRET_VARIABLE
    from lossmeter.load.process import worker_command
    from lossmeter.model import Address
    from lossmeter.run import open_files
    from lossmeter.world.programs import follow
    from lossmeter.world.scratch import scratch_folder

    if not os.environ.get(SECRET_VARIABLE):
        raise UsageError(
            f"{SECRET_VARIABLE} is not set; set it to the secret that `lossmeter run` prints when "
            "it waits for load processes"
        )
    open_files.allow()
    address = Address.parse(master)
    for run in range(runs):
        with scratch_folder("load") as folder:
            command = worker_command(address, processes, folder)
            say(f"load processes for {address}: {processes}, run {run + 1} of {runs}")
            code = follow(command.argv, command.environment)
        if code == 1:
            raise UsageError(
                f"no run that knows this {SECRET_VARIABLE} is made at {address}; start it with "
                f"--load-listen {address}"
            )
        if code:
            raise LoadError(f"the load processes ended with exit code {code}")
