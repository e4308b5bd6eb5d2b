"""The pages of the board of frameworks: ``README.md`` and ``board.html`` of results/frameworks.

Both lay out one ``BoardView``. The Markdown keeps to 80 columns as it stands, so that it can be
read in a terminal too: the board is cut into tables of some columns each, every one with all
rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len

from lossmeter.report import words
from lossmeter.report._layout import NOTHING, Column, Grid, Line, markdown_table, wrapped
from lossmeter.report._markup import markdown_cell
from lossmeter.report._templates import render
from lossmeter.report.board_view import WORDS, BoardCell, BoardRow, BoardView, Loss
from lossmeter.studies.standing import Made

WIDTH = 80
LEAST_CELL, LEAST_FILLED = 3, 24


def board_markdown(view: BoardView) -> str:
    """Return the page as Markdown."""
    return render(
        "board.md.j2",
        {
            "view": view,
            "fill": _filled,
            "words": "\n".join(wrapped(WORDS, WIDTH)),
            "tables": list(_tables(view)),
            "figures": [(name, _figures(runs).markdown()) for name, runs in _by_experiment(view)],
        },
    )


def board_html(view: BoardView) -> str:
    """Return the page for a browser."""
    return render(
        "board.html.j2",
        {
            "view": view,
            "words": WORDS.replace("*", ""),
            "promises": _promises(view.rows),
            "losing": _losing(view.losing),
            "figures": _all_figures(view.figures),
            "versions": _versions(view.rows),
        },
    )


# The board in Markdown.


def _tables(view: BoardView) -> Iterator[str]:
    """Yield tables of as many experiments as fit beside the names of the configurations."""
    names = ["configuration", *(row.name for row in view.rows)]
    room = WIDTH - max(map(cell_len, names)) - len("|  |")
    begin, used = 0, 0
    for place in range(len(view.experiments)):
        needed = _width(view, place, room) + len("  |")
        if place > begin and used + needed > room:
            yield _table(view, range(begin, place), room)
            begin, used = place, 0
        used += needed
    yield _table(view, range(begin, len(view.experiments)), room)


def _width(view: BoardView, place: int, room: int) -> int:
    parts = [part for row in view.rows for part in _parts(row.cells[place].text, room)]
    return max(LEAST_CELL, *map(cell_len, [view.experiments[place][0], *parts]))


def _table(view: BoardView, places: Sequence[int], room: int) -> str:
    heads = ["configuration", *(view.experiments[place][0] for place in places)]
    rows = [line for row in view.rows for line in _lines(row, places, room)]
    return markdown_table(heads, rows, [False] * len(heads))


def _lines(row: BoardRow, places: Sequence[int], room: int) -> Iterator[list[str]]:
    """Yield a configuration's line; a cost too long for any line goes on in the next."""
    cells = [_parts(row.cells[place].text, room) for place in places]
    for at in range(max(map(len, cells))):
        found = [parts[at] if at < len(parts) else "" for parts in cells]
        yield [row.name if at == 0 else "", *found]


def _parts(cost: str, room: int) -> list[str]:
    return wrapped(cost, room - len("  |"))


def _filled(text: str, indent: int = 0) -> str:
    """Return text as lines that stay text in Markdown; those after the first are indented."""
    lines: list[str] = []
    # Escapes make a line longer than the words that it was filled with.
    for width in range(WIDTH - indent, LEAST_FILLED, -2):
        lines = [markdown_cell(line) for line in wrapped(text, width)]
        if all(cell_len(line) <= WIDTH - indent for line in lines):
            break
    return ("\n" + " " * indent).join(lines)


def _by_experiment(view: BoardView) -> Iterator[tuple[str, list[Made]]]:
    for name, _ in view.experiments:
        if runs := [run for run in view.figures if run.experiment == name]:
            yield name, runs


def _figures(runs: Sequence[Made]) -> Grid[Made]:
    return Grid("Figures", (_ROW, *_FIGURES), runs)


# Tables of the page.


def _all_figures(runs: Sequence[Made]) -> Grid[Made]:
    experiment: Column[Made] = Column("experiment", lambda run: run.experiment, words=True)
    title = "Recovery, throughput and latency, the worst of the repeats"
    return Grid(title, (_ROW, experiment, *_FIGURES), runs)


def _promises(rows: Sequence[BoardRow]) -> Grid[BoardRow]:
    def broken(row: BoardRow) -> Line:
        return Line(row.broken_in, "" if row.broken_in in {NOTHING, "none"} else "fail")

    return Grid(
        "What each promises, in the words of its documentation",
        (
            Column("configuration", lambda row: row.name, words=True),
            Column("what it is", lambda row: row.summary, words=True),
            Column("promises", lambda row: row.kept, words=True),
            Column("in its own words", lambda row: f"“{row.says}”", words=True),
            Column("source", lambda row: row.source, words=True),
            Column("broken in", broken, words=True),
        ),
        rows,
    )


def _losing(cells: Sequence[tuple[BoardCell, Loss]]) -> Grid[tuple[BoardCell, Loss]]:
    return Grid(
        "Each cell that loses or holds something",
        (
            Column("configuration", lambda each: each[0].configuration, words=True),
            Column("experiment", lambda each: each[0].experiment, words=True),
            Column("cost", lambda each: each[0].text, words=True),
            Column("stage", lambda each: each[1].stage, words=True),
            Column("cause", lambda each: each[1].cause, words=True),
            Column("mended by", lambda each: each[1].mending or NOTHING, words=True),
        ),
        cells,
    )


def _versions(rows: Sequence[BoardRow]) -> Grid[BoardRow]:
    return Grid(
        "What each asks for itself; the rest stands in its lock",
        (
            Column("configuration", lambda row: row.name, words=True),
            Column("versions", lambda row: row.versions, words=True),
        ),
        rows,
    )


_ROW: Column[Made] = Column("configuration", lambda run: run.target, words=True)
_FIGURES: tuple[Column[Made], ...] = (
    Column("acked", lambda run: words.count(run.counts.acked)),
    Column("recovery", lambda run: words.seconds(run.recovery_s)),
    Column("persisted", lambda run: words.rate(run.persisted_per_s)),
    Column("p99", lambda run: words.milliseconds(run.p99_ms) if run.p99_ms else NOTHING),
)
