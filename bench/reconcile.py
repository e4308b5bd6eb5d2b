"""Reconciling many events: the ledger beside DuckDB, pandas and Python sets.

Each contender gets the same events in a process of its own, in turn, for several rounds.
Memory is what the process's peak rose by after the input was there. The time of DuckDB
begins with the arrays and so holds its scan of them, as that of all others does.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from bench.pieces import Found, Piece, Round, Say
from bench.report import Report, Row, at_least, at_most, median
from lossmeter.judge.ledger.reconcile import reconcile
from lossmeter.judge.ledger.selfproof import LARGEST_SAMPLE, prove
from lossmeter.model import Status
from lossmeter.record.arrays import INTENT, OUTCOME, PAIR, ROW, Held, Operations

NAME = "reconcile"
EVENTS, FEWER, MORE = 10_000_000, 1_000_000, 100_000_000
LARGE_TIMES, SEED = 5, 1
PRODUCERS = 64
LOST_PER_MILLION = 50
DOUBLED_PER_MILLION = 30
SWAPPED_PER_MILLION = 50
FOREIGN_ROWS = 7


def history(events: int, seed: int) -> tuple[Operations, Held]:
    """Return a history in which known numbers of events are lost, doubled and invented."""
    random = np.random.default_rng(seed)
    place = np.arange(events)
    intents, outcomes = np.zeros(events, INTENT), np.zeros(events, OUTCOME)
    for operations in (intents, outcomes):
        operations["producer"], operations["sequence"] = place % PRODUCERS, place // PRODUCERS
    intents["sent_ns"] = intents["scheduled_ns"] = place * 1000
    intents["payload_hash"] = random.integers(-(2**62), 2**62, events)
    # Many are under way at once, so they are persisted in nearly the order of sending.
    outcomes["done_ns"] = place * 1000 + random.integers(500, 100_000, events)
    outcomes["status"] = Status.ACKED
    rows = _rows(intents, random)
    nothing = np.empty(0, PAIR)
    return Operations(intents, outcomes), Held(rows, nothing, nothing)


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


def by_ledger(operations: Operations, held: Held) -> tuple[int, int, int]:
    """Return lost, unexpected and duplicated by the ledger, which finds all other classes."""
    counts = reconcile(operations, held).counts
    return counts.lost, counts.unexpected, counts.duplicated


def by_duckdb(operations: Operations, held: Held) -> tuple[int, int, int]:
    """Return lost, unexpected and duplicated by anti-joins, on one thread as the others."""
    import duckdb  # noqa: PLC0415 - only this contender pays for it

    ids = ("producer", "sequence")
    sent = {name: operations.intents[name].astype(np.int64) for name in ids}
    rows = {name: np.ascontiguousarray(held.rows[name]) for name in ids}
    with duckdb.connect() as connection:
        connection.execute("set threads = 1")
        connection.register("sent", sent)
        connection.register("held", rows)
        found = connection.execute(
            """
            with grouped as (
                select producer, sequence, count(*) as n from held group by all
            ), joined as (
                select s.producer as sent, g.n
                from sent s full join grouped g using (producer, sequence)
            )
            select count(*) filter (n is null),
                   coalesce(sum(n) filter (sent is null), 0),
                   count(*) filter (sent is not null and n > 1)
            from joined
            """
        ).fetchone()
    lost, unexpected, doubled = (int(value) for value in found or ())
    return lost, unexpected, doubled


def by_pandas(operations: Operations, held: Held) -> tuple[int, int, int]:
    """Return lost, unexpected and duplicated by an outer merge."""
    import pandas as pd  # noqa: PLC0415 - only this contender pays for it

    ids = ["producer", "sequence"]
    sent = pd.DataFrame({name: operations.intents[name].astype(np.int64) for name in ids})
    rows = pd.DataFrame({name: held.rows[name] for name in ids})
    grouped = rows.groupby(ids, as_index=False, sort=False).size()
    merged = sent.merge(grouped, on=ids, how="outer", indicator=True)
    lost = int((merged["_merge"] == "left_only").sum())
    unexpected = int(merged.loc[merged["_merge"] == "right_only", "size"].sum())
    both = merged[merged["_merge"] == "both"]
    return lost, unexpected, int((both["size"] > 1).sum())


def by_sets(operations: Operations, held: Held) -> tuple[int, int, int]:
    """Return lost, unexpected and duplicated by Python sets of pairs."""
    sent = set(
        zip(
            operations.intents["producer"].tolist(),
            operations.intents["sequence"].tolist(),
            strict=True,
        )
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


Measured = dict[str, float | list[int]]

CONTENDERS: dict[str, Callable[[Operations, Held], tuple[int, int, int]]] = {
    "ledger": by_ledger,
    "DuckDB": by_duckdb,
    "pandas": by_pandas,
    "sets": by_sets,
}


def measure(name: str, events: int, seed: int, times: int) -> list[Measured]:
    """Run one contender in this process; seconds, MiB above the input, and its answer."""
    # A first small run, so that imports are not measured.
    CONTENDERS[name](*history(1000, seed))
    operations, held = history(events, seed)
    return [_once(name, operations, held) for _ in range(times)]


def _once(name: str, operations: Operations, held: Held) -> Measured:
    # From here on the kernel counts the peak anew, without what making the input took.
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    resident_kib = _status_kib("VmRSS")
    begin = time.perf_counter()
    answer = CONTENDERS[name](operations, held)
    seconds = time.perf_counter() - begin
    mib = (_status_kib("VmHWM") - resident_kib) / 1024
    return {"seconds": seconds, "mib": mib, "answer": list(answer)}


def _status_kib(field: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field))


# Faster than one load process with a journal sends here; a run is never shorter than its load.
FASTEST_PER_S = 20_000
PROOF_SHARE = 0.05


def proof_s(seed: int) -> float:
    """Return the seconds that a run's proof of its ledger takes, at its most.

    More events than a sample holds do not make it longer.
    """
    operations, held = history(LARGEST_SAMPLE, seed)
    seconds = 0.0
    # The first one pays for what is imported.
    for _ in range(2):
        begin = time.perf_counter()
        if not all(check.ok for check in prove(operations, held, seed)):
            raise RuntimeError("the ledger did not prove itself")
        seconds = time.perf_counter() - begin
    return seconds


def _in_a_process(name: str, events: int, seed: int, times: int = 1) -> list[Measured]:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "bench.reconcile", "--only", name, "--times", str(times)),
            *("--events", str(events), "--seed", str(seed)),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    measured: list[Measured] = json.loads(done.stdout)
    return measured


def _compared(events: int) -> Callable[[Say], Round]:
    def measure(say: Say) -> dict[str, Measured]:
        found = {}
        for name in CONTENDERS:
            say(f"{name}, {events:,} events")
            (found[name],) = _in_a_process(name, events, SEED)
        _agree(found)
        return found

    return measure


def _agree(found: Mapping[str, Measured]) -> None:
    answers = {name: str(measured["answer"]) for name, measured in found.items()}
    if len(set(answers.values())) != 1:
        raise RuntimeError(f"the contenders disagree: {answers}")


def _large(say: Say) -> list[Measured]:
    say(f"ledger, {MORE:,} events, {LARGE_TIMES} times")
    return _in_a_process("ledger", MORE, SEED, LARGE_TIMES)


# The history of the large one takes far longer to make than to judge, so it is made once.
PIECES = {
    "1M": Piece(_compared(FEWER)),
    "10M": Piece(_compared(EVENTS)),
    "100M": Piece(_large, 1),
    "proof": Piece(lambda _: proof_s(SEED)),
}


def report(found: Found) -> Report:
    """Put what was found at three sizes side by side."""
    at = {
        events: {name: [each[name] for each in found[piece]] for name in CONTENDERS}
        for piece, events in (("1M", FEWER), ("10M", EVENTS))
    }
    large = [measured for each in found["100M"] for measured in each]
    ours = {events: median(_field(runs["ledger"], "seconds")) for events, runs in at.items()}
    ours[MORE] = median(_field(large, "seconds"))
    at_all = at | {MORE: {"ledger": large}}
    rows = [
        _row(name, events, runs, ours[events])
        for events, contenders in at_all.items()
        for name, runs in contenders.items()
        if runs
    ]
    proof, shortest_s = median(found["proof"]), LARGEST_SAMPLE / FASTEST_PER_S
    operations = f"a run of {LARGEST_SAMPLE:,} events or more"
    if found["proof"]:
        rows.append(Row("self-proof", operations, round(proof, 4), "seconds"))
    base = ours[EVENTS]
    return Report(
        NAME,
        "Reconciling many events",
        "All contenders get the same arrays and must find the same events.",
        min((len(rounds) for rounds in (found["1M"], found["10M"], large) if rounds), default=0),
        rows,
        [
            at_least("times as fast as pandas", _times(at[EVENTS]["pandas"], base), 20),
            at_least("times as fast as DuckDB", _times(at[EVENTS]["DuckDB"], base), 8),
            at_most("seconds for 10 million", base, 1),
            at_most(
                "MiB above the input for 10 million",
                median(_field(at[EVENTS]["ledger"], "mib")),
                200,
            ),
            at_most("seconds for 100 million", ours[MORE], 8),
            at_most("MiB above the input for 100 million", median(_field(large, "mib")), 1024),
            at_most("times as long for 100 million as for 10", ours[MORE] / base, 13),
            at_most(
                f"share of a run of {LARGEST_SAMPLE:,} events at {FASTEST_PER_S:,}/s that its "
                "self-proof takes",
                round(proof / shortest_s, 4),
                PROOF_SHARE,
            ),
        ],
    )


def _row(name: str, events: int, runs: list[Measured], ours: float) -> Row:
    finds = "every class" if name.startswith("ledger") else "lost, unexpected, duplicated"
    return Row(
        f"{name}, {events // 1_000_000} M",
        finds,
        round(median(_field(runs, "seconds")), 4),
        "seconds",
        round(_times(runs, ours), 2),
        f"{median(_field(runs, 'mib')):.0f} MiB above the input",
    )


def _times(runs: list[Measured], ours: float) -> float:
    return median(_field(runs, "seconds")) / ours


def _field(runs: list[Measured], name: str) -> list[float]:
    return [float(str(run[name])) for run in runs]


def main() -> None:
    """Measure one contender, for ``run`` above."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--only", choices=CONTENDERS, required=True)
    asked = parser.parse_args()
    json.dump(measure(asked.only, asked.events, asked.seed, asked.times), sys.stdout)


if __name__ == "__main__":
    main()
