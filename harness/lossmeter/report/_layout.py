"""Tables, described once: for a terminal of any width, for Markdown and for a page.

A figure is never cut. Where a terminal is too narrow for all columns, words wrap first; then
the columns of the highest rank leave, and what they said of a row that it matters to stands
in a line below that row; where not even the columns of rank 0 fit beside each other, each row
becomes a block of names and figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from lossmeter.report._markup import markdown_cell, one_line

Row = TypeVar("Row")

GAP = "  "
INDENT = "    "
BETWEEN = " · "
# Words are not squeezed into less than this; longer cells than that are not padded to in Markdown.
LEAST_WORDS, MOST_PADDED = 24, 48
NOTHING = "–"
_STYLES = {
    "pass": "green",
    "fail": "bold red",
    "inconclusive": "yellow",
    "error": "bold magenta",
    "skipped": "cyan",
    "missing": "bold yellow",
    "damaged": "bold magenta",
    "better": "green",
    "worse": "bold red",
    "doubt": "yellow",
    "quiet": "dim",
    "strong": "bold",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a cell.

    Attributes:
        kind: a key of the styles, and its class on a page.
        href: where it leads to on a page.
        bar: a drawing beside it on a page: kind, begin and width in per cent of each part.
    """

    text: str
    kind: str = ""
    href: str = ""
    bar: tuple[tuple[str, float, float], ...] = ()


Shown = str | Line | tuple[Line, ...]


def styled(text: str, kind: str) -> Text:
    """Return text for a terminal, in the style of its kind."""
    return Text(one_line(text), style=_STYLES.get(kind, ""))


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """One column.

    Attributes:
        rank: 0 for what is always a column; the others leave in order, the highest first.
        words: it holds text, which may wrap, rather than a figure, which may not.
        matters: whether a row's cell must be seen even where the column has no room.
        always: it is there even if no row has anything in it.
    """

    name: str
    show: Callable[[Row], Shown]
    rank: int = 1
    words: bool = False
    matters: Callable[[Row], bool] = lambda _: False
    always: bool = True


