"""``harness run``."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands._repeating import Repeat, UntilDecided, run_repeatedly, wanted
from harness.commands._running import prepare, recover, run_all, runnable
from harness.commands._shared import ERR, JsonFile, Targets, Variants, runtime_named, show
from harness.errors import HarnessError, UsageError

if TYPE_CHECKING:
    from harness.result import Result


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def run(
    experiment: Annotated[
        list[str],
        typer.Argument(
            metavar="EXPERIMENT...", help="Names of experiments, see `harness list`; all for all."
        ),
    ],
    target: Targets = None,
    variant: Variants = None,
    runtime: Annotated[
        str,
        typer.Option(metavar="auto|local|docker", help="Where servers and targets run."),
    ] = "auto",
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**31 - 1, help="Fixes all that is random. Default: random."),
    ] = None,
    repeat: Repeat = None,
    until_decided: UntilDecided = False,
    json_file: JsonFile = None,
) -> None:
    """Run experiments and judge them.

    Starts real servers and the target, sends the load, injects the fault, heals it, waits
    until all has settled, and compares what producers were told with what was persisted.

    Everything is saved under results/runs/ before it is judged.
    """
    from harness.catalogue import Catalogue, cells
    from harness.result import exit_code

    if json_file is not None and not json_file.parent.is_dir():
        raise UsageError(f"--json {json_file}: folder {json_file.parent} does not exist")
    catalogue = Catalogue.here()
    names = catalogue.experiment_names() if experiment == ["all"] else experiment
    asked = [
        cell
        for name in names
        for cell in cells(catalogue, catalogue.experiment(name), target or [], variant or [])
    ]
    chosen = runtime_named(runtime)
    ready = runnable(asked, chosen)
    prepare(chosen, ready)
    seed = secrets.randbelow(2**31) if seed is None else seed
    ERR.print(f"[dim]runtime {chosen.name}, seed {seed}, {len(ready)} runs[/dim]")
    recover(chosen)
    if repeat is not None or until_decided:
        test = wanted(repeat, until_decided)
        raise typer.Exit(
            run_repeatedly(
                *(ready, chosen, seed, catalogue),
                repeat=repeat or 1,
                test=test,
                json_file=json_file,
            )
        )
    results: list[Result] = []
    try:
        for result in run_all(ready, chosen, seed, catalogue):
            results.append(result)  # noqa: PERF402 - what was judged must outlive an error
    except HarnessError:
        if results:
            show(results, json_file)
        raise
    show(results, json_file)
    raise typer.Exit(exit_code(results))
