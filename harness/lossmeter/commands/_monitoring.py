"""Having runs watched, as ``run --monitor`` does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from lossmeter.commands._shared import say
from lossmeter.errors import UsageError

if TYPE_CHECKING:
    from lossmeter.plan.catalogue import Catalogue, Cell
    from lossmeter.run.monitor.watch import Watch

Monitored = Annotated[
    bool,
    typer.Option(
        "--monitor",
        help="Have a real Prometheus watch each run, and say which alerts fired and which "
        "stayed silent. Its rules: targets/monitoring/alerts.yml.",
    ),
]
Factor = Annotated[
    float | None,
    typer.Option(
        "--monitor-factor",
        min=1,
        max=150,
        metavar="N",
        help="Divide the rules' waits, windows and intervals by N; 1 leaves them as they are. "
        "Default: 60, so that minutes become seconds.",
    ),
]


def watching(cells: Sequence[Cell], catalogue: Catalogue, factor: float | None) -> Watch:
    """Return what is to watch the runs, bringing Prometheus first where it is missing.

    Raises:
        UsageError: a target does not tell where its metrics are, or a file is wrong.
        UnavailableError: Prometheus cannot be had here.
    """
    from lossmeter.plugins import need

    need("yaml")
    from lossmeter.run.monitor.install import install
    from lossmeter.run.monitor.watch import FACTOR, watch

    for cell in cells:
        if cell.target.http.metrics is None:
            raise UsageError(
                f"target {cell.target.name} does not say where Prometheus finds its metrics; "
                'add metrics = "/metrics" to [http] in its file, or leave out --monitor'
            )
        if cell.target.http.tls or cell.target.http.headers:
            raise UsageError(
                f"target {cell.target.name} has http.tls or http.headers, and --monitor asks for "
                "metrics without either; leave out --monitor"
            )
    folder = catalogue.file("targets", "monitoring")
    return watch(folder, install(say), FACTOR if factor is None else factor)
