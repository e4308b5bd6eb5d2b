"""Having runs watched, as ``run --monitor`` does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands._shared import say
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.catalogue import Catalogue, Cell
    from harness.monitor.watch import Watch

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
    from harness.monitor.install import install
    from harness.monitor.watch import FACTOR, watch

    for cell in cells:
        if cell.target.http.metrics is None:
            raise UsageError(
                f"target {cell.target.name} does not say where Prometheus finds its metrics; "
                'add metrics = "/metrics" to [http] in its file, or leave out --monitor'
            )
    folder = catalogue.root / "targets" / "monitoring"
    return watch(folder, install(say), FACTOR if factor is None else factor)
