"""Looks for the moments at which a kill loses or duplicates events.

Aims a kill at each step of an event's way, steering on the marks that the target leaves,
and keeps the smallest schedule that loses as an experiment that can be run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lossmeter.errors import UsageError
from lossmeter.experiment import STEPS, Experiment, Load, Phase, PlannedFault, Trigger, Variant
from lossmeter.judge.ledger.reconcile import reconcile
from lossmeter.judge.ledger.steps import dwell_s, struck_at
from lossmeter.model import Predicted, Verdict, plural
from lossmeter.plan.budget import Budget
from lossmeter.plan.catalogue import Cell
from lossmeter.plan.seeds import derived
from lossmeter.record.arrays import Held, Operations
from lossmeter.record.collected import Collected
from lossmeter.record.facts import Facts
from lossmeter.record.files import write_text
from lossmeter.record.journals import read_journals
from lossmeter.record.marks import load_marks
from lossmeter.record.result import Result
from lossmeter.studies.found import Report, Schedule

LOAD_S = 3.0

# A kill that hits a step loses what is there only if the events there were far enough: a run
# without a loss may have been luck, so it takes some before a step is said to lose nothing.
TRIES = 3

# Full within a moment, so that events wait at every step, before the queue too.
SMALL_CAPACITY = 20

# The rates that are tried for the smallest schedule. The load must go on while the target is
# down, or a run says nothing; so fewer events means fewer in the same time.
SMALLEST_PER_S = (2.0, 5.0, 10.0, 20.0, 50.0, 100.0)

BOUNDS = {"max_lost": 0}


@dataclass(frozen=True, slots=True)
class Search:
    """What to search.

    Attributes:
        run: makes one run: cell, seed and number; what it raises ends the search.
        found: the folder that gets the schedule that loses.
        limit_s: no run is begun after so long.
    """

    cell: Cell
    target: str
    seed: int
    run: Callable[[Cell, int, int], Result]
    runs: Path
    found: Path
    limit_s: float
    steps: Sequence[str] = STEPS


def check(cell: Cell) -> None:
    """Raise when a cell cannot be searched.

    Raises:
        UsageError: its target leaves no marks to steer by.
    """
    if not cell.target.stages:
        raise UsageError(
            f"target {cell.target.name} marks no stages, so nothing can be aimed at a step; "
            "ARCHITECTURE.md says how a dispatcher of your own marks them"
        )


def search(asked: Search) -> Report:
    """Aim a kill at each step, then look for the smallest schedule that loses."""
    report = Report(asked.target)
    begin = time.monotonic()
    _look(asked, report, begin)
    report.took_s = round(time.monotonic() - begin, 1)
    return report


def _look(asked: Search, report: Report, begin: float) -> None:
    numbers = iter(range(10_000))
    for step in asked.steps:
        for number in range(TRIES):
            if time.monotonic() - begin > asked.limit_s:
                report.unfinished = f"{asked.limit_s:g} s were over"
                return
            after = 20 + derived(asked.seed, number + 1) % 60
            cell = aimed(asked.cell, step, _base_load(asked.cell), after, SMALL_CAPACITY)
            result = asked.run(cell, asked.seed, next(numbers))
            _note(report, step, asked.runs / result.run_id, result)
            if report.lost_after_s is None and report.losing():
                report.lost_after_s = round(time.monotonic() - begin, 1)
            if report.steps[step].lost:
                break
    for losing in report.losing():
        if report.smallest is None:
            report.smallest = _smallest(asked, report, losing.step, begin, numbers)


def aimed(cell: Cell, step: str, load: Load, after: int, capacity: int | None) -> Cell:
    """Return the cell with one kill, aimed at a step, and a load of its own."""
    settings = dict(cell.variant.settings)
    if capacity is not None and "capacity" in cell.target.settings:
        settings["capacity"] = capacity
    trigger = Trigger(step=step, after=after, limit_s=load.duration_s)
    variant = Variant("", load, (PlannedFault("sigkill", trigger),), settings)
    experiment = Experiment(
        name=f"search-{cell.experiment.name}-{cell.target.name}-{step}",
        hypothesis=f"A kill loses nothing when an event is {step}.",
        variants=(variant,),
        targets=(cell.target.name,),
        predict=lambda _: Predicted(),
        bounds=BOUNDS,
    )
    return Cell(experiment, variant, cell.target, Budget.model_validate(dict(BOUNDS)))


def _base_load(cell: Cell) -> Load:
    load = cell.variant.load
    return replace(load, phases=(Phase(load.phases[0].rate_per_s, LOAD_S),))


def _note(report: Report, aimed_at: str, folder: Path, result: Result) -> None:
    """Add what one run showed of every step, whichever it was aimed at."""
    report.results.append(result)
    facts = Facts.load(folder)
    found = report.steps[aimed_at]
    found.runs += 1
    if not facts.collected:
        return
    marks = load_marks(folder)
    for name, seconds in dwell_s(marks.records).items():
        report.steps[name].dwell_s = seconds
    for record in facts.faults:
        found.looks += record.looks
        if record.injected_ns is None or not record.aimed:
            continue
        found.hits += 1
        journals = read_journals(folder)
        reported = Operations(journals.intents, journals.outcomes)
        collected = Collected.load(folder)
        held = Held(
            collected.rows,
            collected.dead_lettered,
            collected.pending,
            stranded=collected.stranded,
        )
        steps = struck_at(marks.records, reported, reconcile(reported, held), record.injected_ns)
        for name, seen in steps.items():
            report.steps[name].add(seen)


def _smallest(
    asked: Search, report: Report, step: str, begin: float, numbers: Iterator[int]
) -> Schedule | None:
    """Return the smallest schedule of those tried that loses, saved; None when none does."""
    most = asked.cell.variant.load.phases[0].rate_per_s
    for rate_per_s in [*(rate for rate in SMALLEST_PER_S if rate < most), most]:
        if time.monotonic() - begin > asked.limit_s:
            report.unfinished = f"{asked.limit_s:g} s were over"
            return None
        load = replace(asked.cell.variant.load, phases=(Phase(rate_per_s, LOAD_S),))
        cell = aimed(asked.cell, step, load, 0, None)
        result = asked.run(cell, asked.seed, next(numbers))
        report.results.append(result)
        if result.verdict is Verdict.FAIL and result.counts.lost:
            file = save(asked, cell, step, result.counts.lost)
            return Schedule(cell, step, load.events, result.counts.lost, file)
    return None


_FILE = '''"""Found by `lossmeter search {source} --target {target}`, seed {seed}.

