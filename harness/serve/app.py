"""The pages: an index of runs, and one page for each run. Nothing here changes anything."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from threading import Lock

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from harness.errors import HarnessError
from harness.facts import Facts
from harness.history import Filter, History, trends
from harness.report.history import FIGURES, curve, figure_text
from harness.report.page import run_page
from harness.result import RESULT

# Whoever asks under another name may have been sent here by a foreign page.
HOSTS = ("127.0.0.1", "localhost")
SHOWN = 500
TREND_RUNS = 20
KEPT_PAGES = 64
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_FILTERS = ("experiment", "target", "runtime")


@dataclass(slots=True)
class Pages:
    """Renders pages, one at a time, and keeps those of runs that did not change."""

    history: History
    _kept: dict[tuple[str, int], str] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)
    _templates: Environment = field(init=False)

    def __post_init__(self) -> None:
        self._templates = Environment(
            loader=PackageLoader("harness.serve"), autoescape=True, undefined=StrictUndefined
        )

    def index(self, asked: Filter) -> str:
        """Return the index: trends and runs, the newest first."""
        with self._lock:
            damaged = self.history.refresh()
            entries = self.history.entries(asked)
            everything = self.history.entries(Filter())
        choices = {
            name: sorted({getattr(entry, name) for entry in everything}) for name in _FILTERS
        }
        return self._templates.get_template("index.html").render(
            asked=asked,
            choices=choices,
            trends=trends(entries, TREND_RUNS),
            figures=FIGURES,
            curve=curve,
            figure_text=figure_text,
            entries=entries[::-1][:SHOWN],
            total=len(entries),
            damaged=damaged,
        )

    def run(self, folder: Path) -> str:
        """Return the page of one judged run; drawn anew when its result has changed."""
        key = (folder.name, (folder / RESULT).stat().st_mtime_ns)
        with self._lock:
            if key not in self._kept:
                while len(self._kept) >= KEPT_PAGES:
                    del self._kept[next(iter(self._kept))]
                self._kept[key] = run_page(folder)
            return self._kept[key]

    def problem(self, status: int, told: str) -> str:
        """Return a page that says why there is nothing to see."""
        return self._templates.get_template("problem.html").render(status=status, told=told)

    def unjudged(self, folder: Path) -> str:
        """Return a page that says why a run has no result."""
        facts = Facts.load(folder)
        told = facts.problem or "it was cut short, or still runs"
        return self.problem(404, f"run {folder.name} has no result yet: {told}")


def application(history: History) -> Starlette:
    """Return the web application over a project's runs."""
    pages = Pages(history)

    def index(request: Request) -> Response:
        asked = {name: request.query_params.get(name) or None for name in _FILTERS}
        return _page(pages.index(Filter(**asked)))

    def run(request: Request) -> Response:
        name = request.path_params["name"]
        folder = history.folder(name)
        if folder is None:
            return _page(pages.problem(404, f"there is no run {name}"), 404)
        if not (folder / RESULT).is_file():
            return _page(pages.unjudged(folder), 404)
        return _page(pages.run(folder))

    def http_problem(_: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        return _page(pages.problem(status, str(HTTPStatus(status).phrase)), status)

    def harness_problem(_: Request, error: Exception) -> Response:
        return _page(pages.problem(500, str(error)), 500)

    return Starlette(
        routes=[Route("/", index), Route("/runs/{name}", run)],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False)],
        exception_handlers={HTTPException: http_problem, HarnessError: harness_problem},
    )


def _page(text: str, status: int = 200) -> Response:
    return HTMLResponse(text, status, HEADERS)
