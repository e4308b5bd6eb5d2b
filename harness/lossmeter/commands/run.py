"""``lossmeter run``."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossmeter.commands._asked import Asked, Wanted
from lossmeter.commands._gating import JunitFile, conclude, fresh, publish
from lossmeter.commands._monitoring import Factor, Monitored
from lossmeter.commands._repeating import Repeat, Repeats, UntilDecided, code_of
from lossmeter.commands._running import (
    FreshServers,
    Placed,
    in_turn,
    names_of,
    pool_of,
    prepare,
    run_all,
    runnable,
)
from lossmeter.commands._shared import (
    OUT,
    AllowContext,
    Context,
    Duration,
    JsonFile,
    Kubeconfig,
    Rate,
    RunsOn,
    Seed,
    Settings,
    Targets,
    Variants,
    check_json,
    on_stdout,
    runtimes_named,
    say,
    say_notes,
    seeded,
    show,
    use_cluster,
    write_json,
)
from lossmeter.commands._turns import Jobs, at_once_of
from lossmeter.errors import ExitCode, HarnessError, UsageError
from lossmeter.model import plural
from lossmeter.report import words

if TYPE_CHECKING:
    from lossmeter.plan.catalogue import Catalogue
    from lossmeter.record.outcome import Outcome, Unjudged
    from lossmeter.record.result import Result
    from lossmeter.run.monitor.watch import Watch
    from lossmeter.world.runtime import Runtime
    from lossmeter.world.server_pool import ServerPool


def command(
    experiment: Annotated[
        list[str],
        typer.Argument(
            metavar="EXPERIMENT...", help="Names of experiments, see `lossmeter list`; all for all."
        ),
    ],
    target: Targets = None,
    variant: Variants = None,
    runtime: RunsOn = "auto",
    seed: Seed = None,
    repeat: Repeat = None,
    until_decided: UntilDecided = False,
    rate: Rate = None,
    duration: Duration = None,
    settings: Settings = None,
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
            help="Have the load processes started on other machines, by `lossmeter load-worker "
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
    jobs: Jobs = "1",
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
    until all has settled, and compares the answers that producers got with what was persisted.

    Everything is saved under results/runs/ before it is judged.
    """
    from lossmeter.plan.catalogue import Catalogue

    check_json(json_file)
    use_cluster(kubeconfig, context, allow_context)
    if load_pods is not None and (runtime != "kubernetes" or load_processes or load_listen):
        raise UsageError(
            "--load-pods is for --runtime kubernetes, without --load-processes and "
            "--load-listen: pods are processes of a cluster"
        )
    repeats = Repeats.asked(repeat, until_decided)
    if junit is not None and not gate:
        raise UsageError("--junit is written by the gate: give --gate as well")
    if gate and repeats is not None:
        raise UsageError(
            "--gate judges each cell by one run: leave out --repeat and --until-decided, "
            "or judge the recorded runs with `lossmeter gate`"
        )
    if monitor_factor is not None and not monitor:
        raise UsageError("--monitor-factor is the clock of --monitor: give --monitor as well")
    asked = Asked(
        experiments=experiment,
        targets=target or [],
        variants=variant or [],
        rate=rate,
        duration=duration,
        settings=settings or [],
        load_processes=load_processes,
        load_listen=load_listen,
        load_pods=load_pods,
        monitor=monitor,
        monitor_factor=monitor_factor,
        fresh_servers=fresh_servers,
    )
    at_once = at_once_of(jobs, runtime)
    catalogue = Catalogue.here()
    wanted = asked.wanted(catalogue, say)
    ask = _Ask(
        asked=asked,
        wanted=wanted,
        runtimes=runtimes_named(runtime),
        seed=seeded(seed),
        catalogue=catalogue,
        json_file=json_file,
        junit=fresh(junit or catalogue.results / "junit.xml", json_file) if gate else None,
        watch=asked.watch(wanted.cells, catalogue),
        repeats=repeats,
        at_once=at_once,
    )
    if left_out := catalogue.left_out(experiment):
        say(f"left out, since it takes long: {', '.join(left_out)}; run it by name")
    raise typer.Exit(_run(ask))


@dataclass(frozen=True, slots=True)
class _Ask:
    """What was typed, made out."""

    asked: Asked
    wanted: Wanted
    runtimes: Sequence[Runtime]
    seed: int
    catalogue: Catalogue
    json_file: Path | None
    junit: Path | None
    watch: Watch | None
    repeats: Repeats | None
    at_once: int = 1

    def place(self, result: Result) -> tuple[int, int]:
        """Return where a run stands in the order in which runs were asked for."""
        order = [(cell.name, cell.target.name) for cell in self.wanted.cells]
        return order.index((result.experiment, result.target)), result.repeat

    def runs(self, placed: Sequence[Placed], pool: ServerPool) -> Iterator[Result]:
        """Yield every run as soon as it is judged."""

        def run(which: Sequence[Placed], number: int = 0) -> Iterator[Result]:
            return run_all(
                *(which, self.seed, self.catalogue), repeat=number, watch=self.watch, pool=pool
            )

        if self.repeats is None:
            yield from run(placed)
            return
        repeats = self.repeats
        yield from in_turn(partial(repeats.runs, partial(run, [each])) for each in placed)


