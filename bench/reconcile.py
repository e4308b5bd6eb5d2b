"""Reconciling many events: the ledger beside a pandas merge and Python sets.

Each contender gets the same events in a process of its own, in turn, for several rounds;
medians and ratios are reported. Memory is what the process's peak rose by after the input
was there. Run as ``python -m bench.reconcile``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from harness.environment import machine, packages
from harness.ledger.reconcile import reconcile
from harness.ledger.records import INTENT, OUTCOME, PAIR, ROW, Held, Told
from harness.model import Status

RESULTS = Path(__file__).resolve().parents[1] / "results" / "bench"
PRODUCERS = 64
LOST_PER_MILLION = 50
DOUBLED_PER_MILLION = 30
SWAPPED_PER_MILLION = 50
FOREIGN_ROWS = 7

CLASSES = {
    "ledger": "all of the ledger",
    "pandas": "lost, unexpected, duplicated",
    "sets": "lost, unexpected, duplicated",
}


def history(events: int, seed: int) -> tuple[Told, Held]:
    """Return a history in which known numbers of events are lost, doubled and invented."""
    random = np.random.default_rng(seed)
    place = np.arange(events)
    intents, outcomes = np.zeros(events, INTENT), np.zeros(events, OUTCOME)
    for told in (intents, outcomes):
        told["producer"], told["sequence"] = place % PRODUCERS, place // PRODUCERS
    intents["sent_ns"] = intents["scheduled_ns"] = place * 1000
    intents["payload_hash"] = random.integers(-(2**62), 2**62, events)
    # Many are under way at once, so they are persisted in nearly the order of sending.
    outcomes["done_ns"] = place * 1000 + random.integers(500, 100_000, events)
    outcomes["status"] = Status.ACKED
    rows = _rows(intents, random)
    nothing = np.empty(0, PAIR)
    return Told(intents, outcomes), Held(rows, nothing, nothing)


def _rows(intents: np.ndarray, random: np.random.Generator) -> np.ndarray:
    events = len(intents)
    chosen = random.permutation(events)
    lost = chosen[: events * LOST_PER_MILLION // 1_000_000]
    doubled = chosen[len(lost) :][: events * DOUBLED_PER_MILLION // 1_000_000]
    kept = np.delete(np.arange(events), lost)
    kept = kept[np.argsort(kept + random.integers(0, 20, len(kept)), kind="stable")]
    source = np.concatenate([kept, doubled])
    rows = np.zeros(len(source) + FOREIGN_ROWS, ROW)
    for name in ("producer", "sequence", "payload_hash"):
        rows[name][: len(source)] = intents[name][source]
    rows["producer"][len(source) :] = PRODUCERS + 1
    swapped = random.integers(
        0, max(1, len(kept) - 1000), events * SWAPPED_PER_MILLION // 1_000_000
    )
    rows[swapped], rows[swapped + 999] = rows[swapped + 999], rows[swapped]
    rows["position"] = rows["persisted_ns"] = np.arange(len(rows))
    return rows


def by_ledger(told: Told, held: Held) -> tuple[int, int, int]:
    """Return lost, unexpected and duplicated by the ledger, which finds all other classes."""
    counts = reconcile(told, held).counts
    return counts.lost, counts.unexpected, counts.duplicated


def by_pandas(told: Told, held: Held) -> tuple[int, int, int]:
    """Return lost, unexpected and duplicated by an outer merge."""
    import pandas as pd  # noqa: PLC0415 - only this contender pays for it

    ids = ["producer", "sequence"]
    sent = pd.DataFrame({name: told.intents[name].astype(np.int64) for name in ids})
    rows = pd.DataFrame({name: held.rows[name] for name in ids})
    grouped = rows.groupby(ids, as_index=False, sort=False).size()
    merged = sent.merge(grouped, on=ids, how="outer", indicator=True)
    lost = int((merged["_merge"] == "left_only").sum())
    unexpected = int(merged.loc[merged["_merge"] == "right_only", "size"].sum())
    both = merged[merged["_merge"] == "both"]
    return lost, unexpected, int((both["size"] > 1).sum())


def by_sets(told: Told, held: Held) -> tuple[int, int, int]:
    """Return lost, unexpected and duplicated by Python sets of pairs."""
    sent = set(
        zip(told.intents["producer"].tolist(), told.intents["sequence"].tolist(), strict=True)
    )
    seen: set[tuple[int, int]] = set()
    doubled: set[tuple[int, int]] = set()
    unexpected = 0
    for row in zip(held.rows["producer"].tolist(), held.rows["sequence"].tolist(), strict=True):
        if row not in sent:
            unexpected += 1
        elif row in seen:
            doubled.add(row)
        else:
            seen.add(row)
    return len(sent) - len(seen), unexpected, len(doubled)


CONTENDERS: dict[str, Callable[[Told, Held], tuple[int, int, int]]] = {
    "ledger": by_ledger,
    "pandas": by_pandas,
    "sets": by_sets,
}


def measure(name: str, events: int, seed: int) -> dict[str, float | list[int]]:
    """Run one contender in this process; seconds, MiB above the input, and its answer."""
    # A first small run, so that imports are not measured.
    CONTENDERS[name](*history(1000, seed))
    told, held = history(events, seed)
    # From here on the kernel counts the peak anew, without what making the input took.
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    resident_kib = _status_kib("VmRSS")
    begin = time.perf_counter()
    answer = CONTENDERS[name](told, held)
    seconds = time.perf_counter() - begin
    mib = (_status_kib("VmHWM") - resident_kib) / 1024
    return {"seconds": seconds, "mib": mib, "answer": list(answer)}


def _status_kib(field: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field))


def _in_a_process(name: str, events: int, seed: int) -> dict[str, float | list[int]]:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "bench.reconcile", "--only", name),
            *("--events", str(events), "--seed", str(seed)),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    measured: dict[str, float | list[int]] = json.loads(done.stdout)
    return measured


def run(events: int, rounds: int, seed: int, say: Callable[[str], None]) -> dict[str, object]:
    """Measure all contenders in turn and return the report.

    Raises:
        RuntimeError: two contenders disagree about the same events.
    """
    found: dict[str, list[dict[str, float | list[int]]]] = {name: [] for name in CONTENDERS}
    for number in range(rounds):
        for name in CONTENDERS:
            say(f"round {number + 1} of {rounds}: {name}")
            found[name].append(_in_a_process(name, events, seed))
    answers = {name: {str(m["answer"]) for m in runs} for name, runs in found.items()}
    if len(set.union(*answers.values())) != 1:
        raise RuntimeError(f"the contenders disagree: {answers}")
    base = _median(found["ledger"], "seconds")
    return {
        "events": events,
        "rounds": rounds,
        "seed": seed,
        "machine": machine(),
        "packages": packages() | {"pandas": _version("pandas")},
        "rows": [
            {
                "contender": name,
                "finds": CLASSES[name],
                "seconds": round(_median(runs, "seconds"), 3),
                "times_the_ledger": round(_median(runs, "seconds") / base, 1),
                "mib_above_input": round(_median(runs, "mib")),
            }
            for name, runs in found.items()
        ],
    }


def _median(runs: list[dict[str, float | list[int]]], field: str) -> float:
    return statistics.median(float(str(run[field])) for run in runs)


def _version(package: str) -> str:
    from importlib.metadata import version  # noqa: PLC0415 - used once

    return version(package)


def save(report: dict[str, object]) -> None:
    """Write the report as JSON and as a Markdown table."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=2)
    (RESULTS / "reconcile.json").write_text(text + "\n", encoding="utf-8")
    (RESULTS / "reconcile.md").write_text(_markdown(report), encoding="utf-8")


