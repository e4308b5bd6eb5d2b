"""``harness run``."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands._gating import JunitFile, conclude, fresh, publish
from harness.commands._monitoring import Factor, Monitored, watching
from harness.commands._repeating import Repeat, UntilDecided, run_repeatedly, wanted
from harness.commands._running import (
    FreshServers,
    prepare,
    recover,
    run_all,
    runnable,
    shelf_of,
)
from harness.commands._shared import (
    AllowContext,
    Context,
    JsonFile,
    Kubeconfig,
    Targets,
    Variants,
    check_json,
    runtime_named,
    say,
    show,
    use_cluster,
)
from harness.errors import ExitCode, HarnessError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.catalogue import Catalogue, Cell
    from harness.model import Address
    from harness.monitor.watch import Watch
    from harness.outcome import Outcome
    from harness.result import Result
    from harness.runtime import Runtime


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
        typer.Option(metavar="auto|local|docker|kubernetes", help="Where servers and targets run."),
    ] = "auto",
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**31 - 1, help="Fixes all that is random. Default: random."),
    ] = None,
    repeat: Repeat = None,
    until_decided: UntilDecided = False,
    load_processes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Send the load from so many processes, one journal each. "
            "Default: as the experiment says, mostly 1.",
        ),
    ] = None,
    load_listen: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Have the load processes started on other machines, by `harness load-worker "
            "HOST:PORT`; HOST is this machine's address, where they reach the target as well.",
        ),
    ] = None,
    load_pods: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Kubernetes: send the load from so many pods, one journal each."
        ),
    ] = None,
    fresh_servers: FreshServers = False,
    gate: Annotated[
        bool, typer.Option("--gate", help="Also write JUnit XML, and tell GitHub Actions.")
    ] = False,
    junit: JunitFile = None,
    json_file: JsonFile = None,
    monitor: Monitored = False,
    monitor_factor: Factor = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    allow_context: AllowContext = None,
) -> None:
    """Run experiments and judge them.

    Starts real servers and the target, sends the load, injects the fault, heals it, waits
    until all has settled, and compares what producers were told with what was persisted.

    Everything is saved under results/runs/ before it is judged.
    """
    from harness.catalogue import ALL, Catalogue, cells, with_load_pods, with_load_processes

    check_json(json_file)
    use_cluster(kubeconfig, context, allow_context)
    if junit is not None and not gate:
        raise UsageError("--junit is written by the gate: give --gate as well")
    catalogue = Catalogue.here()
    asked = [
        cell
        for name in catalogue.chosen(experiment)
        for cell in cells(catalogue, catalogue.experiment(name), target or [], variant or [])
    ]
    if load_processes is not None or load_listen is not None:
        listen = _listen(load_listen)
        processes = 1 if load_processes is None else load_processes
        asked = [with_load_processes(cell, processes, listen) for cell in asked]
    if load_pods is not None:
        if runtime != "kubernetes" or load_processes is not None or load_listen is not None:
            raise UsageError(
                "--load-pods is for --runtime kubernetes, without --load-processes and "
                "--load-listen: pods are processes of a cluster"
            )
        asked = [with_load_pods(cell, load_pods) for cell in asked]
    if gate and (repeat is not None or until_decided):
        raise UsageError(
            "--gate judges each cell by one run: leave out --repeat and --until-decided, "
            "or judge the recorded runs with `harness gate`"
        )
    watch = watching(asked, catalogue, monitor_factor) if monitor else None
    if monitor_factor is not None and not monitor:
        raise UsageError("--monitor-factor is the clock of --monitor: give --monitor as well")
    ask = _Ask(
        named=[] if ALL in experiment else [catalogue.experiment(n).name for n in experiment],
        cells=asked,
        runtime=runtime_named(runtime),
        seed=secrets.randbelow(2**31) if seed is None else seed,
        catalogue=catalogue,
        json_file=json_file,
        junit=fresh(junit or catalogue.root / "results" / "junit.xml") if gate else None,
        watch=watch,
        fresh_servers=fresh_servers,
    )
    if left_out := catalogue.left_out(experiment):
        say(f"left out, since it takes long: {', '.join(left_out)}; run it by name")
    if repeat is None and not until_decided:
        raise typer.Exit(_run(ask))
    ready, _ = runnable(ask.cells, ask.runtime)
    prepare(ask.runtime, ready)
    recover(ask.runtime)
    with shelf_of(fresh_servers) as shelf:
        code = run_repeatedly(
            *(ready, ask.runtime, ask.seed, catalogue),
            repeat=repeat or 1,
            test=wanted(repeat, until_decided),
            json_file=json_file,
            watch=watch,
            shelf=shelf,
        )
    raise typer.Exit(code)


def _listen(text: str | None) -> Address | None:
    from harness.model import Address
    from harness.ports import is_free

    if text is None:
        return None
    address = Address.parse(text)
    if not is_free(address.host, address.port):
        raise UsageError(
            f"--load-listen {address} cannot be listened at: it is taken, or not this machine's"
        )
    return address


@dataclass(frozen=True, slots=True)
class _Ask:
    """What was typed, made out."""

    named: Sequence[str]
    cells: Sequence[Cell]
    runtime: Runtime
    seed: int
    catalogue: Catalogue
    json_file: Path | None
    junit: Path | None
    watch: Watch | None
    fresh_servers: bool


def _run(ask: _Ask) -> ExitCode:
    """Run what can be run and show it all in one table; what was cut short is named too."""
    begin = time.monotonic()
    ready, skipped = runnable(ask.cells, ask.runtime)
    results: list[Result] = []
    try:
        prepare(ask.runtime, ready)
        say(f"runtime {ask.runtime.name}, seed {ask.seed}, {_number(len(ready), 'run')}")
        recover(ask.runtime)
        with shelf_of(ask.fresh_servers or len(ready) == 1) as shelf:
            for result in run_all(
                ready, ask.runtime, ask.seed, ask.catalogue, watch=ask.watch, shelf=shelf
            ):
                results.append(result)  # noqa: PERF402 - what was judged must outlive an error
    except HarnessError as error:
        lost = _never_run(ask, ready[len(results) :], error)
        if results or ask.junit is not None:
            _tell(ask, [*results, *skipped, *lost], error.exit_code)
        raise
    code = _code(ask, ready, [*results, *skipped])
    _tell(ask, [*results, *skipped], code)
    say(f"{_number(len(results), 'run')} in {_minutes(time.monotonic() - begin)}")
    return code


def _never_run(ask: _Ask, rest: Sequence[Cell], error: HarnessError) -> list[Outcome]:
    from harness.outcome import Lack, Unjudged

    return [
        Unjudged(
            cell.name, cell.target.name, ask.runtime.name, Lack.MISSING, f"no verdict: {error}"
        )
        for cell in rest
    ]


def _code(ask: _Ask, ready: Sequence[Cell], outcomes: Sequence[Outcome]) -> ExitCode:
    """Return the exit code; an experiment asked for by name of which nothing ran is no pass."""
    from harness.outcome import overall

    ran = {cell.experiment.name for cell in ready}
    code = overall(outcomes)
    if (idle := [name for name in ask.named if name not in ran]) and ready:
        say(f"nothing of {', '.join(idle)} can be run on runtime {ask.runtime.name}")
    return code if not idle or code is ExitCode.HARNESS_ERROR else ExitCode.NOTHING_JUDGED


def _tell(ask: _Ask, outcomes: Sequence[Outcome], code: ExitCode) -> None:
    """Show the outcomes in the order in which they were asked for, and tell the pipeline."""
    order = [(cell.name, cell.target.name) for cell in ask.cells]
    outcomes = sorted(outcomes, key=lambda each: order.index((each.experiment, each.target)))
    show(outcomes, ask.json_file)
    if ask.junit is not None:
        publish(outcomes, ask.junit, json_on_stdout=str(ask.json_file) == "-")
        conclude(outcomes, code)


def _number(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
