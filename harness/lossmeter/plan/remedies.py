"""Which runs show a remedy beside the same without it, as target and experiment files say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from lossmeter.errors import UsageError
from lossmeter.experiment import DEFAULT, Experiment, Variant
from lossmeter.plan.catalogue import Catalogue, full_name

# A run by the name of its experiment with the variant's, and by its target's.
Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Remedy:
    """A run with a remedy, and the one without it that it is compared with.

    Attributes:
        scenario: the experiment of the run without.
        name: what the remedy is called: a target, or the words of a variant with its target.
        bare, mended: the runs without and with it.
    """

    scenario: str
    name: str
    bare: Place
    mended: Place


def remedies(catalogue: Catalogue, places: Iterable[Place]) -> list[Remedy]:
    """Return the remedies among runs, made or planned, in their order.

    A remedy is a target whose file has ``remedy_of``, or such a variant of an experiment.
    Only where the run without it is among them too there is anything to compare; what the
    catalogue does not know any more is no remedy.
    """
    asked = dict.fromkeys(places)
    variants = catalogue.variants()
    mends = mended_targets(catalogue, {target for _, target in asked})
    found = (each for place in asked for each in _of(place, mends, variants))
    return [remedy for remedy in found if remedy.bare in asked]


def mended_targets(catalogue: Catalogue, names: Iterable[str]) -> dict[str, str]:
    """Return, of those targets that are remedies, the target that each mends."""
    return {name: mended for name in names if (mended := _mended(catalogue, name))}


def _mended(catalogue: Catalogue, name: str) -> str:
    try:
        return catalogue.target(name).remedy_of
    except UsageError:
        return ""


def _of(
    place: Place, mends: Mapping[str, str], variants: Mapping[str, tuple[Experiment, Variant]]
) -> Iterator[Remedy]:
    name, target = place
    if target in mends:
        yield Remedy(name, target, (name, mends[target]), place)
    if name not in variants:
        return
    experiment, variant = variants[name]
    if variant.remedy_of is not None:
        wanted = "" if variant.remedy_of == DEFAULT else variant.remedy_of
        bare = next(each for each in experiment.variants if each.name == wanted)
        scenario = full_name(experiment, bare)
        yield Remedy(scenario, f"{target}, {variant.name}", (scenario, target), place)