def _run(ask: _Ask) -> ExitCode:
    """Run what can be run and show it all in one table; what was cut short is named too."""
    begin = time.monotonic()
    ready, unjudged = runnable(ask.wanted.cells, ask.runtimes)
    unjudged += _broken(ask)
    results: list[Result] = []
    try:
        prepare(ready)
        say(f"runtime {names_of(ready)}, seed {ask.seed}, {plural(len(ready), 'cell')}")
        with closing(_made(ask, ready)) as made:
            for result in made:
                # Kept one by one: what was judged must outlive an error.
                results.append(result)
                results.sort(key=ask.place)
    except HarnessError as error:
        if results or ask.junit is not None:
            rest = _never_run(ready, results, error)
            _report(ask, results, [*unjudged, *rest], error.exit_code)
        raise
    code = _code(ask, ready, results, unjudged)
    _report(ask, results, unjudged, code)
    say(f"{plural(len(results), 'run')} in {words.minutes(time.monotonic() - begin)}")
    return code


def _made(ask: _Ask, ready: Sequence[Placed]) -> Generator[Result]:
    """Yield every run as soon as it is judged, from as many at once as was asked for."""
    at_once = min(ask.at_once, len(ready))
    if at_once > 1:
        from lossmeter.commands._side_by_side import SideBySide, jobs_of, say_alone, start_of

        jobs = jobs_of(ready, ask.wanted.cells)
        say_alone(jobs)
        if sum(job.why_alone is None for job in jobs) > 1:
            say(f"up to {at_once} at once, as far as the CPU has headroom")
            with SideBySide(start_of(ask.asked, ask.seed, at_once), jobs, ask.repeats) as beside:
                yield from beside.runs()
            return
    alone = len(ready) == 1 and ask.repeats is None
    with pool_of(ask.asked.fresh_servers or alone) as pool:
        yield from ask.runs(ready, pool)


def _broken(ask: _Ask) -> list[Unjudged]:
    from lossmeter.judge.again import ANY
    from lossmeter.record.outcome import Lack, Unjudged

    return [
        Unjudged(name, ANY, ask.runtimes[0].name, Lack.MISSING, why)
        for name, why in ask.wanted.broken
    ]


def _never_run(
    ready: Sequence[Placed], results: Sequence[Result], error: HarnessError
) -> list[Unjudged]:
    from lossmeter.record.outcome import Lack, Unjudged

    made = {(result.experiment, result.target) for result in results}
    return [
        Unjudged(name, target, each.runtime.name, Lack.MISSING, f"no verdict: {error}")
        for each in ready
        if ((name := each.cell.name), (target := each.cell.target.name)) not in made
    ]


def _code(
    ask: _Ask, ready: Sequence[Placed], results: Sequence[Result], unjudged: Sequence[Unjudged]
) -> ExitCode:
    """Return the exit code; an experiment asked for by name of which nothing ran is no pass."""
    from lossmeter.record.outcome import overall

    codes = [overall([*results, *unjudged])]
    if ask.repeats is not None and results:
        codes = [code_of(results, ask.repeats.summaries(results))]
        codes += [overall(unjudged)] if ask.wanted.broken else []
    ran = {each.cell.experiment.name for each in ready}
    if idle := [name for name in ask.wanted.named if name not in ran]:
        codes.append(ExitCode.NOTHING_JUDGED)
        if ready:
            say(f"nothing of {', '.join(idle)} can be run on runtime {names_of(ready)}")
    return ExitCode.gravest(codes)


def _report(
    ask: _Ask, results: Sequence[Result], unjudged: Sequence[Unjudged], code: ExitCode
) -> None:
    """Show the outcomes in the order in which they were asked for, and tell the pipeline."""
    order = [(cell.name, cell.target.name) for cell in ask.wanted.cells]
    order += [(each.experiment, each.target) for each in unjudged]
    outcomes: list[Outcome] = sorted(
        [*results, *unjudged], key=lambda each: order.index((each.experiment, each.target))
    )
    if ask.repeats is None:
        show(outcomes, ask.json_file)
    else:
        _show_repeats(ask, ask.repeats, results, unjudged)
    say_notes(results)
    if ask.junit is not None:
        publish(outcomes, ask.junit, json_on_stdout=on_stdout(ask.json_file))
        conclude(outcomes, code)


def _show_repeats(
    ask: _Ask, repeats: Repeats, results: Sequence[Result], unjudged: Sequence[Unjudged]
) -> None:
    from lossmeter.report.repeats import repeats_table

    summaries = repeats.summaries(results)
    if not on_stdout(ask.json_file):
        show([*results, *unjudged], None)
        if summaries:
            OUT.print(repeats_table(summaries))
    data = {
        "runs": [json.loads(result.to_json()) for result in results],
        "summary": [summary.model_dump(mode="json") for summary in summaries],
        "unjudged": [json.loads(each.to_json()) for each in unjudged],
    }
    write_json(ask.json_file, data)
