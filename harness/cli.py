"""The command line. Exit codes are pytest's, extended (see ``harness.errors.ExitCode``).

Heavy modules are imported where they are used, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from harness.errors import ExitCode, HarnessError, UsageError

if TYPE_CHECKING:
    from harness.catalogue import Catalogue, Cell
    from harness.result import Result
    from harness.runtime import Runtime

# A pipe has no width of its own; a log keeps long lines better than broken ones.
PIPE_WIDTH = 140
OUT = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
ERR = Console(stderr=True, width=None if sys.stderr.isatty() else PIPE_WIDTH)

app = typer.Typer(
    name="harness",
    help=(
        "Tells how many messages an event dispatcher loses when things go wrong, and proves it.\n\n"
        "Exit codes: 0 within budget, 1 over budget, 2 interrupted, 3 harness error, "
        "4 wrong usage, 5 nothing judged, 7 inconclusive."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        "-t",
        metavar="NAME|FILE.toml",
        help="Target to run on: a name from `harness list`, or your own file. Repeatable. "
        "Default: the experiment's own list.",
    ),
]
Variants = Annotated[
    list[str] | None,
    typer.Option(
        "--variant",
        metavar="NAME",
        help="Variant of the experiment; `default` is the unnamed one. Repeatable. Default: all.",
    ),
]


@app.command("list")
def list_() -> None:
    """Show the experiments and targets there are."""
    from rich.table import Table

    from harness.catalogue import Catalogue

    catalogue = Catalogue.here()
    experiments = Table("experiment", "variants", "hypothesis", title="Experiments")
    for name in catalogue.experiment_names():
        experiment = catalogue.experiment(name)
        variants = ", ".join(variant.name or "default" for variant in experiment.variants)
        experiments.add_row(name, variants, experiment.hypothesis)
    targets = Table("target", "a yes means", "summary", title="Targets")
    for name in catalogue.target_names():
        target = catalogue.target(name)
        targets.add_row(name, target.ack_level, target.summary)
    OUT.print(experiments, targets)


@app.command()
def run(
    experiment: Annotated[str, typer.Argument(help="Name of an experiment, see `harness list`.")],
    target: Targets = None,
    variant: Variants = None,
    runtime: Annotated[
        str,
        typer.Option(metavar="auto|local|docker", help="Where servers and targets run."),
    ] = "auto",
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**31 - 1, help="Fixes the events sent. Default: random."),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Also write the results here; - is stdout."),
    ] = None,
) -> None:
    """Run an experiment and judge it.

    Starts real servers and the target, sends the load, injects the fault, heals it, waits
    until all has settled, and compares what producers were told with what was persisted.

    Everything is saved under results/runs/ before it is judged.
    """
    from harness.catalogue import Catalogue, cells
    from harness.result import exit_code

    if json_file is not None and not json_file.parent.is_dir():
        raise UsageError(f"--json {json_file}: folder {json_file.parent} does not exist")
    catalogue = Catalogue.here()
    asked = cells(catalogue, catalogue.experiment(experiment), target or [], variant or [])
    chosen = _runtime(runtime)
    ready = _runnable(asked, chosen)
    _prepare(chosen, ready)
    seed = secrets.randbelow(2**31) if seed is None else seed
    ERR.print(f"[dim]runtime {chosen.name}, seed {seed}, {len(ready)} runs[/dim]")
    _recover(chosen)
    results: list[Result] = []
    try:
        for result in _run_all(ready, chosen, seed, catalogue):
            results.append(result)  # noqa: PERF402 - what was judged must outlive an error
    except HarnessError:
        if results:
            _show(results, json_file)
        raise
    _show(results, json_file)
    raise typer.Exit(exit_code(results))


@app.command()
def report(
    run_folder: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN...", help="Folders under results/runs; default: the newest."),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Also write the results here; - is stdout."),
    ] = None,
) -> None:
    """Judge runs again from what they saved, without running anything."""
    from harness.catalogue import Catalogue
    from harness.judge import judge_run
    from harness.report.table import detail
    from harness.result import exit_code

    runs = Catalogue.here().runs
    folders = [_run_folder(runs, name) for name in run_folder or [_newest(runs)]]
    results = []
    for folder in folders:
        result = judge_run(folder)
        result.save(folder)
        results.append(result)
    _show(results, json_file)
    if len(results) == 1 and str(json_file) != "-":
        OUT.print(detail(results[0]))
    raise typer.Exit(exit_code(results))


@app.command()
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
    from harness.predict import Dispatcher
    from harness.report.plan import plan_table

    dispatcher = Dispatcher(rate, workers, handler_time, capacity, push_timeout, grace)
    OUT.print(plan_table(dispatcher, queued))


@app.command()
def doctor() -> None:
    """Say what this machine can run and what is missing, in plain words."""
    from harness import runtimes
    from harness.cache import cache_root
    from harness.plugins import load, names_in
    from harness.report import doctor as rooms
    from harness.services import discover

    available = {
        name: load(runtimes, name, "runtime").RUNTIME.unavailable() for name in names_in(runtimes)
    }
    servers = rooms.service_findings(discover())
    machine = rooms.machine_findings(cache_root())
    rooms.show([*machine, *rooms.runtime_findings(available), *servers], OUT)
    if any(not finding.fine for finding in servers):
        OUT.print("Missing servers come by themselves with the next run, or by `make servers`.")
    # One runtime is enough.
    fine = all(each.fine for each in [*machine, *servers]) and None in available.values()
    raise typer.Exit(ExitCode.WITHIN_BUDGET if fine else ExitCode.HARNESS_ERROR)


@app.command()
def images() -> None:
    """Build the images for containers, unless they are there."""
    from harness.catalogue import Catalogue
    from harness.services import discover

    catalogue = Catalogue.here()
    targets = [catalogue.target(name) for name in catalogue.target_names()]
    _runtime("docker").prepare(list(discover().values()), targets, _say)


@app.command()
def recover() -> None:
    """Remove what killed harnesses left behind: processes, ports, folders. Nothing else."""
    from harness import runtimes
    from harness.plugins import load, names_in

    removed = []
    for name in names_in(runtimes):
        removed += load(runtimes, name, "runtime").RUNTIME.recover()
    for line in removed:
        OUT.print(f"removed {line}", highlight=False)
    if not removed:
        OUT.print("nothing was left behind")


def _runtime(name: str) -> Runtime:
    """Return the runtime of that name, or the best this machine can offer for ``auto``."""
    from harness import runtimes
    from harness.plugins import load, names_in

    if name != "auto":
        chosen: Runtime = load(runtimes, name, "runtime").RUNTIME
        if why := chosen.unavailable():
            raise UsageError(f"runtime {name} is not available: {why}")
        return chosen
    whys: list[str] = []
    # Containers isolate better than processes, so they come first where there are both.
    for candidate in sorted(names_in(runtimes), key=lambda name: name == "local"):
        chosen = load(runtimes, candidate, "runtime").RUNTIME
        why = chosen.unavailable()
        if why is None:
            reason = f"not {'; '.join(whys)}" if whys else "its engine answers"
            _say(f"runtime {candidate}: {reason}")
            return chosen
        whys.append(f"{candidate}, since {why}")
    raise UsageError("no runtime is available here: " + "; ".join(whys))


def _runnable(asked: Sequence[Cell], runtime: Runtime) -> list[Cell]:
    """Return the cells that the runtime can run; name the others and why."""
    from harness.run import check

    ready = []
    for cell in asked:
        why = check(cell, runtime)
        if why is None:
            ready.append(cell)
        else:
            ERR.print(f"[yellow]skipped[/yellow] {cell.name} on {cell.target.name}: {why}")
    return ready


def _prepare(runtime: Runtime, cells: Sequence[Cell]) -> None:
    """Bring the servers or images that the cells need, unless they are there."""
    from harness.ownership import MARK, Owner
    from harness.run import services_of

    # What is started from here on is found by `recover` if this process is killed.
    os.environ[MARK] = Owner.this_process("install").mark
    services = {name: each for cell in cells for name, each in services_of(cell).items()}
    targets = {cell.target.name: cell.target for cell in cells}
    runtime.prepare(list(services.values()), list(targets.values()), _say)


def _say(text: str) -> None:
    ERR.print(text, highlight=False, soft_wrap=True)


def _recover(runtime: Runtime) -> None:
    for line in runtime.recover():
        ERR.print(f"removed what a killed run left: {line}", highlight=False)


def _run_all(
    cells: Sequence[Cell], runtime: Runtime, seed: int, catalogue: Catalogue
) -> Iterator[Result]:
    """Run each cell; an instrument's failure in one does not stop the others."""
    from harness.report.console import ConsoleNarrator
    from harness.run import Ask
    from harness.run import run as run_cell

    for cell in cells:
        title = f"{cell.name} × {cell.target.name}"
        with ConsoleNarrator(ERR, title) as narrator:
            result = run_cell(Ask(cell, runtime, seed, catalogue.runs, narrator))
            narrator.say(f"{result.verdict}: {result.reason}")
        yield result


