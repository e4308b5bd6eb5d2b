"""``lossmeter capacity``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from lossmeter.commands._running import Placed, prepare, run_one, runnable
from lossmeter.commands._shared import ERR, OUT, RunsOn, Seed, runtimes_named, say, seeded
from lossmeter.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from lossmeter.experiment import Experiment
    from lossmeter.plan.catalogue import Catalogue
    from lossmeter.plan.target import Target
    from lossmeter.studies.capacity import Bounds, Capacity, RateSearch, Tried, Value


def command(
    target: Annotated[
        str, typer.Argument(metavar="NAME|FILE.toml", help="Target to load, see `lossmeter list`.")
    ],
    like: Annotated[
        str | None,
        typer.Option(
            metavar="EXPERIMENT",
            help="Take the settings from an experiment, e.g. rates, whose tables then show "
            "what was found. Default: the target's own.",
        ),
    ] = None,
    tuning: Annotated[
        list[str] | None,
        typer.Option(
            "--tune",
            metavar="NAME=VALUE,VALUE",
            help="Try these values of a setting, e.g. workers=32,64,128, and keep the best. "
            "Repeatable. What each gave is recorded.",
        ),
    ] = None,
    start: Annotated[float, typer.Option(help="First rate, events per second.")] = 100.0,
    most: Annotated[float, typer.Option(help="Highest rate to ask for.")] = 20_000.0,
    hold: Annotated[float, typer.Option(min=1, max=600, help="Seconds at each rate.")] = 10.0,
    precision: Annotated[float, typer.Option(help="Stop when this close, as a share.")] = 0.05,
    limit: Annotated[float, typer.Option(min=1, help="Begin no run after so long.")] = 900.0,
    latency: Annotated[
        float, typer.Option(help="Bound on the p99 from the scheduled time to the ack, in ms.")
    ] = 1000.0,
    backlog: Annotated[
        float, typer.Option(help="Seconds that what is queued at the end may take.")
    ] = 2.0,
    runtime: RunsOn = "auto",
    seed: Seed = None,
) -> None:
    """Find the highest rate that a target sustains.

    Offers rates in an open load, each in a run of its own: doubles until one is not
    sustained, then closes in. Sustained is what loses, refuses and leaves open nothing,
    answers in time, and leaves no backlog. The result is saved under results/capacity/.
    """
    from lossmeter.plan.catalogue import Catalogue
    from lossmeter.report.capacities_markdown import (
        save_capacities_page,
        tried_table,
        tuning_table,
    )
    from lossmeter.studies.capacity import Bounds, RateSearch, cell_at, tune

    search = RateSearch(start, most, hold, precision, limit)
    catalogue = Catalogue.here()
    loaded = catalogue.target(target)
    choices = _choices(loaded, tuning or [])
    same = None if like is None else catalogue.experiment(like)
    ready, skipped = runnable([cell_at(loaded, start, hold, same)], runtimes_named(runtime))
    if not ready:
        raise UsageError(f"target {loaded.name} cannot be run: {skipped[0].reason}")
    prepare(ready)
    measuring = _Measuring(
        *(catalogue, loaded, same, ready[0], seeded(seed)), search, Bounds(latency, backlog)
    )
    found = tune(choices, measuring.capacity) if choices else measuring.capacity({})
    like_ = [] if found.like is None else ["like", found.like]
    name = "-".join([loaded.name, found.runtime, *like_])
    path = catalogue.results / "capacity" / f"{name}.json"
    found.save(path)
    page = save_capacities_page(path.parent)
    _note(catalogue, page)
    ERR.print(f"[dim]saved as {path}, all of them in {page}[/dim]")
    if found.tuning:
        OUT.print(tuning_table(found.tuning))
    OUT.print(tried_table(found.tried))
    if found.sustained_per_s is None:
        OUT.print(f"{loaded.name} sustained none of the rates tried: {found.limited_by}")
        raise typer.Exit(ExitCode.NOTHING_JUDGED)
    OUT.print(
        f"{loaded.name} sustains {found.sustained_per_s:g} events/s on {found.runtime}"
        f"{_with(found.settings)}; above that: {found.limited_by}"
    )


def _note(catalogue: Catalogue, page: Path) -> None:
    """Keep what the page of all capacities rests on, where all are of one version."""
    from lossmeter.report.capacity import every_capacity
    from lossmeter.studies import capacity
    from lossmeter.studies.pages import basis, made_now, note

    every = every_capacity(page.parent)
    now = made_now(str(each.machine.get("commit", "")) for each in every)
    like = [each.like for each in every if each.like]
    on = basis(catalogue, like, [each.target for each in every], [capacity])
    note(page.parent, [page.name], on if now else None)


def _with(settings: Mapping[str, Value]) -> str:
    given = ", ".join(f"{name} {value}" for name, value in settings.items())
    return f" with {given}" if given else ""


def _choices(target: Target, options: Sequence[str]) -> dict[str, list[Value]]:
    """Return the values to try of each setting.

    Raises:
        UsageError: an option is not of that form, or names a setting that the target lacks.
    """
    from lossmeter.plan.asked import Numbers

    found: dict[str, list[Value]] = {}
    for option in options:
        name, _, values = option.partition("=")
        if name in found:
            raise UsageError(f"--tune gives {name} twice; list its values with commas between")
        tried = [
            Numbers.parse(None, None, [f"{name}={value}"]).settings[name]
            for value in values.split(",")
        ]
        if name not in target.settings:
            known = ", ".join(sorted(target.settings)) or "none: its file has no [settings]"
            raise UsageError(
                f"--tune {name}: target {target.name} has no such setting; known are {known}"
            )
        found[name] = list(dict.fromkeys(tried))
    return found


@dataclass(frozen=True, slots=True)
class _Measuring:
    """Measures the capacity of one target, with these and those settings."""

    catalogue: Catalogue
    target: Target
    like: Experiment | None
    first: Placed
    seed: int
    search: RateSearch
    bounds: Bounds

    def capacity(self, settings: Mapping[str, Value]) -> Capacity:
        from lossmeter.studies.capacity import Asked, look, measured

        if settings:
            say(f"settings: {_with(settings).removeprefix(' with ')}")
        like = None if self.like is None else self.like.name
        asked = Asked(self.target.name, self.first.runtime.name, self.seed, like, settings)
        tried = look(self.search, lambda rate_per_s: self._tried(rate_per_s, settings))
        return measured(asked, self.bounds, self.search, tried)

    def _tried(self, rate_per_s: float, settings: Mapping[str, Value]) -> Tried:
        from lossmeter.studies.capacity import cell_at, weigh

        cell = cell_at(self.target, rate_per_s, self.search.hold_s, self.like, settings)
        result = run_one(replace(self.first, cell=cell), self.seed, self.catalogue)
        tried = weigh(rate_per_s, result, self.catalogue.runs / result.run_id, self.bounds)
        say(f"{rate_per_s:g} events/s: {'sustained' if tried.sustained else tried.why}")
        return tried
