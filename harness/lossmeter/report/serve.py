"""Runs in a browser, on this machine only: an index, and a page for each. Changes nothing."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from threading import Lock

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from lossmeter.errors import HarnessError
from lossmeter.record.index import Filter, History, trends
from lossmeter.record.manifest import state
from lossmeter.record.runs import DamagedRun, RecordedRun, read_run
from lossmeter.report._templates import render
from lossmeter.report.page import run_page
from lossmeter.report.runs_view import runs_view

# A request under another name may have been sent by a foreign page.
HOSTS = ("127.0.0.1", "localhost")
SHOWN = 500
HOME = "/"
TREND_RUNS = 20
KEPT_PAGES = 64
LAST_ANSWERS_S = 5
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
    _kept: dict[tuple[str, str], str] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def index(self, asked: Filter) -> str:
        """Return the index: trends and runs, the newest first."""
        with self._lock:
            damaged = self.history.refresh()
            entries = self.history.entries(asked)
            everything = self.history.entries(Filter())
        newest = entries[::-1][:SHOWN]
        view = runs_view(asked, everything, trends(entries, TREND_RUNS), newest)
        return render("index.html.j2", {**view, "damaged": damaged})

    def run(self, run: RecordedRun) -> str:
        """Return the page of one run; drawn anew when what it recorded has changed."""
        key = (run.folder.name, state(run.folder))
        with self._lock:
            if key not in self._kept:
                while len(self._kept) >= KEPT_PAGES:
                    del self._kept[next(iter(self._kept))]
                self._kept[key] = run_page(run.folder, self.history.judge(run), HOME)
            return self._kept[key]

    def problem(self, status: int, reported: str) -> str:
        """Return a page that says why there is nothing to see."""
        return render("problem.html.j2", {"status": status, "reason": reported, "home": HOME})


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
        found = read_run(folder)
        if isinstance(found, DamagedRun):
            why = f"run {name} cannot be shown: {found.why}; it was cut short, or still runs"
            return _page(pages.problem(404, why), 404)
        return _page(pages.run(found))

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


def serve_until_interrupted(app: Starlette, listener: socket.socket) -> None:
    """Serve on a socket that already listens; Ctrl-C and SIGTERM are its normal end."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=LAST_ANSWERS_S,
    )
    # The server handles the signal and then hands it on, by which time all is over.
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])
