"""Runs parts of the bench: ``python -m bench [PART...] [--rounds N]``; without names, all."""

from __future__ import annotations

import argparse
import time
from importlib import import_module

from rich.console import Console

from bench import PARTS


def main() -> None:
    """Measure, print and save each part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    progress = Console(stderr=True)
    for name in asked.parts or PARTS:
        begin = time.monotonic()
        report = import_module(f"bench.{name}").run(asked.rounds, progress.print)
        report.save()
        report.show()
        progress.print(f"{name}: {time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main()
