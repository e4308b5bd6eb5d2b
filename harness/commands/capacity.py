"""``harness capacity``."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands._running import prepare, recover, run_all, runnable
from harness.commands._shared import ERR, OUT, runtime_named, say
from harness.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from harness.capacity import Tried
    from harness.catalogue import Cell


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("capacity")(capacity)


def capacity(
    target: Annotated[
        str, typer.Argument(metavar="NAME|FILE.toml", help="Target to load, see `harness list`.")
    ],
    like: Annotated[
        str | None,
        typer.Option(
            metavar="EXPERIMENT",
            help="Take the settings from an experiment, e.g. rates, whose tables then show "
            "what was found. Default: the target's own.",
        ),
    ] = None,
    start: Annotated[float, typer.Option(help="First rate, events per second.")] = 100.0,
    most: Annotated[float, typer.Option(help="Highest rate to ask for.")] = 20_000.0,
    hold: Annotated[float, typer.Option(min=1, max=600, help="Seconds at each rate.")] = 10.0,
    precision: Annotated[float, typer.Option(help="Stop when this close, as a share.")] = 0.05,
    limit: Annotated[float, typer.Option(min=1, help="Begin no run after so long.")] = 900.0,
    latency: Annotated[
        float, typer.Option(help="Bound on the p99 from the scheduled time to the yes, in ms.")
    ] = 1000.0,
    backlog: Annotated[
        float, typer.Option(help="Seconds that what is queued at the end may take.")
    ] = 2.0,
    runtime: Annotated[
        str, typer.Option(metavar="auto|local|docker", help="Where servers and target run.")
    ] = "auto",
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**31 - 1, help="Fixes the events sent.")
    ] = None,
) -> None:
    """Find the highest rate that a target sustains.

    Offers rates in an open load, each in a run of its own: doubles until one is not
    sustained, then closes in. Sustained is what loses, refuses and leaves open nothing,
    answers in time, and leaves no backlog. The result is saved under results/capacity/.
    """
    from harness.capacity import Asked, Bounds, Search, cell_at, look, measured, weigh
    from harness.catalogue import Catalogue
    from harness.report.capacities_markdown import save_capacities_page

    search = Search(start, most, hold, precision, limit)
    bounds = Bounds(latency, backlog)
    catalogue = Catalogue.here()
    loaded = catalogue.target(target)
    chosen = runtime_named(runtime)
    same = None if like is None else catalogue.experiment(like)
    first: Cell = cell_at(loaded, start, hold, same)
    if not runnable([first], chosen):
        raise UsageError(f"target {loaded.name} cannot be run on runtime {chosen.name}")
    prepare(chosen, [first])
    recover(chosen)
    seed = secrets.randbelow(2**31) if seed is None else seed

    def attempt(rate_per_s: float) -> Tried:
        cell = cell_at(loaded, rate_per_s, hold, same)
        result = next(iter(run_all([cell], chosen, seed, catalogue)))
        tried = weigh(rate_per_s, result, catalogue.runs / result.run_id, bounds)
        told = "sustained" if tried.sustained else tried.why
        say(f"{rate_per_s:g} events/s: {told}")
        return tried

    asked = Asked(loaded.name, chosen.name, seed, None if same is None else same.name)
    found = measured(asked, bounds, search, look(search, attempt))
    parts = (loaded.name, chosen.name, *([] if asked.like is None else [f"like-{asked.like}"]))
    path = catalogue.root / "results" / "capacity" / f"{'-'.join(parts)}.json"
    found.save(path)
    page = save_capacities_page(path.parent)
    ERR.print(f"[dim]saved as {path}, all of them in {page}[/dim]")
    if found.sustained_per_s is None:
        OUT.print(f"{loaded.name} sustained none of the rates tried: {found.limited_by}")
        raise typer.Exit(ExitCode.NOTHING_JUDGED)
    OUT.print(
        f"{loaded.name} sustains {found.sustained_per_s:g} events/s on {chosen.name}; "
        f"above that: {found.limited_by}"
    )