A kill with an event {step} lost {lost} of {events}.
"""

from lossmeter.experiment import Experiment, Load, Observed, Phase, PlannedFault, Trigger, Variant
from lossmeter.model import Predicted


def predict(_: Observed) -> Predicted:
    """Expect nothing: this schedule was found, not thought out."""
    return Predicted(basis="found by a search")


EXPERIMENT = Experiment(
    name={name!r},
    hypothesis={hypothesis!r},
    variants=(
        Variant(
            "",
            Load(
                phases=(Phase({rate_per_s!r}, {duration_s!r}),),
                producers={producers!r},
                payload_bytes={payload_bytes!r},
                processes={processes!r},
            ),
            (
                PlannedFault(
                    "sigkill", Trigger(step={step!r}, at_s=0.5, limit_s={duration_s!r})
                ),
            ),
            {settings!r},
        ),
    ),
    targets=({target_name!r},),
    predict=predict,
    bounds={bounds!r},
)
'''


def save(asked: Search, cell: Cell, step: str, lost: int) -> Path:
    """Write a cell as an experiment file and return its path."""
    load = cell.variant.load
    asked.found.mkdir(parents=True, exist_ok=True)
    file = asked.found / f"{cell.experiment.name.replace('-', '_')}.py"
    text = _FILE.format(
        source=asked.cell.experiment.name,
        target=cell.target.name,
        target_name=asked.target,
        seed=asked.seed,
        step=str(step),
        lost=lost,
        events=plural(load.events, "event"),
        name=cell.experiment.name,
        hypothesis=cell.experiment.hypothesis,
        rate_per_s=load.phases[0].rate_per_s,
        duration_s=load.duration_s,
        producers=load.producers,
        payload_bytes=load.payload_bytes,
        processes=load.processes,
        settings=dict(cell.variant.settings),
        bounds=BOUNDS,
    )
    write_text(file, text)
    return file
