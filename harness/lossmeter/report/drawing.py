"""Draws SVG with matplotlib: colours by the page's own variables, words as real text.

Colours are drawn with stand-ins and then replaced by CSS variables, so one picture serves
light and dark. Text stays text, in the page's own font: it can be selected, searched and
read aloud, and it costs nothing.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Stand-ins; each is drawn as given and then becomes the CSS variable of that name.
INK = "#0a0b01"
MUTED = "#0a0b02"
LINE = "#0a0b03"
ACCENT = "#0a0b04"
LOSS = "#0a0b05"
WARN = "#0a0b06"
PAPER = "#0a0b07"
SECOND = "#0a0b08"
_VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    LINE: "line",
    ACCENT: "accent",
    LOSS: "loss",
    WARN: "warn",
    PAPER: "paper",
    SECOND: "second",
}

_SETTINGS: dict[str, object] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "lossmeter",
    # A $ in a name is a $, not the beginning of a formula.
    "text.parse_math": False,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "lines.solid_capstyle": "round",
    "lines.linewidth": 1.6,
}


@dataclass(frozen=True, slots=True)
class Size:
    """One size of a chart, in CSS pixels; ``text_px`` is the size of its words."""

    name: str
    width_px: int
    text_px: float

    @property
    def narrow(self) -> bool:
        """Return whether it is the one for phones."""
        return self.name == "narrow"


# A picture for a desk scaled to a phone has words that nobody can read, so each is drawn twice.
WIDE = Size("wide", 1000, 13)
NARROW = Size("narrow", 358, 11.5)
_PX_PER_INCH = 72


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawn chart with its words.

    Attributes:
        reported: what it shows, in sentences: for a reader who does not see it.
        note: how to read it.
        legend: words, colour variable, and stroke of each thing drawn.
        head, rows: the same as a table.
    """

    name: str
    title: str
    reported: str
    pictures: tuple[Markup, ...]
    note: str = ""
    legend: tuple[tuple[str, str, str], ...] = ()
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def draw(
    name: str,
    reported: str,
    height_px: Callable[[Size], int],
    paint: Callable[[Figure, Size], None],
) -> tuple[Markup, ...]:
    """Return a chart's pictures, one for each size."""
    pictures = []
    for size in (WIDE, NARROW):
        settings = _SETTINGS | {"font.size": size.text_px}
        with mpl.rc_context(settings):  # type: ignore[arg-type] # its keys are listed one by one
            inches = size.width_px / _PX_PER_INCH, height_px(size) / _PX_PER_INCH
            figure = Figure(figsize=inches, dpi=_PX_PER_INCH)
            FigureCanvasSVG(figure)
            paint(figure, size)
            target = io.StringIO()
            figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
        pictures.append(_embedded(target.getvalue(), f"{name}-{size.name}", size, reported))
    return tuple(pictures)


@dataclass(frozen=True, slots=True)
class Margins:
    """Room around an axes, in pixels."""

    left: int
    top: int
    bottom: int


def place(figure: Figure, axes: Axes, size: Size, margins: Margins) -> None:
    """Fix the frame of a figure's axes, so that charts below each other share their time."""
    width_px, height_px = (inches * _PX_PER_INCH for inches in figure.get_size_inches())
    right_px = 12 if not size.narrow else 6
    axes.set_position(
        (
            margins.left / width_px,
            margins.bottom / height_px,
            1 - (margins.left + right_px) / width_px,
            1 - (margins.bottom + margins.top) / height_px,
        )
    )


def _embedded(svg: str, name: str, size: Size, reported: str) -> Markup:
    """Return an SVG document as an element of a page."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    view = re.search(r'viewBox="([^"]+)"', body)
    inner = body[body.index(">") + 1 :]
    inner = re.sub(r'(?<=\bid=")', f"{name}-", inner)
    inner = re.sub(r'(?<=href="#)|(?<=url\(#)', f"{name}-", inner)
    inner = re.sub(r"(font: [^'\";]*?px) [^;\"]*", r"\1 var(--font)", inner)
    for stand_in, variable in _VARIABLES.items():
        inner = inner.replace(stand_in, f"var(--{variable})")
    inner = re.sub(r"\n\s*", "\n", inner)
    # Everything from data went through matplotlib, which escapes it as XML, or escape().
    return Markup(  # noqa: S704
        f'<svg class="{size.name}" role="img" aria-label="{escape(reported)}" '
        f'viewBox="{view[1] if view else ""}" xmlns="http://www.w3.org/2000/svg" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink"><desc>{escape(reported)}</desc>{inner}'
    )
