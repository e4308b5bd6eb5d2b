"""``harness list``."""

from __future__ import annotations

import typer

from harness.commands._shared import OUT


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("list")(list_)


def list_() -> None:
    """Show the experiments and targets there are."""
    from rich.table import Table

    from harness.catalogue import Catalogue

    catalogue = Catalogue.here()
    experiments = Table("experiment", "variants", "hypothesis", title="Experiments")
    for name in catalogue.experiment_names():
        experiment = catalogue.experiment(name)
        variants = ", ".join(variant.name or "default" for variant in experiment.variants)
        apart = "\nBy its name only: `all` leaves it out." if experiment.by_name_only else ""
        experiments.add_row(name, variants, experiment.hypothesis + apart)
    targets = Table("target", "a yes means", "summary", title="Targets")
    for name in catalogue.target_names():
        target = catalogue.target(name)
        targets.add_row(name, target.ack_level, target.summary)
    OUT.print(experiments, targets)
