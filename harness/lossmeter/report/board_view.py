"""What the board says, worked out once: its pages in Markdown and HTML only lay it out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from lossmeter.model import Counts, plural
from lossmeter.plan.pinned import pinned
from lossmeter.report import words
from lossmeter.report._layout import NOTHING
from lossmeter.report.matrix import heat_of
from lossmeter.studies.board import BoardEntry, BoardPlan, Kept
from lossmeter.studies.standing import CONTROL, LOSSY, Entry, Made, State, worst

WORDS = (
    "*lost*: acked, and nowhere any more. *held*: acked, not delivered, and still kept by the "
    "framework: dead-lettered, in hand, or stranded without an owner. *twice*: delivered more "
    "than once. *late*: only after the broker's own redelivery, so long after the ack. "
    "*unknown*: neither acked nor refused, and not delivered. ✗ marks a promise that is "
    "broken, ? a cell that was not judged, – one that was not run. *lived*: a limit ended nobody. "
    "*none*: there is no process of the kind that is struck."
)
BROKEN, UNJUDGED, NOT_ASKED = "✗", "?", "none"
NO_CAUSE = "no cause is known yet"

Cells = Mapping[tuple[str, str], Sequence[Made]]


@dataclass(frozen=True, slots=True)
class Loss:
    """Where a cell's events were lost or are held, why, and what mends it.

    Attributes:
        stage: when they were acked, and where the framework still holds them.
        cause: one line.
        mended_by: a configuration of the board; empty where there is none.
        setting: what that one sets.
        mended: what that one costs in the same experiment; a dash where it was not measured.
    """

    stage: str
    cause: str
    mended_by: str = ""
    setting: str = ""
    mended: str = ""

    @property
    def mending(self) -> str:
        """Return what mends it, and what was measured of that; empty where nothing is known."""
        if not self.mended_by:
            return ""
        measured = "not measured" if self.mended in {NOTHING, UNJUDGED} else f"{self.mended} there"
        return f"{self.mended_by} ({self.setting}): {measured}"


@dataclass(frozen=True, slots=True)
class BoardCell:
    """A configuration in an experiment, by the worst of its repeats.

    Attributes:
        cost: in words; a dash where there is no run, a question mark where none was judged, and
            ``none`` where there is nothing to strike.
        broken: a promise is.
        heat: from 0 to 1, by the share of the acked events that were not delivered.
        loss: None where nothing was lost or held, or where that was planted.
    """

    configuration: str
    experiment: str
    cost: str
    broken: bool = False
    heat: float = 0.0
    loss: Loss | None = None

    @property
    def text(self) -> str:
        """Return its cost, and the mark of a promise that is broken."""
        return f"{self.cost} {BROKEN}" if self.broken else self.cost


@dataclass(frozen=True, slots=True)
class BoardRow:
    """A configuration: its cells, what it promises, where that is broken, what it is made of."""

    name: str
    summary: str
    cells: tuple[BoardCell, ...]
    kept: str
    says: str
    source: str
    broken_in: str
    versions: str


@dataclass(frozen=True, slots=True)
class Choice:
    """What somebody cannot bear, and the configurations that remain."""

    bears_no: str
    what: str
    rows: tuple[str, ...]

    @property
    def text(self) -> str:
        """Return it as a sentence."""
        return f"Under every fault here {self.what}: {', '.join(self.rows) or 'none of them'}."


@dataclass(frozen=True, slots=True)
class BoardView:
    """All that a page of the board shows.

    Attributes:
        progress: how many runs there are, of how many.
        experiments: each column with its hypothesis.
        figures: the worst run of each cell that was judged.
        missing: a line for each cell that lacks runs, or has some that were not judged.
        made_with: names and values.
    """

    repeats: str
    progress: str
    experiments: tuple[tuple[str, str], ...]
    rows: tuple[BoardRow, ...]
    choices: tuple[Choice, ...]
    figures: tuple[Made, ...]
    missing: tuple[str, ...]
    made_with: tuple[tuple[str, str], ...]

    @property
    def losing(self) -> list[tuple[BoardCell, Loss]]:
        """Return the cells that lose or hold something, each with why."""
        cells = (cell for row in self.rows for cell in row.cells)
        return [(cell, cell.loss) for cell in cells if cell.loss is not None]


def board_view(plan: BoardPlan, state: State, about: Mapping[str, str]) -> BoardView:
    """Return what the pages show.

    Args:
        plan: the whole board.
        state: the runs that are there.
        about: what they were made with: ``runtime``, ``machine`` and ``commit``.
    """
    made = {(entry.target, entry.column): state.of(entry) for entry in plan.entries}
    runs = [run for each in made.values() for run in each]
    unjudged = sum(not run.judged for run in runs)
    asked = words.count(len(plan.entries) * plan.repeats)
    entries = {entry.target: entry for entry in plan.entries}
    hypotheses = {entry.column: entry.cell.experiment.hypothesis for entry in plan.entries}
    return BoardView(
        repeats=plural(plan.repeats, "run"),
        progress=(
            f"{words.count(len(runs))} of {asked} runs are made, "
            f"{words.count(unjudged)} of them were not judged"
        ),
        experiments=tuple(hypotheses.items()),
        rows=tuple(_row(entry, plan, made, entries) for entry in entries.values()),
        choices=tuple(_choices(plan, made)),
        figures=tuple(found for each in made.values() if (found := worst(each)) is not None),
        missing=tuple(_missing(plan, made)),
        made_with=tuple(_made_with(runs, about)),
    )


def in_words(counts: Counts, late_by_s: float | None) -> str:
    """Return what a run cost, e.g. ``lost 25, twice 3``; ``0`` for nothing."""
    late = f"late {counts.late:,}" + (f" ({words.seconds(late_by_s)})" if late_by_s else "")
    parts = [
        (counts.lost, f"lost {counts.lost:,}"),
        (counts.held, f"held {counts.held:,}"),
        (counts.duplicated, f"twice {counts.duplicated:,}"),
        (counts.late, late),
        (counts.unresolved, f"unknown {counts.unresolved:,}"),
    ]
    return ", ".join(text for number, text in parts if number) or "0"


# Rows and cells.


def _row(
    entry: BoardEntry, plan: BoardPlan, made: Cells, entries: Mapping[str, BoardEntry]
) -> BoardRow:
    promise = entry.promise
    mending = entries.get(promise.mended_by)
    return BoardRow(
        name=entry.target,
        summary=entry.cell.target.summary,
        cells=tuple(_cell(entry, name, made, mending) for name in plan.columns),
        kept=promise.kept.value,
        says=promise.says,
        source=promise.source,
        broken_in=_broken_in(entry, plan, made),
        versions=versions_of(entry),
    )


def versions_of(entry: Entry) -> str:
    """Return what a configuration asks for itself, with versions."""
    packages = pinned(entry.cell.target.environment)
    return ", ".join(f"{name} {value}" for name, value in packages.items()) or NOTHING


def _cell(entry: BoardEntry, experiment: str, made: Cells, mending: BoardEntry | None) -> BoardCell:
    if (runs := made.get((entry.target, experiment))) is None:
        return BoardCell(entry.target, experiment, NOT_ASKED)
    found, cost = worst(runs), _cost(runs)
    if found is None:
        return BoardCell(entry.target, experiment, cost)
    counts, planted = found.counts, experiment == LOSSY
    gone = 0 if planted else counts.lost + counts.held
    return BoardCell(
        entry.target,
        experiment,
        cost,
        broken=_broken(runs),
        heat=heat_of(gone, counts.acked),
        loss=_loss(found, entry, mending, made) if gone else None,
    )


def _cost(runs: Sequence[Made]) -> str:
    if not runs:
        return NOTHING
    found = worst(runs)
    if found is None:
        return UNJUDGED
    text = in_words(found.counts, found.late_by_s)
    if all(run.survived for run in runs):
        text += ", lived"
    return text if found.planted is None else f"{text} of {found.planted:,}"


def _broken(runs: Sequence[Made]) -> bool:
    return any(run.verdict.value == "fail" for run in runs if run.experiment != LOSSY)


def _broken_in(entry: BoardEntry, plan: BoardPlan, made: Cells) -> str:
    mine = {name: made.get((entry.target, name), ()) for name in plan.columns}
    if entry.promise.kept is Kept.NOTHING or not any(mine.values()):
        return NOTHING
    return ", ".join(name for name, runs in mine.items() if _broken(runs)) or "none"


def _loss(run: Made, entry: BoardEntry, mending: BoardEntry | None, made: Cells) -> Loss:
    why = entry.promise.loses or NO_CAUSE
    if mending is None:
        return Loss(stage_of(run), why)
    cost = _cost(made.get((mending.target, run.experiment), ()))
    return Loss(stage_of(run), why, mending.target, mending.cell.target.summary, cost)


def stage_of(run: Made) -> str:
    """Return where a run's events were lost, by time against the fault, or are still held."""
    parts = [f"{number:,} {text}" for text, number in run.lost_when.items()]
    kept = (
        (run.counts.dead_lettered, "dead-lettered"),
        (run.counts.pending, "still queued or in hand"),
        (run.counts.stranded, "stranded without an owner"),
    )
    parts += [f"{number:,} {text}" for number, text in kept if number]
    return ", ".join(parts) or "the run does not show when"


