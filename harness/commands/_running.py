"""Running cells one after the other, as ``run`` and others do."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands._shared import ERR, say, shown_path

if TYPE_CHECKING:
    from harness.catalogue import Catalogue, Cell
    from harness.monitor.watch import Watch
    from harness.outcome import Unjudged
    from harness.report.console import ConsoleNarrator
    from harness.result import Result
    from harness.runtime import Runtime
    from harness.shelf import Shelf


def runnable(asked: Sequence[Cell], runtime: Runtime) -> tuple[list[Cell], list[Unjudged]]:
    """Return the cells that the runtime can run; name the others and why."""
    from harness.admission import check
    from harness.outcome import Lack, Unjudged

    ready, skipped = [], []
    for cell in asked:
        why = check(cell, runtime)
        if why is None:
            ready.append(cell)
        else:
            say(f"skipped {cell.name} on {cell.target.name}: {why}")
            skipped.append(Unjudged(cell.name, cell.target.name, runtime.name, Lack.SKIPPED, why))
    return ready, skipped


def prepare(runtime: Runtime, cells: Sequence[Cell]) -> None:
    """Bring the servers or images that the cells need, unless they are there."""
    from harness.admission import services_of
    from harness.ownership import MARK, Owner

    # What is started from here on is found by `recover` if this process is killed.
    os.environ[MARK] = Owner.this_process("install").mark
    services = {name: each for cell in cells for name, each in services_of(cell).items()}
    targets = {cell.target.name: cell.target for cell in cells}
    runtime.prepare(list(services.values()), list(targets.values()), say)


FreshServers = Annotated[
    bool,
    typer.Option(
        "--fresh-servers",
        help="Start new servers for each run. Default: those that one run leaves unharmed are "
        "emptied, found to be as when they were new, and serve the next.",
    ),
]


def shelf_of(fresh_servers: bool) -> Shelf:
    """Return what keeps servers between runs, or keeps none."""
    from harness.shelf import KEPT_AT_ONCE, Shelf

    return Shelf(at_once=0 if fresh_servers else KEPT_AT_ONCE)


def recover(runtime: Runtime) -> None:
    """Remove what killed runs left on a runtime, and tell it."""
    for line in runtime.recover():
        ERR.print(f"removed what a killed run left: {line}", highlight=False)


def run_all(
    cells: Sequence[Cell],
    runtime: Runtime,
    seed: int,
    catalogue: Catalogue,
    *,
    repeat: int = 0,
    watch: Watch | None = None,
    shelf: Shelf | None = None,
) -> Iterator[Result]:
    """Run each cell; an instrument's failure in one does not stop the others.

    Args:
        cells: what to run.
        runtime: where.
        seed: of the first of several runs of the same; the others' are derived from it.
        catalogue: its folder of runs gets theirs.
        repeat: the number of the run among these.
        watch: what watches each of them; None for nothing.
        shelf: keeps servers between these runs and others; None for new ones each time.
    """
    from harness.report.alerts import alerts_told
    from harness.report.console import ConsoleNarrator
    from harness.report.table import lost_line
    from harness.run import Ask
    from harness.run import run as run_cell
    from harness.seeds import derived

    for number, cell in enumerate(cells, 1):
        place = f"{number}/{len(cells)} " if len(cells) > 1 else ""
        title = f"{place}{cell.name} × {cell.target.name}"
        with ConsoleNarrator(ERR, title) as narrator:
            own = derived(seed, repeat)
            ask = Ask(cell, runtime, own, catalogue.runs, narrator, seed, repeat, watch, shelf)
            result = run_cell(ask)
            narrator.say(f"{result.verdict}: {result.reason}")
            if died := lost_line(result):
                narrator.say(died)
            for line in alerts_told(catalogue.runs / result.run_id, result):
                narrator.say(line)
            _draw(catalogue.runs / result.run_id, narrator)
        yield result


def _draw(folder: Path, narrator: ConsoleNarrator) -> None:
    """Draw the page of a run; that it cannot be drawn does not change the verdict."""
    from harness.report.page import save_run_page

    try:
        page = save_run_page(folder)
    except Exception as error:  # noqa: BLE001 - not even a defect may cost the runs that follow
        narrator.say(f"no page, {type(error).__name__}: {error}")
    else:
        narrator.say(f"page: {shown_path(page)}")
