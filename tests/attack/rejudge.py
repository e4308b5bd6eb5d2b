"""Judges recorded runs anew and compares each field with the result recorded beside them.

    python -m tests.attack.rejudge RUN...

Each RUN is a run folder, or a folder of run folders. It is copied before it is judged, so that
nothing in it changes. Fields that only one side has are listed and do no harm: they were
removed, or added. A field that both have and that differs makes the exit code 1.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lossmeter.judge.verdict import judge_run
from lossmeter.record.facts import FACTS, Facts
from lossmeter.record.manifest import seal
from lossmeter.record.result import RESULT

# How long judging took is no judgement.
MEASURED_ANEW = ("timings_s.judge", "timings_s.self_proof")

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of one run, by its dotted path."""

    path: str
    recorded: Json
    judged: Json


@dataclass(frozen=True, slots=True)
class Comparison:
    """One run judged anew.

    Attributes:
        same: how many values both sides have and agree on.
        different: those that they do not agree on.
        removed, added: paths that only the recorded or only the new result has.
    """

    folder: Path
    same: int
    different: Sequence[Difference]
    removed: Sequence[str]
    added: Sequence[str]


def runs_in(path: Path) -> list[Path]:
    """Return the run folders at a path: itself, or those in it that have a recorded result."""
    if (path / FACTS).is_file():
        return [path]
    return sorted(each.parent for each in path.glob(f"*/{RESULT}"))


def compare(folder: Path) -> Comparison:
    """Judge a copy of a run folder, and compare with the result that it holds.

    Raises:
        UsageError: it is no run's folder.
    """
    recorded = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / folder.name
        shutil.copytree(folder, copy)
        (copy / RESULT).unlink()
        # Of a run from before digests were taken, the figures are compared all the same.
        facts = Facts.load(copy)
        if not facts.sealed:
            facts.sealed = True
            facts.save(copy)
            seal(copy, facts.run_id)
        judged = json.loads(judge_run(copy).to_json())
    before, after = dict(_leaves("", recorded)), dict(_leaves("", judged))
    for path in MEASURED_ANEW:
        before.pop(path, None)
        after.pop(path, None)
    both = [path for path in before if path in after]
    different = [
        Difference(path, before[path], after[path]) for path in both if before[path] != after[path]
    ]
    return Comparison(
        folder=folder,
        same=len(both) - len(different),
        different=different,
        removed=[path for path in before if path not in after],
        added=[path for path in after if path not in before],
    )


def _leaves(path: str, value: Json) -> Iterator[tuple[str, Json]]:
    """Yield the dotted path and the value of each field; an empty container is a value."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(f"{path}.{name}" if path else name, inner)
    elif isinstance(value, list) and value:
        yield f"{path}.length", len(value)
        for place, inner in enumerate(value):
            yield from _leaves(f"{path}[{place}]", inner)
    else:
        yield path, value


def main(arguments: Sequence[str]) -> int:
    """Compare, print what differs, and return the exit code."""
    folders = [folder for name in arguments for folder in runs_in(Path(name))]
    if not folders:
        sys.stdout.write("no recorded runs there\n")
        return 4
    compared = [compare(folder) for folder in folders]
    for each in compared:
        sys.stdout.write(f"{each.folder.name}: {each.same} same, {len(each.different)} differ\n")
        for one in each.different:
            sys.stdout.write(f"    {one.path}\n        recorded {one.recorded!r}\n")
            sys.stdout.write(f"        judged   {one.judged!r}\n")
    for word in ("removed", "added"):
        counted = Counter(path for each in compared for path in getattr(each, word))
        for path, count in sorted(counted.items()):
            sys.stdout.write(f"{word} in {count} runs: {path}\n")
    differ = sum(bool(each.different) for each in compared)
    sys.stdout.write(
        f"{len(compared)} runs, {sum(each.same for each in compared)} values the same, "
        f"{sum(len(each.different) for each in compared)} differ in {differ} runs\n"
    )
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