# Choices, and what is not there.


def _choices(plan: BoardPlan, made: Cells) -> Iterator[Choice]:
    asked: Sequence[tuple[str, str, Callable[[Made], int]]] = (
        ("no loss", "loses nothing", lambda run: run.counts.lost),
        ("no duplicates", "delivers nothing twice", lambda run: run.counts.duplicated),
        ("no waiting", "keeps nothing waiting", lambda run: run.counts.held + run.counts.late),
    )
    faults = [name for name in plan.columns if name not in {CONTROL, LOSSY}]
    for bears_no, what, cost in asked:
        rows = tuple(row for row in plan.targets if _all_zero(row, faults, made, cost))
        yield Choice(bears_no, what, rows)


def _all_zero(row: str, faults: Sequence[str], made: Cells, cost: Callable[[Made], int]) -> bool:
    runs = [made[row, name] for name in faults if (row, name) in made]
    return all(each and all(run.judged and not cost(run) for run in each) for each in runs)


def _missing(plan: BoardPlan, made: Cells) -> Iterator[str]:
    for entry in plan.entries:
        runs = made[entry.target, entry.column]
        lacking = plan.repeats - len(runs)
        if lacking > 0:
            yield f"{entry.column} on {entry.target}: {plural(lacking, 'run')}"
        for run in runs:
            if not run.judged:
                yield f"{entry.column} on {entry.target}: {run.verdict}: {run.reason}"


def _made_with(runs: Sequence[Made], about: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    yield "runtime", about["runtime"]
    yield "seeds", each_once(str(run.seed) for run in runs)
    yield "machine", about["machine"]
    yield "lossmeter", version("lossmeter")
    yield "written at commit", about["commit"] or NOTHING
    yield "runs made at commits", each_once(run.commit for run in runs if run.commit)
    for name in sorted({name for run in runs for name in run.servers}):
        yield name, each_once(run.servers[name] for run in runs if name in run.servers)


def each_once(values: Iterable[str]) -> str:
    """Return values in words, each once; a dash for none."""
    return ", ".join(sorted(set(values))) or NOTHING
