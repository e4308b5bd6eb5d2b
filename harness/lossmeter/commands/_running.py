"""Running cells one after the other, as ``run`` and others do."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossmeter.commands._shared import ERR, runtime_for, say, shown_path
from lossmeter.errors import HarnessError, InterruptedRunError, UnavailableError

if TYPE_CHECKING:
    from lossmeter.judge.verdict import Judged
    from lossmeter.plan.catalogue import Catalogue, Cell
    from lossmeter.record.outcome import Unjudged
    from lossmeter.record.result import Result
    from lossmeter.run.monitor.watch import Watch
    from lossmeter.run.narrator import Narrator
    from lossmeter.world.runtime import Runtime
    from lossmeter.world.server_pool import ServerPool

FreshServers = Annotated[
    bool,
    typer.Option(
        "--fresh-servers",
        help="Start new servers for each run. Default: those that one run leaves unharmed are "
        "emptied, found to be as when they were new, and serve the next.",
    ),
]


@dataclass(frozen=True, slots=True)
class Placed:
    """A cell, and the runtime that it runs on."""

    cell: Cell
    runtime: Runtime


def runnable(
    asked: Sequence[Cell], among: Sequence[Runtime]
) -> tuple[list[Placed], list[Unjudged]]:
    """Return the cells that can be run, each on the first runtime that takes its target.

    Those that cannot are named with the reason.

    Raises:
        UnavailableError: none can be run, since packages are not installed.
    """
    from lossmeter.record.outcome import Lack, Unjudged
    from lossmeter.run.admission import check

    places: dict[str, Runtime] = {}
    ready: list[Placed] = []
    skipped: list[Unjudged] = []
    absent: list[UnavailableError] = []
    for cell in asked:
        name = cell.target.name
        if name not in places:
            places[name] = runtime_for(cell.target, among)
        try:
            why = check(cell, places[name])
        except UnavailableError as error:
            absent.append(error)
            why = str(error)
        if why is None:
            ready.append(Placed(cell, places[name]))
        else:
            say(f"skipped {cell.name} on {name}: {why}")
            skipped.append(Unjudged(cell.name, name, places[name].name, Lack.SKIPPED, why))
    if absent and not ready:
        raise absent[0]
    return ready, skipped


def prepare(placed: Sequence[Placed]) -> None:
    """Bring the servers or images that cells need, and remove what killed runs left."""
    from lossmeter.run.admission import services_of
    from lossmeter.world import recovery
    from lossmeter.world.install import environments
    from lossmeter.world.ownership import MARK, Owner

    # What is started from here on is found by `recover` if this process is killed.
    os.environ[MARK] = Owner.this_process("install").mark
    runtimes = {each.runtime.name: each.runtime for each in placed}
    for runtime in runtimes.values():
        cells = [each.cell for each in placed if each.runtime is runtime]
        services = {name: each for cell in cells for name, each in services_of(cell).items()}
        targets = {cell.target.name: cell.target for cell in cells}
        runtime.prepare(list(services.values()), list(targets.values()), say)
        for target in targets.values():
            # Its program runs on this machine, wherever the target does.
            if target.ingress is not None:
                environments.bring(target, say)
    for line in recovery.recover(list(runtimes.values())):
        ERR.print(f"removed what a killed run left: {line}", highlight=False)


def names_of(placed: Sequence[Placed]) -> str:
    """Return the names of the runtimes that cells run on."""
    return " and ".join(sorted({each.runtime.name for each in placed})) or "none"


def pool_of(fresh_servers: bool, pools: int = 1) -> ServerPool:
    """Return what keeps servers between runs, or keeps none; of several ``pools`` each a share."""
    from lossmeter.world.server_pool import KEPT_AT_ONCE, ServerPool

    return ServerPool(at_once=0 if fresh_servers else math.ceil(KEPT_AT_ONCE / pools))


def run_all(
    placed: Sequence[Placed],
    seed: int,
    catalogue: Catalogue,
    *,
    repeat: int = 0,
    watch: Watch | None = None,
    pool: ServerPool | None = None,
) -> Iterator[Result]:
    """Run each cell; an instrument's failure in one, or a wrong one, does not stop the others."""
    from lossmeter.report.console import ConsoleNarrator

    def run(number: int, each: Placed) -> Iterator[Result]:
        with ConsoleNarrator(ERR, title_of(number, len(placed), each.cell)) as narrator:
            result = make_run(
                each, seed, catalogue, narrator, repeat=repeat, watch=watch, pool=pool
            )
        yield result

    return in_turn(partial(run, number, each) for number, each in enumerate(placed, 1))


def title_of(number: int, of: int, cell: Cell) -> str:
    """Return how a cell is called while it runs, one of several."""
    place = f"{number}/{of} " if of > 1 else ""
    return f"{place}{cell.name} × {cell.target.name}"


def make_run(
    each: Placed,
    seed: int,
    catalogue: Catalogue,
    narrator: Narrator,
    *,
    repeat: int = 0,
    watch: Watch | None = None,
    pool: ServerPool | None = None,
    at_once: int = 1,
    again_for: str = "",
) -> Result:
    """Make one run, tell what came of it, and draw its page."""
    from lossmeter.plan.seeds import derived
    from lossmeter.run.story import Ask
    from lossmeter.run.story import run as run_cell

    own = derived(seed, repeat)
    ask = Ask(
        *(each.cell, each.runtime, own, catalogue.runs, narrator),
        *(seed, repeat, watch, pool),
        at_once=at_once,
        again_for=again_for,
        show=partial(_show, narrator),
    )
    return run_cell(ask)


def in_turn(runs: Iterable[Callable[[], Iterator[Result]]]) -> Iterator[Result]:
    """Yield the results of each; what cannot be begun does not stop the others.

    Raises:
        HarnessError: at the end, the first that some of them raised; an interrupt at once.
    """
    problems: list[HarnessError] = []
    for make in runs:
        try:
            yield from make()
        except InterruptedRunError:
            raise
        except HarnessError as error:
            say(f"not run: {error}")
            problems.append(error)
    if problems:
        raise problems[0]


def run_one(placed: Placed, seed: int, catalogue: Catalogue, *, repeat: int = 0) -> Result:
    """Run one cell, on servers of its own."""
    return next(iter(run_all([placed], seed, catalogue, repeat=repeat)))


def _show(narrator: Narrator, folder: Path, judged: Judged) -> None:
    """Say what a run's verdict is, and draw its page."""
    from lossmeter.report.alerts import alerts_in_words
    from lossmeter.report.table import lost_line

    result = judged.result
    narrator.say(f"{result.verdict}: {result.reason}")
    if died := lost_line(result):
        narrator.say(died)
    for line in alerts_in_words(folder, result):
        narrator.say(line)
    _draw(folder, result, narrator, judged)


def _draw(folder: Path, result: Result, narrator: Narrator, judged: Judged | None = None) -> None:
    """Draw the page of a run; that it cannot be drawn does not change the verdict."""
    from lossmeter.report.page import save_run_page

    try:
        page = save_run_page(folder, result, judged)
    except Exception as error:  # noqa: BLE001 - not even a defect may cost the runs that follow
        narrator.say(f"no page, {type(error).__name__}: {error}")
    else:
        narrator.say(f"page: {shown_path(page)}")
