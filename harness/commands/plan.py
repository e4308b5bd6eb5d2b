"""``harness plan``."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.commands._shared import OUT


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plan")(plan)


def plan(
    rate: Annotated[float, typer.Option(help="Events per second offered.")],
    workers: Annotated[int, typer.Option(help="Events handled at once.")] = 5,
    handler_time: Annotated[
        float, typer.Option(help="Seconds that a worker needs for one event.")
    ] = 0.05,
    capacity: Annotated[int, typer.Option(help="Events that the queue holds.")] = 1000,
    push_timeout: Annotated[
        float, typer.Option(help="Seconds that a push waits while the queue is full.")
    ] = 5.0,
    grace: Annotated[
        float, typer.Option(help="Seconds between SIGTERM and the end of the process.")
    ] = 2.0,
    queued: Annotated[
        int, typer.Option(help="Events queued when the process is asked to stop.")
    ] = 500,
) -> None:
    """Predict for your own numbers: when the queue fills, what a crash or a stop loses.

    Nothing is run; this is the model that results are compared with.
    """
    from harness.predict.queue import Dispatcher
    from harness.report.plan import plan_table

    dispatcher = Dispatcher(rate, workers, handler_time, capacity, push_timeout, grace)
    OUT.print(plan_table(dispatcher, queued))
