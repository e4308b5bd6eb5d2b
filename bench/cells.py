"""What a cell of a matrix costs beyond what cannot be avoided, on each runtime.

Unavoidable are the planned load, with its fault in the middle of it, and the time until the
last event was persisted. The rest is the harness's own: bringing servers and target up,
beginning the load, seeing that reads have settled, collecting, stopping everything, judging
and drawing the page.
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
from harness.catalogue import Catalogue, cells
from harness.commands._running import prepare
from harness.commands._shared import runtime_named
from harness.errors import UsageError
from harness.ledger.collected import Collected
from harness.load.reading import read_journals
from harness.model import Verdict
from harness.narrator import Silent
from harness.report.page import save_run_page
from harness.run import Ask
from harness.run import run as run_cell

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
        prepare(where, chosen)
        found = []
        with tempfile.TemporaryDirectory() as folder:
            for cell in chosen:
                say(f"{cell.name} on {cell.target.name}, {runtime}")
                ask = Ask(cell, where, SEED, Path(folder).resolve(), Silent())
                found.append(_measured(ask))
        return found

    return measure


def _measured(ask: Ask) -> Measured:
    begin = time.monotonic()
    result = run_cell(ask)
    folder = ask.runs / result.run_id
    save_run_page(folder)
    seconds = time.monotonic() - begin
    if result.verdict not in {Verdict.PASS, Verdict.FAIL}:
        raise RuntimeError(f"{result.experiment} on {result.target}: {result.reason}")
    rows, sent = Collected.load(folder).rows, read_journals(folder).intents
    drain_s = max(0, int(rows["persisted_ns"].max()) - int(sent["sent_ns"].max())) / 1e9
    load_s = ask.cell.variant.load.duration_s
    spent = result.timings_s
    return {
        "target": result.target,
        "seconds": seconds,
        "load_s": load_s,
        "drain_s": drain_s,
        "overhead_s": seconds - load_s - drain_s,
        "set_up_s": spent["set_up"],
        "start_of_load_s": spent["load"] - load_s,
        "settle_s": spent["settle"] - drain_s,
        "rest_s": seconds - sum(spent[name] for name in ("set_up", "load", "settle")),
    }


# A matrix takes one to three minutes.
PIECES = {name: Piece(_matrix(name), 3) for name in MOST_S}


def report(found: Found) -> Report:
    """Return each cell's overhead, and what it consists of."""
    rows, goals = [], []
    for runtime, rounds in found.items():
        by_target: dict[str, list[Measured]] = {}
        for cell in chain(*rounds):
            by_target.setdefault(cell["target"], []).append(cell)
        each = {target: _median(runs, "overhead_s") for target, runs in by_target.items()}
        rows += [
            Row(
                f"{target}, {runtime}",
                f"{EXPERIMENT}: {_median(runs, 'load_s'):g} s of load, "
                f"{_median(runs, 'drain_s'):.1f} s until drained",
                round(each[target], 2),
                "seconds beyond",
                None,
                _consists_of(runs),
            )
            for target, runs in by_target.items()
        ]
        most = max(each.values(), default=None)
        goals.append(at_most(f"seconds of overhead, {runtime}, worst cell", most, MOST_S[runtime]))
    return Report(
        NAME,
        "What a cell costs beyond load and drain",
        "The crash matrix, judged and with its pages. Each cell has servers of its own: nothing "
        "can be left over from the cell before, and none meets a server that is warmer than that "
        "of another. Keeping them would spare a part of what setting up takes, at most.",
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