@dataclass(frozen=True, slots=True)
class Grid(Generic[Row]):
    """A table of rows.

    Attributes:
        group: rows of which it returns the same stand together.
    """

    title: str
    columns: Sequence[Column[Row]]
    rows: Sequence[Row]
    group: Callable[[Row], object] = lambda _: None

    @property
    def present(self) -> list[Column[Row]]:
        """Return the columns that say something."""
        return [c for c in self.columns if c.always or any(map(_says, self._column(c)))]

    def _column(self, column: Column[Row]) -> list[tuple[Line, ...]]:
        return [_lines(column.show(row)) for row in self.rows]

    def markdown(self) -> str:
        """Return it as Markdown whose plain text is a table too."""
        present = self.present
        rows = [
            [
                "<br>".join(markdown_cell(line.text) for line in _lines(column.show(row)))
                for column in present
            ]
            for row in self.rows
        ]
        heads = [markdown_cell(column.name) for column in present]
        return markdown_table(heads, rows, [not column.words for column in present])

    def page(self) -> list[list[tuple[Column[Row], tuple[Line, ...]]]]:
        """Return each row's columns and cells, for a template."""
        present = self.present
        return [[(column, _lines(column.show(row))) for column in present] for row in self.rows]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it as wide as the terminal lets it be."""
        drawn = _Drawing(self.present, [self._column(c) for c in self.present])
        for line in wrapped(self.title, options.max_width):
            yield _line(Text(line, style="italic"))
        yield from map(_line, drawn.lines(self, options.max_width))


def _says(cell: tuple[Line, ...]) -> bool:
    return any(line.text not in {"", NOTHING, "0"} for line in cell)


def _lines(shown: Shown) -> tuple[Line, ...]:
    lines = (
        shown if isinstance(shown, tuple) else (shown if isinstance(shown, Line) else Line(shown),)
    )
    return tuple(replace(line, text=one_line(line.text)) for line in lines)


def _line(text: Text) -> Text:
    # It fits already; a name wider than the terminal folds rather than be cut.
    text.overflow = "fold"
    return text


def wrapped(text: str, width: int) -> list[str]:
    """Return words as lines of at most that width; a longer word has a line of its own."""
    return packed(text.split(), width, " ")


def packed(parts: Sequence[str], width: int, between: str) -> list[str]:
    """Return parts, none of them torn, on as few lines of at most that width as hold them."""
    lines: list[str] = []
    for part in parts:
        if lines and cell_len(lines[-1] + between + part) <= width:
            lines[-1] += between + part
        else:
            lines.append(part)
    return lines or [""]


@dataclass(slots=True)
class _Drawing(Generic[Row]):
    """Columns and their cells, on their way to lines of a terminal."""

    columns: list[Column[Row]]
    cells: list[list[tuple[Line, ...]]]

    def lines(self, grid: Grid[Row], width: int) -> Iterator[Text]:
        shown = self._fitting(width)
        if shown is None:
            yield from self._blocks(grid, width)
            return
        widths = self._widths(shown, width)
        heads = [
            tuple(Line(part, "strong") for part in wrapped(self.columns[n].name, w))
            for n, w in zip(shown, widths, strict=True)
        ]
        yield from self._side_by_side(shown, widths, heads)
        yield Text("─" * (sum(widths) + len(GAP) * (len(widths) - 1)))
        hidden = [n for n in range(len(self.columns)) if n not in shown]
        for place, row in enumerate(grid.rows):
            if place and grid.group(row) != grid.group(grid.rows[place - 1]):
                yield Text("")
            cells = [self._wrapped(n, place, w) for n, w in zip(shown, widths, strict=True)]
            yield from self._side_by_side(shown, widths, cells)
            pairs = [self._pair(n, place) for n in hidden if self._matters(n, place, row)]
            if pairs:
                below = packed(pairs, width - len(INDENT), BETWEEN)
                yield from (Text(INDENT + line, style="dim") for line in below)

    def _fitting(self, width: int) -> list[int] | None:
        """Return the columns that fit when words wrap; None when those of rank 0 do not."""
        shown = list(range(len(self.columns)))
        while self._together(map(self._least, shown)) > width:
            last = max(shown, key=lambda n: (self.columns[n].rank, n))
            if not self.columns[last].rank:
                return None
            shown.remove(last)
        return shown

    @staticmethod
    def _together(widths: Iterator[int]) -> int:
        each = list(widths)
        return sum(each) + len(GAP) * (len(each) - 1)

    def _widths(self, shown: Sequence[int], width: int) -> list[int]:
        """Return the least width of each, and what is left over to who wants more."""
        found = {n: self._least(n) for n in shown}
        left = width - self._together(iter(found.values()))
        for n in sorted(shown, key=lambda n: self._most(n) - found[n]):
            more = min(left, self._most(n) - found[n])
            found[n] += more
            left -= more
        return list(found.values())

    def _texts(self, n: int) -> list[str]:
        return [line.text for cell in self.cells[n] for line in cell]

    def _most(self, n: int) -> int:
        return max(map(cell_len, [self.columns[n].name, *self._texts(n)]))

    def _least(self, n: int) -> int:
        longest = max(map(cell_len, self.columns[n].name.split()))
        if not self.columns[n].words:
            return max([longest, *map(cell_len, self._texts(n))])
        words = [cell_len(word) for text in self._texts(n) for word in text.split()]
        return max([longest, *words, min(LEAST_WORDS, self._most(n))])

    def _wrapped(self, n: int, place: int, width: int) -> tuple[Line, ...]:
        return tuple(
            Line(part, line.kind)
            for line in self.cells[n][place]
            for part in (wrapped(line.text, width) if self.columns[n].words else [line.text])
        )

    def _side_by_side(
        self, shown: Sequence[int], widths: Sequence[int], cells: Sequence[tuple[Line, ...]]
    ) -> Iterator[Text]:
        for at in range(max(map(len, cells))):
            text = Text()
            for n, width, cell in zip(shown, widths, cells, strict=True):
                line = cell[at] if at < len(cell) else Line("")
                room = " " * (width - cell_len(line.text))
                before, after = ("", room) if self.columns[n].words else (room, "")
                text.append(GAP if len(text) or n != shown[0] else "")
                text.append(before).append_text(styled(line.text, line.kind)).append(after)
            text.rstrip()
            yield text

    def _matters(self, n: int, place: int, row: Row) -> bool:
        cell = self.cells[n][place]
        return self.columns[n].matters(row) and any(line.text not in {"", NOTHING} for line in cell)

    def _pair(self, n: int, place: int) -> str:
        return f"{self.columns[n].name} {', '.join(line.text for line in self.cells[n][place])}"

    def _blocks(self, grid: Grid[Row], width: int) -> Iterator[Text]:
        """Draw each row as its names and, below them, its figures."""
        for place, row in enumerate(grid.rows):
            kept = [n for n, column in enumerate(self.columns) if not column.rank]
            names = [n for n in kept if self.columns[n].words]
            for line in packed(
                [" ".join(each.text for each in self.cells[n][place]) for n in names], width, GAP
            ):
                yield Text(line, style="bold")
            figures = [
                n
                for n in range(len(self.columns))
                if n not in names and (n in kept or self._matters(n, place, row))
            ]
            figures.sort(key=lambda n: self.columns[n].rank > 0)
            pairs = [self._pair(n, place) for n in figures]
            yield from (Text(f"  {line}") for line in packed(pairs, width - 2, BETWEEN))


# Markdown.


def markdown_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]
) -> str:
    """Return a table of cells that are Markdown already, its columns aligned."""
    widths = [
        max(3, *(min(MOST_PADDED, cell_len(cell)) for cell in column))
        for column in zip(heads, *rows, strict=True)
    ]
    rule = [
        "-" * (width - 1) + ":" if end else "-" * width
        for width, end in zip(widths, right, strict=True)
    ]
    return "\n".join(
        f"| {' | '.join(map(_padded, cells, widths, right))} |" for cells in (heads, rule, *rows)
    )


def _padded(cell: str, width: int, end: bool) -> str:
    room = " " * (width - cell_len(cell))
    return room + cell if end else cell + room
