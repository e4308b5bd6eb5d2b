"""``lossmeter plan``."""

from __future__ import annotations

from typing import Annotated

import typer

from lossmeter.commands._shared import OUT, Duration, Rate, Settings, Targets, Variants
from lossmeter.errors import UsageError

_OWN = {
    "workers": 5,
    "handler_time": 0.05,
    "capacity": 1000,
    "push_timeout": 5.0,
    "grace": 2.0,
    "queued": 500,
}


def command(
    experiment: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[EXPERIMENT...]",
            help="Predict these, by name or file, before they are run. Default: your own numbers.",
        ),
    ] = None,
    target: Targets = None,
    variant: Variants = None,
    rate: Rate = None,
    duration: Duration = None,
    settings: Settings = None,
    workers: Annotated[int | None, typer.Option(help="Events handled at once. Default: 5.")] = None,
    handler_time: Annotated[
        float | None,
        typer.Option(help="Seconds that a worker needs for one event. Default: 0.05."),
    ] = None,
    capacity: Annotated[
        int | None, typer.Option(help="Events that the queue holds. Default: 1000.")
    ] = None,
    push_timeout: Annotated[
        float | None,
        typer.Option(help="Seconds that a push waits while the queue is full. Default: 5."),
    ] = None,
    grace: Annotated[
        float | None,
        typer.Option(help="Seconds between SIGTERM and the end of the process. Default: 2."),
    ] = None,
    queued: Annotated[
        int | None,
        typer.Option(help="Events queued when the process is asked to stop. Default: 500."),
    ] = None,
) -> None:
    """Predict for your own numbers: when the queue fills, what a crash or a stop loses.

    Or what experiments should show, as they are or with --rate, --duration and --set. Nothing
    is run; this is the model that results are compared with. What follows ± is by how much a
    run may differ.
    """
    own = {
        "workers": workers,
        "handler_time": handler_time,
        "capacity": capacity,
        "push_timeout": push_timeout,
        "grace": grace,
        "queued": queued,
    }
    given = {name: value for name, value in own.items() if value is not None}
    if experiment:
        if given:
            name = next(iter(given)).replace("_", "-")
            raise UsageError(f"--{name} is for a plan without an experiment; use --set with one")
        _plan_experiments(experiment, (target or [], variant or []), rate, duration, settings or [])
        return
    if target or variant or duration is not None or settings:
        raise UsageError("--target, --variant, --duration and --set need the name of an experiment")
    if rate is None:
        raise UsageError("--rate is missing: how many events per second, or name an experiment")
    _plan_numbers(rate, {**_OWN, **given})


def _plan_numbers(rate: float, numbers: dict[str, float]) -> None:
    from lossmeter.plan.predict.planning import Planned
    from lossmeter.plan.predict.queue import Dispatcher
    from lossmeter.report.plan import plan_table

    dispatcher = Dispatcher(
        rate,
        int(numbers["workers"]),
        numbers["handler_time"],
        int(numbers["capacity"]),
        numbers["push_timeout"],
        numbers["grace"],
    )
    OUT.print(plan_table(Planned(dispatcher, int(numbers["queued"]))))


def _plan_experiments(
    names: list[str],
    chosen: tuple[list[str], list[str]],
    rate: float | None,
    duration: float | None,
    settings: list[str],
) -> None:
    from lossmeter.plan.asked import Numbers
    from lossmeter.plan.catalogue import Catalogue, cells
    from lossmeter.plan.contradictions import check_contradictions
    from lossmeter.plan.predict.expected import expected
    from lossmeter.report.plan import expected_table

    catalogue = Catalogue.here()
    found = [
        cell
        for name in catalogue.chosen(names)
        for cell in cells(catalogue, catalogue.experiment(name), *chosen)
    ]
    numbered = Numbers.parse(rate, duration, settings).put_on(found)
    usable = [cell for cell in numbered if cell.lacks() is None]
    for cell in usable:
        check_contradictions(cell)
    OUT.print(expected_table([(c.name, c.target.name, expected(c)) for c in usable]))
