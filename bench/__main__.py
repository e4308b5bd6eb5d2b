"""Runs parts of the bench, and writes the index of them all.

``python -m bench [PART...] [--rounds N]``; without names, all. A part that takes many
minutes consists of pieces, which can be measured one at a time and in several goes:
``python -m bench reconcile --piece 10M --rounds 2 --more`` adds two rounds to those that
there are. Its table names the goals of pieces without a round as not measured.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

from rich.console import Console

from bench import PARTS, index
from bench.pieces import Pieces
from bench.report import Report

ROUNDS = 5


def main() -> None:
    """Measure, print and save each part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART")
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}, or what a piece names")
    parser.add_argument("--piece", action="append", help="only this piece of the part")
    parser.add_argument("--more", action="store_true", help="add to the rounds that there are")
    parser.add_argument("--index", action="store_true", help="only write the index anew")
    asked = parser.parse_args()
    if asked.piece and len(asked.parts) != 1:
        parser.error("--piece needs the one part that it is a piece of")
    failed = [
        name
        for name in (() if asked.index else asked.parts or PARTS)
        if not _measure(import_module(f"bench.{name}"), asked)
    ]
    index.write()
    if failed:
        sys.exit(f"not measured to the end: {', '.join(failed)}")


def _measure(part: ModuleType, asked: argparse.Namespace) -> bool:
    """Measure a part; what fails in it does not keep the others from being measured."""
    progress = Console(stderr=True)
    begin = time.monotonic()
    try:
        report = _report(part, asked, progress.print)
    except Exception:  # noqa: BLE001 - shown whole, and the exit code tells
        progress.print_exception()
        return False
    report.save()
    report.show()
    progress.print(f"{part.NAME}: {time.monotonic() - begin:.0f} s")
    return True


def _report(part: ModuleType, asked: argparse.Namespace, say: Callable[[str], None]) -> Report:
    if not hasattr(part, "PIECES"):
        report: Report = part.run(asked.rounds or ROUNDS, say)
        return report
    kept = Pieces(part.NAME, part.PIECES)
    for name in kept.named(asked.piece):
        kept.measure(name, asked.rounds, say, more=asked.more)
    if lacking := kept.lacking():
        say(f"{part.NAME} has no round yet of {', '.join(lacking)}: its goals are not measured")
    return part.report(kept.found())  # type: ignore[no-any-return]


if __name__ == "__main__":
    main()
