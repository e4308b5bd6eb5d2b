"""``lossmeter images``."""

from __future__ import annotations

from lossmeter.commands._shared import runtime_named, say


def command() -> None:
    """Build the images for containers, unless they are there."""
    from lossmeter.plan.catalogue import Catalogue
    from lossmeter.world.services import discover

    catalogue = Catalogue.here()
    targets = [catalogue.target(name) for name in catalogue.target_names()]
    runtime_named("docker").prepare(list(discover().values()), targets, say)
