"""``lossmeter replay``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossmeter.commands._shared import OUT, say
from lossmeter.errors import CollectError, ExitCode, TargetError, UsageError

if TYPE_CHECKING:
    from lossmeter.load.replay import Replayed
    from lossmeter.plan.target import Target


def command(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="Of the dispatcher, e.g. http://127.0.0.1:8080.")
    ],
    target: Annotated[
        str,
        typer.Option(
            "--target",
            "-t",
            metavar="NAME|FILE.toml",
            help="Says how it is spoken to, and in [dead_letters] how its dead letters come back.",
        ),
    ] = "channel",
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="postgresql://...|FILE",
            help="Where the dead letters are. Default: the dispatcher is asked to replay its own.",
        ),
    ] = None,
    every: Annotated[
        float | None,
        typer.Option(min=0.1, metavar="SECONDS", help="Replay again and again, until Ctrl-C."),
    ] = None,
) -> None:
    """Put dead letters back, by hand or on a timer, and say how many went.

    A letter is removed only when its event was accepted; one whose answer never came is kept
    and may come twice. Exit code 1 when some were kept.
    """
    from lossmeter.plan.catalogue import Catalogue
    from lossmeter.plan.target import checked_url

    base, chosen = checked_url(url), Catalogue.here().target(target)
    if every is None:
        done = _once(base, chosen, source)
        OUT.print(str(done), highlight=False)
        raise typer.Exit(ExitCode.OVER_BUDGET if done.kept else ExitCode.WITHIN_BUDGET)
    while True:
        try:
            OUT.print(str(_once(base, chosen, source, again=True)), highlight=False)
        except (TargetError, CollectError) as error:
            # A dispatcher or database that is away now may be there the next time.
            say(f"not now: {error}")
        time.sleep(every)


def _once(url: str, target: Target, source: str | None, *, again: bool = False) -> Replayed:
    from lossmeter.load.replay import by_endpoint, from_file, from_table

    if source is None:
        return by_endpoint(url, target)
    if "://" not in source:
        return from_file(url, target, Path(source), may_be_missing=again)
    if not source.startswith(("postgresql://", "postgres://")):
        raise UsageError(f"--from {source!r} is neither a file nor a postgresql:// URL")
    return from_table(url, target, source)
