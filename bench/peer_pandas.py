"""A pandas script that does what the end of a run does: digests, classes, figures, a page.

It writes ``pandas.html`` into the run's folder.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd

from lossmeter.model import Status
from lossmeter.record.journal_format import HEADER, INTENT, OUTCOME
from lossmeter.record.journals import RECORD_DTYPE

mpl.use("svg")
from matplotlib import pyplot as plt

IDS = ["producer", "sequence"]
BINS = 100
SHARES = [0.5, 0.99, 0.999]


def conclude(folder: Path) -> dict[str, int]:
    """Judge and draw one run; return the events of each class that it finds."""
    digests = {path.name: _digest(path) for path in sorted(folder.glob("*.[bnj]*"))}
    journal = np.fromfile(folder / "journal-0.bin", RECORD_DTYPE, offset=HEADER.size)
    every = pd.DataFrame({name: journal[name] for name in RECORD_DTYPE.names or ()})
    every["sequence"] = every["sequence"].astype("int64")
    every["producer"] = every["producer"].astype("int64")
    sent = every[every["kind"] == INTENT].drop(columns=["kind", "status", "code"])
    reported = every[every["kind"] == OUTCOME][[*IDS, "status", "code", "at_ns"]]
    events = sent.merge(
        reported.rename(columns={"at_ns": "done_ns"}), on=IDS, how="left", sort=False
    )
    rows = pd.DataFrame(np.load(folder / "rows.npy"))
    first = rows.groupby(IDS, as_index=False, sort=False).agg(
        position=("position", "min"), n=("position", "size")
    )
    events = events.merge(first, on=IDS, how="outer", indicator=True)
    counts = _classes(events, rows)
    events["latency_ns"] = (events["done_ns"] - events["scheduled_ns"]).where(_acked(events))
    stages = _died(folder, events)
    figures = events["latency_ns"].quantile(SHARES).to_dict()
    about = {"counts": counts, "stages": stages, "latency": figures, "digests": digests}
    page = _page(events, rows, about)
    (folder / "pandas.html").write_text(page, encoding="utf-8")
    return counts


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _acked(events: pd.DataFrame) -> pd.Series:
    return events["status"] == Status.ACKED


def _classes(events: pd.DataFrame, rows: pd.DataFrame) -> dict[str, int]:
    acked, refused = _acked(events), events["status"] == Status.REFUSED
    known, there = events["_merge"] != "right_only", events["n"].notna()
    unknown = known & ~acked & ~refused
    hashes = rows.merge(events[[*IDS, "payload_hash"]], on=IDS, suffixes=("", "_sent"))
    altered = hashes[hashes["payload_hash"] != hashes["payload_hash_sent"]]
    return {
        "sent": int(known.sum()),
        "acked": int(acked.sum()),
        "refused": int(refused.sum()),
        "unknown": int(unknown.sum()),
        "lost": int((acked & ~there).sum()),
        "recovered": int((unknown & there).sum()),
        "resurrected": int((refused & there).sum()),
        "unexpected": int(events.loc[~known, "n"].sum()),
        "duplicated": int((known & (events["n"] > 1)).sum()),
        "corrupted": int(altered.groupby(IDS).ngroups),
        "reordered": _reordered(events[acked & there], events[known & there]),
    }


def _reordered(acked: pd.DataFrame, there: pd.DataFrame) -> int:
    """Count events that overtook one of their producer that was acked before they were sent."""
    before = acked.sort_values("done_ns")[["producer", "done_ns", "position"]]
    before["latest"] = before.groupby("producer")["position"].cummax()
    before["done_ns"] = before["done_ns"].astype("int64")
    later = there.sort_values("at_ns")[["producer", "at_ns", "position"]]
    later["at_ns"] = later["at_ns"].astype("int64")
    both = pd.merge_asof(
        later,
        before[["producer", "done_ns", "latest"]],
        left_on="at_ns",
        right_on="done_ns",
        by="producer",
        allow_exact_matches=False,
    )
    return int((both["latest"] > both["position"]).sum())


def _died(folder: Path, events: pd.DataFrame) -> dict[str, int]:
    """Count the lost events by the last stage that they were marked at."""
    marks = pd.DataFrame(np.load(folder / "marks.npy"))
    lost = events.loc[_acked(events) & events["n"].isna(), IDS]
    marks = marks.astype({"producer": "int64", "sequence": "int64"}).merge(lost, on=IDS)
    last = marks.groupby(IDS)["stage"].last()
    return {f"stage {stage}": int(n) for stage, n in last.value_counts().items()}


def _page(events: pd.DataFrame, rows: pd.DataFrame, about: Mapping[str, object]) -> str:
    zero_ns = int(events["scheduled_ns"].min())
    edges = np.linspace(zero_ns, int(events["done_ns"].max()), BINS + 1)
    streams = {
        "sent": events["at_ns"],
        "acked": events.loc[_acked(events), "done_ns"],
        "persisted": rows["persisted_ns"],
    }
    figure, (top, middle, bottom) = plt.subplots(3, figsize=(10, 12))
    for name, instants in streams.items():
        top.stairs(np.histogram(instants.dropna(), edges)[0], edges, label=name)
    at = np.searchsorted(edges, events["scheduled_ns"].to_numpy())
    latencies = events.groupby(at)["latency_ns"]
    for share in SHARES:
        by_bin = latencies.quantile(share)
        middle.semilogy(by_bin.index, by_bin / 1e6)
    lost = events[_acked(events) & events["n"].isna()]
    bottom.plot(lost["at_ns"], lost["producer"], ".")
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg")
    return f"<html><pre>{json.dumps(about, indent=2)}</pre>{drawn.getvalue()}</html>"
