"""``harness images``."""

from __future__ import annotations

import typer

from harness.commands._shared import runtime_named, say


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("images")(images)


def images() -> None:
    """Build the images for containers, unless they are there."""
    from harness.catalogue import Catalogue
    from harness.services import discover

    catalogue = Catalogue.here()
    targets = [catalogue.target(name) for name in catalogue.target_names()]
    runtime_named("docker").prepare(list(discover().values()), targets, say)