def _markdown(report: dict[str, object]) -> str:
    told, versions = report["machine"], report["packages"]
    lines = [
        "# Reconciling many events",
        "",
        (
            f"{report['events']:,} events, {report['rounds']} alternating rounds, medians, "
            f"seed {report['seed']}. Generated by `make bench`."
        ),
        "",
        "| contender | finds | seconds | times the ledger | MiB above the input |",
        "|---|---|---:|---:|---:|",
        *(
            "| " + " | ".join(str(value) for value in row.values()) + " |"
            for row in _rows_of(report)
        ),
        "",
        f"Machine: {told}",
        "",
        f"Versions: {versions}",
    ]
    return "\n".join(lines) + "\n"


def _rows_of(report: dict[str, object]) -> list[dict[str, object]]:
    rows = report["rows"]
    return rows if isinstance(rows, list) else []


def main() -> None:
    """Run the bench from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=CONTENDERS, help="measure one, in this process")
    asked = parser.parse_args()
    if asked.only:
        json.dump(measure(asked.only, asked.events, asked.seed), sys.stdout)
        return
    progress = Console(stderr=True)
    report = run(asked.events, asked.rounds, asked.seed, progress.print)
    save(report)
    rows = _rows_of(report)
    table = Table(*rows[0], title=f"Reconciling {asked.events:,} events", title_justify="left")
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
