"""What a cell of a matrix costs beyond what cannot be avoided, on each runtime.

Unavoidable are the planned load, with its fault in the middle of it, and the time until the
last event was persisted. The rest is the harness's own: bringing servers and target up,
beginning the load, seeing that reads have settled, collecting, stopping everything, judging
and drawing the page.

Each cell is run twice: with new servers, and then with the same, kept and emptied.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from bench.pieces import Found, Piece, Say
from bench.report import Report, Row, at_most, median
from lossmeter.commands._running import Placed, prepare
from lossmeter.commands._shared import runtime_named
from lossmeter.errors import UsageError
from lossmeter.model import Verdict
from lossmeter.plan.catalogue import Catalogue, cells
from lossmeter.record.collected import Collected
from lossmeter.record.journals import read_journals
from lossmeter.report.page import save_run_page
from lossmeter.report.saved import read_environment
from lossmeter.run.narrator import Silent
from lossmeter.run.story import Ask
from lossmeter.run.story import run as run_cell
from lossmeter.world.server_pool import ServerPool

NAME = "cells"
EXPERIMENT = "crash"
MOST_S = {"local": 8.0, "docker": 15.0}
SEED = 1

Measured = Mapping[str, Any]


def _matrix(runtime: str) -> Callable[[Say], list[Measured]]:
    def measure(say: Say) -> list[Measured]:
        catalogue = Catalogue.here()
        try:
            where = runtime_named(runtime)
        except UsageError as error:
            say(f"not measured: {error}")
            return []
        chosen = cells(catalogue, catalogue.experiment(EXPERIMENT), [], ["default"])
        prepare([Placed(cell, where) for cell in chosen])
        found = []
        with tempfile.TemporaryDirectory() as folder:
            for cell in chosen:
                with ServerPool() as pool:
                    for _ in range(2):
                        say(f"{cell.name} on {cell.target.name}, {runtime}")
                        ask = Ask(cell, where, SEED, Path(folder).resolve(), Silent(), pool=pool)
                        found.append(_measured(ask))
        return found

    return measure


def _measured(ask: Ask) -> Measured:
    begin = time.monotonic()
    result = run_cell(ask)
    folder = ask.runs / result.run_id
    save_run_page(folder, result)
    seconds = time.monotonic() - begin
    if result.verdict not in {Verdict.PASS, Verdict.FAIL}:
        raise RuntimeError(f"{result.experiment} on {result.target}: {result.reason}")
    rows, sent = Collected.load(folder).rows, read_journals(folder).intents
    drain_s = max(0, int(rows["persisted_ns"].max()) - int(sent["sent_ns"].max())) / 1e9
    load_s = ask.cell.variant.load.duration_s
    spent = result.timings_s
    return {
        "target": result.target,
        "kept": bool(read_environment(folder).servers_served_before),
        "seconds": seconds,
        "load_s": load_s,
        "drain_s": drain_s,
        "overhead_s": seconds - load_s - drain_s,
        "set_up_s": spent["set_up"],
        "start_of_load_s": spent["load"] - load_s,
        "settle_s": spent["settle"] - drain_s,
        "rest_s": seconds - sum(spent[name] for name in ("set_up", "load", "settle")),
    }


# A matrix, made twice, takes three to five minutes.
PIECES = {name: Piece(_matrix(name), 3) for name in MOST_S}


def report(found: Found) -> Report:
    """Return each cell's overhead, and what it consists of."""
    rows, goals = [], []
    for runtime, rounds in found.items():
        cells_of: dict[tuple[str, bool], list[Measured]] = {}
        for cell in chain(*rounds):
            cells_of.setdefault((cell["target"], cell["kept"]), []).append(cell)
        each = {which: _median(runs, "overhead_s") for which, runs in cells_of.items()}
        rows += [
            Row(
                f"{target}, {runtime}, {'kept' if kept else 'new'} servers",
                f"{EXPERIMENT}: {_median(runs, 'load_s'):g} s of load, "
                f"{_median(runs, 'drain_s'):.1f} s until drained",
                round(each[target, kept], 2),
                "seconds beyond",
                None,
                _consists_of(runs),
            )
            for (target, kept), runs in cells_of.items()
        ]
        for kept, which in ((True, "kept servers"), (False, "new servers")):
            most = max((s for (_, k), s in each.items() if k is kept), default=None)
            goals.append(at_most(f"seconds of overhead, {runtime}, {which}", most, MOST_S[runtime]))
    return Report(
        NAME,
        "What a cell costs beyond load and drain",
        "The crash matrix, judged and with its pages, each cell with new servers and "
        "then with the same, kept: setting up is then to see that they are as when new, and to "
        "start the target. Emptying them is part of stopping.",
        min(map(len, found.values())),
        rows,
        goals,
    )


def _consists_of(runs: Sequence[Measured]) -> str:
    words = {
        "set_up_s": "setting up",
        "start_of_load_s": "around the load",
        "settle_s": "settling",
        "rest_s": "collecting, stopping, judging, page",
    }
    return ", ".join(f"{words[name]} {_median(runs, name):.1f}" for name in words)


def _median(runs: Sequence[Measured], name: str) -> float:
    return median([float(run[name]) for run in runs])