@contextmanager
def _one_interrupt() -> Iterator[None]:
    """Turn the first Ctrl-C or SIGTERM into one KeyboardInterrupt; later ones wait."""
    told = False

    def interrupt(number: int, frame: object) -> None:
        del number, frame
        nonlocal told
        if told:
            ERR.print("already stopping: faults are being healed and servers stopped")
            return
        told = True
        raise KeyboardInterrupt

    numbers = [signal.SIGINT, signal.SIGTERM]
    # Under nohup the end of the terminal is to be ignored, and stays so.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show(results: Sequence[Result], json_file: Path | None) -> None:
    from harness.report.table import result_table

    text = json.dumps([json.loads(result.to_json()) for result in results], indent=2) + "\n"
    if json_file is not None and str(json_file) == "-":
        sys.stdout.write(text)
        return
    if json_file is not None:
        json_file.write_text(text, encoding="utf-8")
    if results:
        OUT.print(result_table(results, OUT.width))
    else:
        OUT.print("nothing was judged")


def _newest(runs: Path) -> Path:
    folders = sorted((path for path in runs.glob("*-*") if path.is_dir()), key=_changed)
    if not folders:
        raise UsageError(f"{runs} holds no run yet; make one with `harness run crash`")
    return folders[-1]


def _changed(folder: Path) -> float:
    return folder.stat().st_mtime


