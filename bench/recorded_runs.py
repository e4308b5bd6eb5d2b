"""Run folders of any size, as a run leaves them when its load is over or all is collected."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lossmeter.model import Evidence, Status
from lossmeter.plan.budget import Budget
from lossmeter.record import npy
from lossmeter.record.arrays import PAIR, ROW
from lossmeter.record.collected import DTYPES
from lossmeter.record.facts import Facts, FaultRecord
from lossmeter.record.journal_format import END, HEADER, INTENT, MAGIC, OUTCOME
from lossmeter.record.journals import RECORD_DTYPE
from lossmeter.record.mark_format import HEADER as MARKS_HEADER
from lossmeter.record.mark_format import MAGIC as MARKS_MAGIC
from lossmeter.record.mark_format import RECORD as MARK_RECORD
from lossmeter.record.mark_format import Stage
from lossmeter.record.marks import FOLDER, save_marks

PRODUCERS, LOST, RATE_PER_S = 64, 500, 5_000
START_NS = 1_700_000_000 * 10**9
# In what is collected here; rows in a database of the bench are made by itself.
DOUBLED, REFUSED_EACH, SILENT_EACH = 30, 1000, 5000
_PERSISTED_STAGES = (
    *(Stage.ACCEPTED, Stage.QUEUED, Stage.TAKEN),
    *(Stage.HANDLING, Stage.PERSISTED, Stage.ACKNOWLEDGED),
)
_LOST_STAGES = (Stage.ACCEPTED, Stage.QUEUED)
_PART = 500_000


def record(folder: Path, events: int, *, refusing: bool = False) -> None:
    """Write what a run of so many events has recorded when its load is over."""
    (folder / FOLDER).mkdir(parents=True)
    _journal(folder, events, refusing=refusing)
    _marks(folder, events)
    _samples(folder, events)
    _facts(folder, events)
    (folder / "environment.json").write_text("{}", encoding="utf-8")


def record_collected(folder: Path, events: int) -> None:
    """Write what a run has recorded when all is collected: the ledger finds some of each class."""
    record(folder, events, refusing=True)
    save_marks(folder)
    random = np.random.default_rng(2)
    with npy.Growing(folder / "rows.npy", ROW) as rows:
        position = 0
        for place in _parts(events):
            kept = place[~_lost(place, events) & (place % REFUSED_EACH != 0)]
            # Many are under way at once, so they are persisted in nearly the order of sending.
            kept = kept[np.argsort(kept + random.integers(0, 20, len(kept)), kind="stable")]
            again = kept[:DOUBLED] if place[0] == 0 else kept[:0]
            source = np.concatenate([kept, again])
            part = np.zeros(len(source), ROW)
            part["producer"], part["sequence"] = source % PRODUCERS, source // PRODUCERS
            part["payload_hash"] = source * 7919
            part["position"] = position + np.arange(len(source))
            part["persisted_ns"] = _due_ns(source) + 5_000_000
            rows.add(part)
            position += len(source)
    for name in DTYPES.keys() - {"rows"}:
        np.save(folder / f"{name}.npy", np.empty(0, PAIR), allow_pickle=False)


def _parts(events: int) -> Iterator[np.ndarray]:
    for begin in range(0, events, _PART):
        yield np.arange(begin, min(events, begin + _PART))


def _due_ns(place: np.ndarray) -> np.ndarray:
    return START_NS + place * (10**9 // RATE_PER_S)


def _lost(place: np.ndarray, events: int) -> np.ndarray:
    return (place >= events // 2 - LOST) & (place < events // 2)


def _journal(folder: Path, events: int, *, refusing: bool) -> None:
    random, count = np.random.default_rng(1), 0
    with (folder / "journal-0.bin").open("wb") as sink:
        sink.seek(HEADER.size)
        for place in _parts(events):
            records = _operations(place, random, refusing=refusing)
            sink.write(records.data)
            count += len(records)
        end = np.zeros(1, RECORD_DTYPE)
        end["kind"], end["sequence"] = END, events
        sink.write(end.data)
        sink.seek(0)
        sink.write(HEADER.pack(MAGIC, 0, PRODUCERS, 1, START_NS, count + 1, 1))


def _operations(place: np.ndarray, random: np.random.Generator, *, refusing: bool) -> np.ndarray:
    """Return intents and outcomes in the order of their times; here and there a no, or silence."""
    records = np.zeros((2, len(place)), RECORD_DTYPE)
    sent, reported = records
    for each in records:
        each["producer"], each["sequence"] = place % PRODUCERS, place // PRODUCERS
    sent["kind"], reported["kind"] = INTENT, OUTCOME
    sent["scheduled_ns"], sent["payload_hash"] = _due_ns(place), place * 7919
    sent["at_ns"] = _due_ns(place) + random.integers(0, 50_000, len(place))
    late_ns = 2_000_000 + random.exponential(1_000_000, len(place)).astype(np.int64)
    reported["at_ns"] = sent["at_ns"] + late_ns
    reported["status"], reported["code"] = Status.ACKED, 202
    kept = np.ones(records.shape, bool)
    if refusing:
        no = place % REFUSED_EACH == 0
        reported["status"][no], reported["code"][no] = Status.REFUSED, 503
        kept[1] = place % SILENT_EACH != 1
    every = records[kept]
    return every[np.argsort(every["at_ns"], kind="stable")]


def _marks(folder: Path, events: int) -> None:
    steps, boot_id = len(_PERSISTED_STAGES), b"0" * 32
    with (folder / FOLDER / f"stages-{boot_id.decode()}.bin").open("wb") as sink:
        sink.write(MARKS_HEADER.pack(MARKS_MAGIC, boot_id, events * steps, START_NS, 0, 0))
        for place in _parts(events):
            marks = np.zeros((len(place), steps), MARK_RECORD)
            marks["producer"] = (place % PRODUCERS)[:, None]
            marks["sequence"] = (place // PRODUCERS)[:, None]
            marks["stage"] = _PERSISTED_STAGES
            marks["at_ns"] = _due_ns(place)[:, None] + np.arange(steps) * 1000
            kept = ~_lost(place, events)[:, None] | (np.arange(steps) < len(_LOST_STAGES))
            sink.write(marks[kept].tobytes())


def _samples(folder: Path, events: int) -> None:
    with (folder / "probe.jsonl").open("w", encoding="utf-8") as sink:
        for number in range(events * 100 // RATE_PER_S):
            at_ns = START_NS + number * 10_000_000
            look = {"asked_ns": at_ns, "answered_ns": at_ns, "ok": True, "queue_length": 10}
            sink.write(json.dumps(look) + "\n")


def _facts(folder: Path, events: int) -> None:
    struck_ns = START_NS + events // 2 * (10**9 // RATE_PER_S)
    seen = [
        Evidence(source, "so", "so", holds=True, at_ns=struck_ns)
        for source in ("waitpid", "kernel")
    ]
    Facts(
        run_id=folder.name,
        experiment="crash",
        hypothesis="a recorded run",
        target="channel",
        ack_level="enqueued",
        runtime="local",
        seed=1,
        events_planned=events,
        rate_per_s=RATE_PER_S,
        exact=False,
        budget=Budget(max_lost=LOST),
        faults=[
            FaultRecord(
                fault="sigkill",
                injected_ns=struck_ns,
                healed_ns=struck_ns + 10**9,
                evidence=seen,
            )
        ],
        hashes_measured=True,
        positions_measured=True,
        times_measured=True,
        load_exit_code=0,
        settled=True,
        collected=True,
        stages_marked=True,
    ).save(folder)
