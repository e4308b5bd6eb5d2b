"""``lossmeter list``."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossmeter.commands._shared import OUT, say

if TYPE_CHECKING:
    from lossmeter.plan.catalogue import Catalogue
    from lossmeter.report._layout import Grid


def command(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Only this experiment or target. Default: all."),
    ] = None,
) -> None:
    """Show the experiments and targets there are, your own and those shipped.

    Experiment files are read, and none is run unless it is named.
    """
    from lossmeter.plan.catalogue import Catalogue

    catalogue = Catalogue.here()
    if name is None:
        OUT.print(_experiments(catalogue), "", _targets(catalogue, catalogue.target_names()))
        for sentence in catalogue.clashes():
            say(sentence)
    elif _is_target(catalogue, name):
        OUT.print(_targets(catalogue, [name]))
    else:
        OUT.print(_experiment(catalogue, name))


def _is_target(catalogue: Catalogue, name: str) -> bool:
    from lossmeter.plan.experiment_files import is_experiment_file

    if name.endswith(".toml"):
        return not is_experiment_file(Path(name))
    return name in catalogue.target_names()


def _experiments(catalogue: Catalogue) -> Grid[tuple[str, ...]]:
    files = sorted(catalogue.experiment_files().items())
    rows: list[tuple[str, ...]] = [(name, *_sketched(name, path)) for name, path in files]
    return _table("Experiments", ("experiment", "variants", "hypothesis"), rows)


def _sketched(name: str, path: Path) -> tuple[str, str]:
    """Return the variants and the hypothesis of an experiment, without running its file."""
    from lossmeter.errors import UsageError
    from lossmeter.plan.experiment_files import sketch

    try:
        said = sketch(path)
    except UsageError as error:
        return "broken", str(error)
    more = f"see `lossmeter list {name}`"
    names = more if said.variants is None else _named(said.variants)
    apart = "\nBy its name only: `all` leaves it out." if said.by_name_only else ""
    return names, (said.hypothesis or more) + apart


def _experiment(catalogue: Catalogue, name: str) -> Grid[tuple[str, ...]]:
    found = catalogue.experiment(name)
    variants = _named([variant.name for variant in found.variants])
    row = (found.name, variants, found.hypothesis, ", ".join(found.targets))
    return _table("Experiment", ("experiment", "variants", "hypothesis", "targets"), [row])


def _named(variants: list[str] | tuple[str, ...]) -> str:
    return ", ".join(variant or "default" for variant in variants)


def _targets(catalogue: Catalogue, names: list[str]) -> Grid[tuple[str, ...]]:
    from lossmeter.errors import UsageError

    rows: list[tuple[str, ...]] = []
    for name in names:
        try:
            target = catalogue.target(name)
        except UsageError as error:
            rows.append((name, "broken", str(error)))
        else:
            rows.append((target.name, target.ack_level, target.summary))
    return _table("Targets", ("target", "acked means", "summary"), rows)


def _table(
    title: str, heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]
) -> Grid[tuple[str, ...]]:
    from lossmeter.report._layout import Column, Grid

    columns: list[Column[tuple[str, ...]]] = [
        Column(head, operator.itemgetter(place), 0, words=True) for place, head in enumerate(heads)
    ]
    return Grid(title, columns, rows)