def _run_folder(runs: Path, name: Path) -> Path:
    """Return a run's folder, given its path or its name."""
    for candidate in (name, runs / name):
        if candidate.is_dir():
            return candidate
    raise UsageError(f"run {str(name)!r} does not exist, neither as a folder nor in {runs}")


# Typer exports this class's child only; it is the root of what is wrong with options.
_OptionError: type[typer.BadParameter] = typer.BadParameter.__mro__[1]


def main() -> None:
    """Run the command line and exit with a documented code, never with a traceback."""
    try:
        with _one_interrupt():
            code = app(standalone_mode=False)
    except HarnessError as error:
        ERR.print(f"[red]error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except _OptionError as error:
        # Without arguments the help has been printed, and there is nothing to add.
        if message := error.format_message():
            ERR.print(f"[red]error:[/red] {escape(message)}", highlight=False, soft_wrap=True)
        sys.exit(ExitCode.USAGE)
    except (typer.Abort, KeyboardInterrupt):
        ERR.print("interrupted")
        sys.exit(ExitCode.INTERRUPTED)
    except Exception:  # noqa: BLE001 - the last resort, and it shows everything
        # Python would exit with 1, which means over budget here.
        traceback.print_exc()
        sys.exit(ExitCode.HARNESS_ERROR)
    sys.exit(code if isinstance(code, int) else ExitCode.WITHIN_BUDGET)


if __name__ == "__main__":
    main()
